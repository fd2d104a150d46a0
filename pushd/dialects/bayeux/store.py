"""Where sessions are kept besides the memory of a node, so that a connect that arrives at another node goes on.

One node owns a session: the one where its last connect or subscription arrived. It answers the connect that is held;
the others read the session for publishes only. A record has no credential: its key is the hash of the client id.
"""

from collections.abc import Callable
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.records import Records
from pushd.core.cursor import NOW
from pushd.core.errors import Refusal, Stopping, Unavailable
from pushd.core.grant import FULL, Grant, Quota
from pushd.core.identity import Identity
from pushd.core.message import TEXT, Draft
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import DAEMON, Peer
from pushd.core.presence import AsMember
from pushd.core.subscriber import Subscriber, SubscriberClosed
from pushd.dialects.bayeux.progress import Progress
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.hub.hub import Hub
from pushd.net.eager_task import run_eagerly
from pushd.wire.ndjson import RawLines

_NODES: Final = "$bayeux/"
"""The prefix of the channels on which nodes ask each other to release sessions; the id of a node follows."""
_SPARE_SECONDS: Final = 10.0


class SessionMoved(Exception):
    """Another node owns a session by now: what was changed here is lost, and must be done with its new state."""


class SessionStore(Protocol):
    """Keeps sessions. No credential is kept."""

    async def find(self, id: str, peer: Peer, sessions: Sessions, *, owns: bool) -> Session | None:
        """Return a session; None if there is none.

        :param peer: the peer that sends the request.
        :param owns: whether this node answers for it from now on; otherwise it is only read.
        :raises Refusal: when that cannot be known now, or its credential is not accepted any more.
        """

    async def save(self, session: Session) -> None:
        """Keep the state of a session, before what it has done is answered.

        :raises SessionMoved: when another node owns it by now.
        :raises Unavailable: when it cannot be kept now.
        """

    def save_soon(self, session: Session, *, is_changed: bool = False) -> None:
        """Keep the state of a session in the background.

        :param is_changed: whether more than its progress has changed.
        """

    async def delete(self, session: Session) -> None:
        """Forget a session that has ended."""

    def forget(self, session: Session) -> None:
        """Called when a session has ended at this node."""

    def stop(self) -> None:
        """Stop."""


class NoStore:
    """The store of a node without others: sessions are in memory only."""

    async def find(self, id: str, peer: Peer, sessions: Sessions, *, owns: bool) -> Session | None:
        """Return the session of this node."""
        return sessions.find(id)

    async def save(self, session: Session) -> None:
        """Do nothing."""

    def save_soon(self, session: Session, *, is_changed: bool = False) -> None:
        """Do nothing."""

    async def delete(self, session: Session) -> None:
        """Do nothing."""

    def forget(self, session: Session) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class SharedStore:
    """The store of nodes that share a backend.

    :param renew: sets the grant of a peer by its identity, or raises a refusal.
    """

    log = Logger()

    def __init__(self, hub: Hub, records: Records, sessions: Sessions, renew: Callable[[Peer], None]) -> None:
        self._hub = hub
        self._records = records
        self._sessions = sessions
        self._renew = renew
        self._listener = self._new_listener()
        self._is_listening = False
        self._by_key: dict[str, Session] = {}
        """The sessions of this node. Between nodes the id of a client is never sent: who has it acts for the client."""

    async def find(self, id: str, peer: Peer, sessions: Sessions, *, owns: bool) -> Session | None:
        """See `SessionStore`."""
        await self._listen()
        key = key_of(id)
        if not owns:
            local = sessions.find(id)
            record = None if local is not None else await self._records.read(key)
            return local if record is None else await self._restore(id, record.data, peer)
        try:
            record = await self._records.take(key, self._seconds(sessions.find(id)))
        except Unavailable:
            local = sessions.find(id)
            if local is None:
                raise
            return local
        local = sessions.find(id)  # another request may have brought it here meanwhile
        if record is not None and record.owner == self._hub.node and local is not None:
            return local
        if local is not None:  # it went on elsewhere
            self._release(local)
        if record is None:
            return None
        if record.owner != self._hub.node:
            draft = Draft(_NODES + record.owner, key.encode(), TEXT, "text", keep=False, names_keep=True)
            await self._hub.publish(DAEMON, draft)
        restored = await self._restore(id, record.data, peer)
        local = sessions.find(id)
        if local is None:
            local = self._by_key[key] = sessions.add(restored)
        return local

    async def save(self, session: Session) -> None:
        """See `SessionStore`."""
        await self._listen()
        key = key_of(session.id)
        if self._sessions.find(session.id) is session:
            self._by_key[key] = session
        if not await self._records.save(key, dump(session), self._seconds(session)):
            self._release(session)
            raise SessionMoved

    def save_soon(self, session: Session, *, is_changed: bool = False) -> None:
        """Keep how far a client has read that does not acknowledge; others say it themselves."""
        if (is_changed or not session.has_ack) and self._sessions.find(session.id) is session:
            run_eagerly(self.save(session), self._on_error)

    async def delete(self, session: Session) -> None:
        """See `SessionStore`."""
        await self._records.delete(key_of(session.id))

    def forget(self, session: Session) -> None:
        """See `SessionStore`."""
        key = key_of(session.id)
        if self._by_key.get(key) is session:
            del self._by_key[key]

    def stop(self) -> None:
        """Stop listening to other nodes."""
        if self._is_listening and not self._listener.is_closed:
            self._hub.remove(self._listener)

    # From other nodes

    def write(self, data: bytes) -> None:
        """Called with the keys of sessions that other nodes own now."""
        for line in data.split():
            session = self._by_key.get(line.decode("latin-1"))
            if session is not None:
                self._release(session)

    def topics_ended(self) -> None:
        """Do nothing: nobody ends the channel of a node."""

    def close(self, why: Refusal) -> None:
        """Called when the subscription is closed, as a reload does with one without a credential: subscribe anew."""
        self._hub.remove(self._listener, why)
        self._listener, self._is_listening = self._new_listener(), False
        if not isinstance(why, Stopping):
            run_eagerly(self._listen(), self._on_error)

    def abort(self) -> None:
        """Called when `close` has failed."""

    async def _listen(self) -> None:
        """Subscribe to the channel of this node, once.

        :raises Unavailable: when that is impossible now.
        :raises Stopping: when the daemon stops meanwhile.
        """
        if self._is_listening:
            return
        self._is_listening = True
        try:
            self._hub.add(self._listener)
            opening = await self._hub.subscribe(self._listener, [_NODES + self._hub.node], NOW)
            await self._hub.replay_and_go_live(self._listener, opening)
        except BaseException as error:
            if not self._listener.is_closed:
                self._hub.remove(self._listener)
            self._listener, self._is_listening = self._new_listener(), False
            if isinstance(error, SubscriberClosed):  # by `stop`
                raise Stopping("the daemon is stopping") from None
            raise

    def _new_listener(self) -> Subscriber:
        peer = Peer("bayeux-node", "local", FULL)
        return Subscriber(self, RawLines(), QueueLimits(1000, 1 << 20), Policy.DROP, peer)

    def _release(self, session: Session) -> None:
        if session.held is not None:
            session.held.release()
        self._sessions.end(session)

    def _seconds(self, session: Session | None) -> float:
        settings = self._sessions.settings
        lasts = settings.max_interval if session is None else self._sessions.seconds_of(session)
        return (
            max(lasts, settings.persistent_interval if settings.persistent else 0) + settings.timeout + _SPARE_SECONDS
        )

    async def _restore(self, id: str, data: bytes, peer: Peer) -> Session:
        return await restore(self._hub, self._renew, self._sessions, id, data, peer)

    def _on_error(self, failure: Failure) -> None:
        if not isinstance(failure.value, Refusal | SessionMoved):
            self.log.failure("Keeping a Bayeux session failed", failure)


