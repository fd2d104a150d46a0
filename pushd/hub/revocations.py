"""Revocations at this node: each credential is checked for them, and the connections of revoked ones are closed."""

from collections.abc import Callable, Collection, Coroutine, Generator, Iterable, Sequence
from math import ceil, floor
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.audit.log import AuditLog
from pushd.backends.interface import Backend, BackendEvents
from pushd.core.errors import BadParameter, Refusal, TokenRevoked, TooManyRevocations, Unavailable
from pushd.core.identity import Identity
from pushd.core.message import Draft
from pushd.core.peer import Peer
from pushd.core.revocations import MAX_REVOCATIONS, REVOKED, Key, Revocation, Revocations
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import check_operation
from pushd.hub.kicks import close_matching
from pushd.metrics import Counters
from pushd.net.turn_slices import Slices

DEFAULT_LIFETIME: Final = 24 * 3600 + 10
"""Seconds for which a revocation is kept where no issuer sets the longest lifetime of its tokens."""
BLIND_SECONDS: Final = 30.0
_SKEW_SECONDS: Final = 10
"""How far in the future the time of a revocation may be, for issuers whose clocks differ."""


class RevocationControl:
    """The revocations that this node knows, and what follows from them. It is the `RevocationChecks` of the daemon.

    :param connections: returns all subscribers.
    :param disconnect: disconnects a subscriber with a refusal.
    :param wall: returns unix seconds.
    """

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        connections: Callable[[], Collection[Subscriber]],
        disconnect: Callable[[Subscriber, Refusal], None],
        turns: Slices,
        counters: Counters,
        audit: AuditLog,
        wall: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._connections = connections
        self._disconnect = disconnect
        self._turns = turns
        self._counters = counters
        self._audit = audit
        self._wall = wall
        self._known = Revocations()
        self._lifetime = float(DEFAULT_LIFETIME)
        self._blind_seconds = BLIND_SECONDS
        self._is_closing = self._must_close = False
        self.on_kept: Callable[[Revocation], None] = lambda revocation: None
        """Called with each revocation that this node was asked for, once it is kept."""
        self.on_changed: Callable[[Sequence[Revocation]], None] = lambda revocations: None
        """Called with those revocations that this node did not know before, of all nodes."""
        self.check_others: list[Callable[[Callable[[Peer], None]], Coroutine[Any, Any, None]]] = []
        """Called, after connections were closed, to refuse peers that are no connections of the hub, such as those that
        wait for a reply by HTTP, with a check that raises `TokenRevoked`.
        """

    def reconfigure(self, lifetime: float, blind_seconds: float) -> None:
        """Change the settings.

        :param lifetime: the most seconds from the issue of a token to its end, with the leeway.
        :param blind_seconds: how long credentials are accepted without contact to the backend.
        """
        self._lifetime, self._blind_seconds = lifetime, blind_seconds

    # Checks of credentials

    def check_known(self) -> None:
        """Check that the revocations are known.

        :raises Unavailable: when this node has not reached the backend for too long.
        """
        if self.is_blind:
            raise Unavailable("revocations of tokens are not known at present, since the backend is not reached")

    def check(self, identity: Identity) -> None:
        """Check that the credential of an identity has not been revoked.

        :raises TokenRevoked: when it has.
        """
        if self._known.covering(identity) is not None:
            raise TokenRevoked(REVOKED, subject=identity.subject)

    def unless_revoked(self, peer: Peer, drafts: Iterable[Draft | Refusal]) -> Iterable[Draft | Refusal]:
        """Return drafts, with a refusal in the place of each that is read after the credential was revoked."""
        identity = peer.identity
        if identity is None:
            return drafts
        covering = self._known.covering
        return (TokenRevoked(REVOKED) if covering(identity) is not None else draft for draft in drafts)

    def covering(self, identity: Identity) -> Revocation | None:
        """Return a revocation that covers the credential of an identity; None if there is none."""
        return self._known.covering(identity)

    @property
    def is_blind(self) -> bool:
        """Whether newer revocations may be unknown, since this node has not reached the backend for too long."""
        return self._backend.revocations_age > self._blind_seconds

    # Operations

    async def revoke(self, peer: Peer, key: Key, before: int | None = None, reason: str = "") -> Revocation:
        """Revoke the credentials that a key names, at all nodes, and return the revocation as it is kept.

        :param before: only those that were issued before, in unix seconds; None: all that were issued up to now.
        :raises NotGranted: when the peer may not.
        :raises BadParameter: when the time is negative or in the future.
        :raises TooManyRevocations: when no more are kept.
        :raises Unavailable, StorageFailed: when it cannot be kept now; then it has no effect.
        """
        check_operation(peer, "revoke")
        now = self._wall()
        if before is not None and not 0 <= before <= now + _SKEW_SECONDS:
            raise BadParameter("before must be unix seconds, and must not be in the future")
        self._known.expire(now)
        known = self._known.find(key)
        if known is None and len(self._known) >= MAX_REVOCATIONS:
            raise TooManyRevocations(f"at most {MAX_REVOCATIONS} revocations are kept")
        # Tokens have the whole second of their issue: one that was issued in this second is covered.
        until = ceil(now + self._lifetime)
        revocation = Revocation(*key, floor(now) + 1 if before is None else before, until, floor(now), reason)
        revocation = revocation if known is None else known.merged(revocation)
        await self._backend.revoke(revocation)
        self.log.info("{peer}: revoked credentials by {kind}", peer=peer, kind=revocation.kind)
        self._audit.revoked(peer, revocation)
        self.on_kept(revocation)
        return revocation

    def page(self, peer: Peer, after: Key | None, limit: int) -> Sequence[Revocation]:
        """Return at most `limit` revocations whose keys sort after `after`, sorted.

        :raises NotGranted: when the peer may not.
        """
        check_operation(peer, "revoke")
        self._known.expire(self._wall())
        return self._known.page(after, limit)

    # From the backend

    def callbacks(self, events: BackendEvents) -> BackendEvents:
        """Return the callbacks of a backend, with those about revocations."""
        return events._replace(on_revocations=self.on_revocations, revocations=self.known)

    def on_revocations(self, revocations: Sequence[Revocation]) -> None:
        """See `BackendEvents`."""
        now = self._wall()
        self._known.expire(now)
        changed = self._known.add(revocations, now)
        self._counters.kept_revocations = len(self._known)
        if changed:
            self._counters.revocations.update(each.kind for each in changed)
            self.on_changed(changed)
            self._close_soon()

    def known(self) -> Sequence[Revocation]:
        """Return the revocations that have not expired."""
        self._known.expire(self._wall())
        return list(self._known)

    # Connections

    def _close_soon(self) -> None:
        """Close the connections of all revoked credentials, and refuse their requests that wait. One pass serves all
        revocations that precede it.
        """
        self._must_close = True
        if not self._is_closing:
            self._is_closing = True
            self._run(self._close())

    async def _close(self) -> None:
        try:
            while self._must_close:
                self._must_close = False
                await self._turns.run(self._close_revoked())
                for check in self.check_others:
                    await check(self._check_peer)
        finally:
            self._is_closing = False

    def _close_revoked(self) -> Generator[None, None, None]:
        yield from close_matching(self._connections(), self._is_revoked, self._disconnect, TokenRevoked(REVOKED))

    def _check_peer(self, peer: Peer) -> None:
        if peer.identity is not None:
            self.check(peer.identity)

    def _is_revoked(self, identity: Identity) -> bool:
        return self._known.covering(identity) is not None

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        running = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: self.log.failure("Closing connections failed", failure))
