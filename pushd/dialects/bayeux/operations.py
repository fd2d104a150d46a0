"""What each message of a client does: the checks, the calls of the hub, and the reply."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.auth.authenticator import Authenticator
from pushd.core.cursor import Latest, Now, parse_since
from pushd.core.errors import BadParameter, BadSince, Refusal, TooManySubscriptions, Unavailable
from pushd.core.message import Draft
from pushd.core.open_requests import DEFAULT_SECONDS, AskerLeft
from pushd.core.peer import Peer
from pushd.core.presence import as_member
from pushd.dialects.bayeux import replies
from pushd.dialects.bayeux.channels import META, SERVICE, channel_of, topic_of
from pushd.dialects.bayeux.connects import Connects, HeldConnect, Outcome
from pushd.dialects.bayeux.envelope import ClientMessage, Malformed, encode_reply
from pushd.dialects.bayeux.exchange import Exchange, PendingConnect
from pushd.dialects.bayeux.repeats import Repeats
from pushd.dialects.bayeux.replies import Reply
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.dialects.bayeux.store import SessionMoved, SessionStore
from pushd.dialects.bayeux.wire import draft_of, encode_response
from pushd.hub.credentials import check_same_subject
from pushd.hub.hub import Hub

_HANDSHAKE: Final = "/meta/handshake"
_CONNECT: Final = "/meta/connect"
_DISCONNECT: Final = "/meta/disconnect"
_SUBSCRIBE: Final = "/meta/subscribe"
_UNSUBSCRIBE: Final = "/meta/unsubscribe"
_MOST_ACK: Final = 2**53 - 1
"""The greatest whole number that every client can send."""
_MOST_MILLISECONDS: Final = 300_000
_MOST_MOVES: Final = 3
"""How often a message is executed whose session moves to another node meanwhile."""


class Operations:
    """Executes the messages of clients.

    :param wall: returns unix seconds.
    """

    log = Logger()

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        sessions: Sessions,
        connects: Connects,
        store: SessionStore,
        max_topics: Callable[[], int],
        wall: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._sessions = sessions
        self._connects = connects
        self._store = store
        self._max_topics = max_topics
        self._wall = wall
        self._by_channel = {_SUBSCRIBE: self._subscribe, _UNSUBSCRIBE: self._unsubscribe, _DISCONNECT: self._disconnect}

    # Envelopes

    async def execute(
        self, messages: Sequence[ClientMessage | Malformed], peer: Peer, *, can_wait: bool = True
    ) -> Exchange:
        """Execute the messages of an envelope in their order, and return their replies.

        Of several connects only the last may wait.

        :param peer: who has sent it.
        :param can_wait: whether a connect among other messages may wait; it does if it is alone.
        """
        answers: list[bytes] = []
        has_begun = False
        pending: PendingConnect | None = None
        received = self._wall()
        for message in messages:
            if isinstance(message, Malformed):
                answers.append(encode_reply(replies.malformed(message)))
                continue
            if message.channel == _CONNECT:
                outcome = await self._connect(message, peer, 0 if len(messages) > 1 and not can_wait else None)
                if isinstance(outcome, PendingConnect):
                    if pending is not None:
                        answers.append(encode_reply(replies.reply_to(pending.message)))
                    pending = outcome
                    continue
            else:
                outcome = await self._execute(message, peer)
            answers.append(self._encoded(message, outcome, received))
            if message.channel == _HANDSHAKE:
                has_begun = outcome["successful"]
                break
        return Exchange(answers, pending, has_begun)

    def hold(
        self, connect: PendingConnect, transport_name: str, answer: Callable[[Sequence[bytes]], None]
    ) -> HeldConnect:
        """Hold a connect.

        :param answer: called once, perhaps at once, with the reply and the messages that follow it.
        """
        received = self._wall()
        done = partial(self._answer_connect, connect, received, answer)
        return self._connects.hold(connect.session, transport_name, connect.seconds, done)

    async def limit(self, connect: PendingConnect) -> PendingConnect | bytes:
        """Return what becomes of a connect beyond those that a browser may hold: one that does not wait, or the reply
        that ends its session.
        """
        if self._sessions.settings.multi_session_interval > 0:
            return connect._replace(seconds=0, is_polling=True)
        await self._end(connect.session)
        return encode_reply(replies.failure(connect.message, replies.MANY_SESSIONS, advice=replies.GIVE_UP))

    def _encoded(self, message: ClientMessage, reply: Reply, received: float) -> bytes:
        synced = replies.time_sync(message, received, self._wall())
        if synced is not None and message.channel.startswith(META):
            replies.add_extension(reply, "timesync", synced)
        return encode_reply(reply)

    async def _execute(self, message: ClientMessage, peer: Peer) -> Reply:
        channel = message.channel
        if not channel:
            return replies.failure(message, "400::channel_missing")
        try:
            if channel == _HANDSHAKE:
                return await self._handshake(message, peer)
            if channel.startswith(META) and channel not in self._by_channel:
                return replies.failure(message, f"404:{channel}:unknown_meta_channel")
            return await self._execute_in_session(message, peer)
        except Refusal as refusal:
            self._connects.count_refusal(refusal, peer)
            return replies.refused(message, refusal, channel)

    async def _execute_in_session(self, message: ClientMessage, peer: Peer) -> Reply:
        """Execute a message, anew if its session moves to another node meanwhile."""
        channel = message.channel
        for _ in range(_MOST_MOVES):
            owns = channel.startswith((META, SERVICE)) or self._sessions.settings.max_inactive > 0
            session = await self.find(message.client, peer, owns=owns)
            if session is None:
                return replies.no_session(message)
            with suppress(SessionMoved):
                if self._sessions.mark_active(session):
                    await self._store.save(session)
                return await self._by_channel.get(channel, self._publish)(message, session)
        raise Unavailable("session moves between nodes: send the message again")

    # Sessions

    async def find(self, id: str, peer: Peer, *, owns: bool = True) -> Session | None:
        """Return a session, as its client asks for it; None if there is none.

        :param owns: whether this node answers for it from now on; see `SessionStore.find`.
        :raises Refusal: when its credential, or that of the peer, is not accepted for it.
        """
        session = await self._store.find(id, peer, self._sessions, owns=owns)
        if session is None:
            return None
        if peer.identity is not None:
            check_same_subject(session.peer, peer.identity)
            session.peer.grant, session.peer.identity = peer.grant, peer.identity
        session.peer.address, session.peer.forwarded = peer.address, peer.forwarded
        try:
            self._hub.credentials.check_current(session.peer)
            if session.peer.identity is not None:
                self._authenticator.check_revocations(session.peer.identity)
        except Refusal:
            self._sessions.end(session)
            raise
        return session

    async def _handshake(self, message: ClientMessage, peer: Peer) -> Reply:
        common = [each for each in replies.CONNECTION_TYPES if each in message.connection_types]
        fields = {"version": replies.VERSION, "minimumVersion": replies.VERSION}
        if not common:
            known = list(replies.CONNECTION_TYPES)
            return replies.failure(
                message,
                "406::no_common_connection_type",
                supportedConnectionTypes=known,
                advice=replies.GIVE_UP,
                **fields,
            )
        try:
            session = await self._new_session(message, peer)
        except Refusal as refusal:
            self._connects.count_refusal(refusal, peer)
            is_temporary = refusal.status >= 429
            advice: dict[str, object] = (
                {"reconnect": "handshake", "interval": 5000} if is_temporary else {"reconnect": "none"}
            )
            return replies.failure(message, replies.error_of(refusal), advice=advice, **fields)
        settings = self._sessions.settings
        advice = replies.advice_of(settings, settings.max_interval)
        if settings.hosts:
            advice["hosts"] = list(settings.hosts)
        reply = replies.reply_to(message, clientId=session.id, supportedConnectionTypes=common, advice=advice, **fields)
        if session.has_ack:
            replies.add_extension(reply, "ack", True)
        await self._store.save(session)
        return reply

    async def _new_session(self, message: ClientMessage, peer: Peer) -> Session:
        token = message.token
        identity, grant = peer.identity, peer.grant
        if token is not None and self._authenticator.is_enabled:
            identity = await self._authenticator.authenticate(token)
            check_same_subject(peer, identity)
            grant = await self._hub.callbacks.connect(peer, identity, identity.grant)
        own = Peer("bayeux", peer.address, grant, identity, peer.network)
        self._hub.callbacks.check_session(own, "handshake")
        own.forwarded = peer.forwarded
        presence, presence_id = message.of_pushd("presence"), message.of_pushd("presence_id")
        if not all(each is None or isinstance(each, str) for each in (presence, presence_id)):
            raise BadParameter("presence and presence_id must be strings")
        member = as_member(presence, presence_id)
        if member is not None and member.id is None and grant.subject is None:
            raise BadParameter("presence=self of a Bayeux session needs a subject: give presence_id")
        session = self._sessions.create(own)
        self._sessions.mark_active(session)
        session.member = member
        ack = message.extension("ack")
        session.has_ack = ack is True or (isinstance(ack, dict) and ack.get("enabled") is True)
        return session

    async def _connect(self, message: ClientMessage, peer: Peer, seconds: float | None) -> Reply | PendingConnect:
        try:
            session = await self.find(message.client, peer)
        except Refusal as refusal:
            self._connects.count_refusal(refusal, peer)
            return replies.refused_connect(message, refusal)
        if session is None:
            return replies.no_session(message)
        if self._sessions.is_inactive(session):
            await self._end(session)
            return replies.failure(message, replies.INACTIVE, advice=replies.GIVE_UP)
        if session.active is None and self._sessions.mark_active(session):
            self._store.save_soon(session, is_changed=True)
        if session.repeats is not None:
            session.repeats.on_connect(message.id, self._wall())
        ack = message.extension("ack")
        if session.has_ack and isinstance(ack, int) and not isinstance(ack, bool) and 0 <= ack <= _MOST_ACK:
            session.progress.acknowledge(ack)
        if session.stream is not None and not session.has_ack:
            interval = round(self._sessions.settings.timeout * 1000)
            advice = replies.advice_of(self._sessions.settings, self._sessions.seconds_of(session))
            return replies.reply_to(message, clientId=session.id, advice=advice | {"interval": interval})
        timeout = (message.advice or {}).get("timeout")
        if not session.has_connected:
            seconds = 0  # as by CometD: clients wait for it before they subscribe
        if seconds is None:
            seconds = self._sessions.settings.timeout
            if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0:
                seconds = min(timeout, _MOST_MILLISECONDS) / 1000
        return PendingConnect(message, session, seconds)

    def _answer_connect(
        self, connect: PendingConnect, received: float, answer: Callable[[Sequence[bytes]], None], outcome: Outcome
    ) -> None:
        message, session = connect.message, connect.session
        if outcome.refusal is not None:
            self._connects.count_refusal(outcome.refusal, session.peer)
            reply = replies.refused_connect(message, outcome.refusal)
            if reply.get("advice", {}).get("reconnect") != "retry":
                self._sessions.end(session)
        else:
            reply = replies.reply_to(message, clientId=session.id)
            is_new = session.needs_advice or not session.has_connected
            if connect.is_polling or is_new or message.advice is not None:
                advice_of = replies.polling_advice_of if connect.is_polling else replies.advice_of
                reply["advice"] = advice_of(self._sessions.settings, self._sessions.seconds_of(session))
            session.has_connected, session.needs_advice = True, connect.is_polling
            if session.has_ack:
                replies.add_extension(reply, "ack", session.progress.batch)
        if outcome.messages:
            self.on_sent(session)
        self._store.save_soon(session)
        answer([self._encoded(message, reply, received), *outcome.messages])

    def on_sent(self, session: Session) -> None:
        """Called when messages are sent to a session, which is activity where that of the server counts."""
        if self._sessions.settings.activity != "client" and self._sessions.mark_active(session):
            self._store.save_soon(session, is_changed=True)

    async def _disconnect(self, message: ClientMessage, session: Session) -> Reply:
        await self._end(session)
        return replies.reply_to(message, clientId=session.id)

    async def _end(self, session: Session) -> None:
        await self._store.delete(session)
        if isinstance(session.held, HeldConnect):
            session.held.leave()
        if session.stream is not None:
            session.stream.close()
        self._sessions.end(session)

    # Subscriptions

    async def _subscribe(self, message: ClientMessage, session: Session) -> Reply:
        given, peer = message.channels, session.peer
        if not given:
            return replies.failure(message, "403::subscription_missing")
        topics = [topic_of(channel) for channel in given if not channel.startswith(SERVICE)]
        progress = session.progress
        since_text = message.of_pushd("since")
        if since_text is not None and not isinstance(since_text, str):
            raise BadParameter("since must be a string")
        since = parse_since(since_text or "")
        if isinstance(since, Latest):
            raise BadSince("since=latest is not supported: a Bayeux session begins at one cursor")
        fresh = [topic for topic in topics if topic not in progress.topics or not isinstance(since, Now)]
        if len(progress.topics) + len(fresh) > self._max_topics():
            raise TooManySubscriptions(f"a session must not subscribe to more than {self._max_topics()} topics")
        start = progress.confirmed
        if fresh:
            # What was missed between two connects is read from the history.
            self._hub.presence.check(peer, fresh, session.member_in(fresh))
            await self._hub.callbacks.check_read(peer, fresh, "subscribe", "history")
            start = (await self._hub.start_position(peer, fresh, since)).cursor
            for topic in fresh:
                progress.add(topic, start, is_resumed=not isinstance(since, Now))
            self._sessions.renew(session)
            await self._store.save(session)
            if session.held is not None:
                session.held.restart()
        reply = replies.reply_to(message, clientId=session.id, subscription=message.subscription)
        if topics and start is not None:
            replies.add_extension(reply, "pushd", {"cursor": str(start)})
        if self._sessions.is_persistent(session):
            settings = self._sessions.settings
            reply["advice"] = replies.advice_of(settings, self._sessions.seconds_of(session))
        return reply

    async def _unsubscribe(self, message: ClientMessage, session: Session) -> Reply:
        if not message.channels:
            return replies.failure(message, "403::subscription_missing")
        topics = [topic_of(channel) for channel in message.channels if not channel.startswith(SERVICE)]
        found = [topic for topic in topics if session.progress.remove(topic)]
        if found:
            await self._store.save(session)
            if session.held is not None:
                session.held.restart()
        return replies.reply_to(message, clientId=session.id, subscription=message.subscription)

    # Publishes and requests

    async def _publish(self, message: ClientMessage, session: Session) -> Reply:
        if isinstance(message.data, msgspec.UnsetType):
            return replies.failure(message, f"400:{message.channel}:data_missing")
        data = bytes(message.data)
        drafted = draft_of(channel_of(message.channel), data, is_binary=message.extension("binary") is not None)
        send = self._request if message.channel.startswith(SERVICE) else self._publish_draft
        if message.id is None:
            await send(message, session, drafted)
        else:
            session.repeats = repeats = session.repeats or Repeats()
            content = b"%b\n%b" % (message.channel.encode(), data)
            await repeats.once(message.id, content, self._wall(), partial(send, message, session, drafted))
        return replies.reply_to(message, clientId=session.id)

    async def _publish_draft(self, message: ClientMessage, session: Session, drafted: Draft) -> None:
        await self._hub.publish(session.peer, drafted)

    async def _request(self, message: ClientMessage, session: Session, drafted: Draft) -> None:
        """Publish a request. Its reply follows as a message on the same channel with the same id."""
        waiting = await self._hub.requests.ask(session.peer, drafted, DEFAULT_SECONDS, session)
        waiting.addCallbacks(
            partial(self._respond, message, session), partial(self._respond_failure, message, session)
        ).addErrback(lambda failure: self.log.failure("A Bayeux request failed with an internal error", failure))

    def _respond(self, message: ClientMessage, session: Session, reply: Draft) -> None:
        session.respond(encode_response(message.channel, message.id, reply))

    def _respond_failure(self, message: ClientMessage, session: Session, failure: Failure) -> None:
        if isinstance(failure.value, Refusal):
            session.respond(encode_reply(replies.refused(message, failure.value, message.channel)))
        elif not isinstance(failure.value, AskerLeft):
            failure.raiseException()