async def restore(
    hub: Hub, renew: Callable[[Peer], None], sessions: Sessions, id: str, data: bytes, peer: Peer
) -> Session:
    """Return the session that `dump` has described, for a peer that asks for it.

    :raises Refusal: when its credential is not accepted any more.
    """
    state = msgspec.json.decode(data)
    own = Peer("bayeux", peer.address, FULL, _load_identity(state["identity"]), peer.network)
    own.forwarded = peer.forwarded
    renew(own)
    own.grant = await hub.callbacks.connect(own, own.identity, own.grant)
    session = Session(id, own, sessions.end)
    session.has_ack, session.has_connected = state["ack"], state["connected"]
    session.needs_advice, session.active = True, state.get("active")
    session.member = None if state["member"] is None else AsMember(*state["member"])
    session.progress = Progress.load(state["progress"])
    return session


def key_of(id: str) -> str:
    """Return the key of a session, which does not tell the id of its client."""
    return sha256(id.encode()).hexdigest()


def dump(session: Session) -> bytes:
    """Return the state of a session as JSON, without a credential."""
    member, identity = session.member, session.peer.identity
    state = {
        "identity": None if identity is None else _dump_identity(identity),
        "ack": session.has_ack,
        "connected": session.has_connected,
        "active": session.active,
        "member": None if member is None else list(member),
        # What was sent last is known to the client, which acknowledges it at any node.
        "progress": session.progress.dump() | ({"sent": None} if session.has_ack else {}),
    }
    return msgspec.json.encode(state)


def _dump_identity(identity: Identity) -> dict[str, Any]:
    """Return what is known about a peer, without its credential."""
    grant = identity.grant
    rights: dict[str, Any] = {"allow": {action: list(topics) for action, topics in grant.allow.items()}}
    rights["deny"] = list(grant.deny)
    rights |= {"operate": sorted(grant.operate), "tags": list(grant.tags), "full": grant.is_full}
    quota = grant.quota
    rights["quota"] = [quota.connections, quota.subscriptions, quota.messages_per_second, quota.bytes_per_second]
    return {
        "subject": identity.subject,
        "issuer": identity.issuer,
        "expires": identity.expires,
        "token_id": identity.token_id,
        "tags": list(identity.tags),
        "issued_at": identity.issued_at,
        "key": identity.key,
        "grant": rights,
    }


def _load_identity(state: dict[str, Any] | None) -> Identity | None:
    """Return what `_dump_identity` has described."""
    if state is None:
        return None
    rights = state.pop("grant")
    grant = Grant(
        state["subject"],
        MappingProxyType({action: tuple(topics) for action, topics in rights["allow"].items()}),
        tuple(rights["deny"]),
        frozenset(rights["operate"]),
        tuple(rights["tags"]),
        Quota(*rights["quota"]),
        rights["full"],
    )
    return Identity(grant=grant, **(state | {"tags": tuple(state["tags"])}))
