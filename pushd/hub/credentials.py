"""The credentials of open connections: renewed in place, warned of, and enforced when they have expired."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.audit.log import AuditLog
from pushd.auth.claims import LEEWAY
from pushd.core.errors import Forbidden, NotGranted, Refusal, TokenExpired, TokenMissing, UnknownConnection
from pushd.core.grant import Grant
from pushd.core.identity import Identity
from pushd.core.peer import Peer
from pushd.core.schedule import Schedule
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import lost_topics, renewals
from pushd.hub.quotas import Quotas
from pushd.net.eager_task import run_eagerly
from pushd.net.turn_slices import Slices

WARN_SECONDS: Final = 30
"""How long before it expires a peer is warned of it."""
GRACE_SECONDS: Final = 25.0
_TICK_SECONDS: Final = 1.0


class Credentials:
    """The credentials of the peers of all subscribers.

    Without expiring credentials it does nothing.

    :param unix_time: returns unix seconds, and never less than before: a clock that is set back revives no credential.
    :param turns: in which the work for many subscribers is done.
    :param quotas: counts the connections and topics of each subject.
    :param audit: records each renewal.
    :param disconnect: closes the connection of a subscriber with a refusal, or because of a bug.
    :param unsubscribe: unsubscribes from topics.
    :param on_grant_changed: called with each subscriber whose peer has another grant now.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        turns: Slices,
        quotas: Quotas,
        audit: AuditLog,
        disconnect: Callable[[Subscriber, Exception], None],
        unsubscribe: Callable[[Subscriber, Iterable[str]], object],
        on_grant_changed: Callable[[Subscriber], None] = lambda subscriber: None,
    ) -> None:
        self._clock = clock
        self._unix_time = unix_time
        self._turns = turns
        self._quotas = quotas
        self._audit = audit
        self._disconnect = disconnect
        self._unsubscribe = unsubscribe
        self._on_grant_changed = on_grant_changed
        self._grace = GRACE_SECONDS
        self._schedule: Schedule[Subscriber] = Schedule()
        """The subscribers with expiring credentials: when they are warned, then when they are disconnected."""
        self._tick: IDelayedCall | None = None

    def reconfigure(self, grace: float) -> None:
        """Change how long connections stay open after their credential has expired, for those that are warned later."""
        self._grace = grace

    def __len__(self) -> int:
        """Return the number of watched peers."""
        return len(self._schedule)

    def watch(self, subscriber: Subscriber) -> None:
        """Watch the credential of a peer, from now on or anew."""
        identity = subscriber.peer.identity
        if identity is None or identity.expires is None:
            self._schedule.discard(subscriber)
            return
        self._schedule.set(subscriber, identity.expires - WARN_SECONDS)
        self._start_ticking()

    def check_current(self, peer: Peer) -> None:
        """Check the credential of a peer that is no connection of the hub now.

        :raises TokenExpired: when a connection with it would have been closed.
        """
        identity = peer.identity
        if identity is None or identity.expires is None:
            return
        if self._unix_time() >= identity.expires + LEEWAY + self._grace:
            raise TokenExpired("token has expired")

    def forget(self, subscriber: Subscriber) -> None:
        """Stop watching a peer, if it is watched."""
        self._schedule.discard(subscriber)

    def accept(
        self, subscriber: Subscriber, identity: Identity, grant: Grant | None = None
    ) -> Mapping[str, NotGranted]:
        """Replace the credential of a peer, and unsubscribe from the topics that the new one does not cover.

        :param grant: what the peer may do from now on, if that is only a part of what the grant of the identity allows.
        :return: these topics, each with its refusal.
        :raises Forbidden: when the new one is of another issuer or subject.
        :raises TooManyConnections: when the quota of its subject allows no more connections.
        :raises TooManySubscriptions: when it does not allow the topics of this connection.
        """
        peer = subscriber.peer
        check_same_subject(peer, identity)
        before = peer.grant, peer.identity
        peer.grant, peer.identity = identity.grant if grant is None else grant, identity
        lost, topics = lost_topics(subscriber), len(subscriber.starts)
        try:
            self._quotas.move(peer, topics, topics - len(lost))
        except Refusal:
            peer.grant, peer.identity = before
            raise
        self._unsubscribe(subscriber, lost)
        self._on_grant_changed(subscriber)
        self.watch(subscriber)
        if before[1] is not None:
            self._audit.renewed(peer, identity)
        return lost

    def answer(self, peer: Peer, grant: Grant) -> None:
        """Set what a peer without a credential may do, as the application has answered.

        :raises TooManyConnections: when that has a quota, and its address has more connections; nothing changes.
        """
        before, peer.grant = peer.grant, grant
        try:
            self._quotas.check(peer)
        except Refusal:
            peer.grant = before
            raise

    def renew(self, peer: Peer, subscriber: Subscriber | None) -> Mapping[str, NotGranted]:
        """Replace the credential of a connection by that of another request, as `accept` does.

        A connection without a topic that is left is closed.

        :param peer: who has sent the request.
        :param subscriber: that of the connection; None when there is no such connection.
        :raises TokenMissing: when the request has no credential.
        :raises UnknownConnection: when there is no such connection of the same issuer and subject.
        """
        if peer.identity is None:
            raise TokenMissing("renewing the token of a connection needs a token")
        if (
            subscriber is None
            or subscriber.peer.identity is None
            or not subscriber.peer.identity.is_same_as(peer.identity)
        ):
            raise UnknownConnection("there is no such connection of the subject of this token at this node")
        lost = self.accept(subscriber, peer.identity, peer.grant)
        if lost and not subscriber.starts:
            self._disconnect(subscriber, next(iter(lost.values())))
        return lost

    async def renew_all(self, subscribers: Collection[Subscriber], renew: Callable[[Peer], None]) -> None:
        """Renew the grants of peers, over several reactor turns.

        :param renew: sets the grant of a peer, or raises a refusal, with which the peer is disconnected, as is one that
            has a topic that is not granted any more.
        """
        await self._turns.run(renewals(subscribers, renew, self._disconnect, self._on_grant_changed))

    def stop(self) -> None:
        """Stop watching; what is due is not done any more."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _start_ticking(self) -> None:
        if self._tick is None and len(self._schedule):
            self._tick = self._clock.callLater(_TICK_SECONDS, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        now = self._unix_time()
        if due := self._schedule.take_due(now):
            run_eagerly(self._turns.run(self._check_all(due, now)), self._on_error)
        self._start_ticking()

    def _check_all(self, due: Iterable[Subscriber], now: float) -> Generator[None, None, None]:
        for subscriber in due:
            try:
                if not subscriber.is_closed:
                    self._check(subscriber, now)
            except Exception as bug:  # which must not keep the connections of others open
                self._disconnect(subscriber, bug)
            yield

    def _check(self, subscriber: Subscriber, now: float) -> None:
        """Warn a peer, or disconnect it. Its credential may have been replaced meanwhile."""
        identity = subscriber.peer.identity
        if identity is None or identity.expires is None or now < identity.expires - WARN_SECONDS:
            return
        end = identity.expires + LEEWAY + self._grace
        if now >= end:
            self._disconnect(subscriber, TokenExpired("token has expired"))
        else:
            subscriber.warn_of_expiry(int(identity.expires))
            self._schedule.set(subscriber, end)
            self._start_ticking()

    def _on_error(self, failure: Failure) -> None:
        self.log.failure("Checking the credentials of connections failed", failure)


def check_same_subject(peer: Peer, identity: Identity) -> None:
    """Check that a credential may replace that of a peer.

    :raises Forbidden: when it is of another issuer or subject.
    """
    if peer.identity is not None and not peer.identity.is_same_as(identity):
        raise Forbidden("token must have the issuer and the subject of the first one of this connection")
