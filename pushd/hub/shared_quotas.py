"""Quotas over all nodes: what peers with a quota have is reported to the other nodes, and more is claimed first.

A subject or an address is shared from the first claim of a peer with a quota until it has nothing at this node. All
reports go through one loop with one call in progress, so they arrive in order, and whatever accumulates meanwhile goes
with the next one. While the other nodes cannot be asked, this node counts alone.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.backends.interface import Backend
from pushd.core.errors import Refusal, Stopping
from pushd.core.grant import UNLIMITED, Quota
from pushd.core.identity import Identity, QuotaKey
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber
from pushd.core.usage import Claim, UsageReply, UsageReport
from pushd.hub.quotas import Quotas, too_many_connections
from pushd.net.eager_task import run_eagerly

_REPORTED: Final = 200
"""The most claims, and the most reports, in one call."""
_RETRY_SECONDS: Final = 1.0
_REPEAT_SECONDS: Final = 0.1
"""After how long a claim of a connection that was not granted is made again: a client that reconnects may reach this
node before another one has noticed that it has disconnected."""
_MAX_CHANGED: Final = 100_000
"""The most changes that are kept while the other nodes cannot be asked; beyond it, subjects that have left are dropped.
The backend forgets them with the lease of this node."""


class _Waiting(NamedTuple):
    """A claim that waits for its answer."""

    key: QuotaKey
    claim: Claim
    answered: Deferred[bool]
    """Called with whether it is granted."""
    is_repeat: bool = False


class SharedQuotas:
    """Reports and claims of this node. It does nothing if the backend has no other nodes.

    :param quotas: what is counted at this node.
    :param disconnect: closes the connection of a subscriber with a refusal.
    """

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        quotas: Quotas,
        disconnect: Callable[[Subscriber, Exception], None],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._quotas = quotas
        self._disconnect = disconnect
        self._waiting: deque[_Waiting] = deque()
        self._refused: list[_Waiting] = []
        """Claims that are made again."""
        self._repeating: IDelayedCall | None = None
        self._pending: dict[QuotaKey, int] = {}
        """Connections that are counted at this node, and whose claims are not answered, by key."""
        self._opening: dict[Peer, Deferred[None]] = {}
        """Peers whose connections are claimed."""
        self._changed: dict[QuotaKey, None] = {}
        """Keys whose counts the other nodes do not have, in the order of their change."""
        self._is_reporting = False
        self._is_stopped = False
        self._reported: list[Deferred[None]] = []
        """Called when everything is reported, or with the failure of that."""
        self._starting: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        quotas.on_change = self._on_change

    # Claims

    def claim_connection(self, subscriber: Subscriber) -> None:
        """Claim a new connection, which is counted at this node; close it if it exceeds the quota over all nodes."""
        peer = subscriber.peer
        quota = peer.grant.quota
        if quota.connections is None or not self._backend.has_nodes:
            return
        key = peer.quota_key
        self._pending[key] = self._pending.get(key, 0) + 1
        opening = self._opening[peer] = Deferred()

        def on_answer(is_granted: bool) -> None:
            del self._opening[peer]
            self._pending[key] -= 1
            if not self._pending[key]:
                del self._pending[key]
            if not is_granted:
                self._disconnect(subscriber, too_many_connections(key, quota))
            opening.callback(None)

        answered = self._claim(key, Claim(1, 0, quota)).addCallback(on_answer)
        answered.addErrback(lambda failure: self.log.failure("Claiming a connection failed", failure))
        if self._starting is None:  # most connections claim topics in this turn, too
            self._starting = self._clock.callLater(0, self._start)

    async def opened(self, peer: Peer) -> None:
        """Wait until the connection of a peer is granted or closed."""
        opening = self._opening.get(peer)
        if opening is not None:
            self._report_soon()
            waiting: Deferred[None] = Deferred()
            opening.addCallback(lambda _: waiting.callback(None))
            await waiting

    async def claim_topics(self, subscriber: Subscriber, topics: Sequence[str]) -> None:
        """Claim the topics of a subscription, so that what is known of the other nodes is up to date.

        The caller has to check the quota, and to count the topics, before it waits for anything.
        """
        peer = subscriber.peer
        if not self._backend.has_nodes:
            return
        limit, added = peer.grant.quota.subscriptions, len(set(topics) - subscriber.starts.keys())
        if limit is None or not added:
            await self.opened(peer)
            return
        while not subscriber.is_closed:
            await self._ask(peer.quota_key, Claim(0, added, Quota(subscriptions=limit)))
            if peer not in self._opening:
                return
            await self.opened(peer)  # the connection is claimed again; the other nodes may have more topics then

    async def claim_move(self, peer: Peer, identity: Identity, quota: Quota | None = None) -> None:
        """Claim an open connection for the subject of a new credential.

        :param quota: that of the connection, if it is not that of the credential.

        The caller has to check the quota of topics, and to count them and the connection, before it waits for anything.

        :raises TooManyConnections: when it is not granted.
        """
        key = peer.quota_key_with(identity)
        quota = identity.grant.quota if quota is None else quota
        if not self._backend.has_nodes or peer.usage is None or peer.usage.key == key:
            return
        await self.opened(peer)
        self._quotas.check_connections(key, quota)
        claim = Claim(1, 0, Quota(connections=quota.connections))
        if quota is not UNLIMITED and not await self._ask(key, claim):
            raise too_many_connections(key, quota)

    # Reports

    async def restore(self) -> None:
        """Report everything again; see `BackendEvents.restore_usage`."""
        self._changed.update(dict.fromkeys(self._quotas.shared_keys()))
        if not self._changed and not self._waiting:
            return
        reported: Deferred[None] = Deferred()
        self._reported.append(reported)
        self._cancel_retry()
        self._report_soon()
        await reported

    def stop(self) -> None:
        """Stop reporting; claims are granted from now on."""
        self._is_stopped = True
        self._cancel_retry()
        for call in (self._repeating, self._starting):
            if call is not None:
                call.cancel()
        self._repeating = self._starting = None
        self._grant_all()
        self._finish(Stopping("the daemon is stopping"))

    def _claim(self, key: QuotaKey, claim: Claim) -> Deferred[bool]:
        answered: Deferred[bool] = Deferred()
        self._quotas.share(key)
        self._waiting.append(_Waiting(key, claim, answered))
        return answered

    async def _ask(self, key: QuotaKey, claim: Claim) -> bool:
        answered = self._claim(key, claim)
        self._report_soon()
        return await answered

    def _on_change(self, key: QuotaKey) -> None:
        """Called when the counts of a shared key have changed."""
        self._changed[key] = None
        self._report_soon()

    def _start(self) -> None:
        self._starting = None
        self._report_soon()

    def _report_soon(self) -> None:
        if self._is_stopped:
            self._grant_all()
        elif not self._is_reporting and (self._waiting or self._retry is None):
            self._is_reporting = True
            run_eagerly(self._report_all(), self._on_bug)

    async def _report_all(self) -> None:
        try:
            while (self._waiting or self._changed) and not self._is_stopped:
                waiting = [self._waiting.popleft() for _ in range(min(_REPORTED, len(self._waiting)))]
                reports = self._next_reports(waiting)
                try:
                    replies = await self._backend.report_usage(reports)
                except Refusal as refusal:
                    self._on_refusal(reports, waiting, refusal)
                    if not self._waiting:
                        return
                else:
                    self._on_replies(reports, replies, waiting)
        finally:
            self._is_reporting = False
        self._finish(None)

    def _next_reports(self, waiting: Sequence[_Waiting]) -> list[UsageReport]:
        """Return the reports of claims, and of what has changed."""
        claims: dict[QuotaKey, list[Claim]] = {}
        for each in waiting:
            claims.setdefault(each.key, []).append(each.claim)
        for key in list(islice(self._changed, _REPORTED - len(claims))):
            claims.setdefault(key, [])
        for key in claims:
            self._changed.pop(key, None)
        return [UsageReport(key, *self._confirmed(key), some) for key, some in claims.items()]

    def _confirmed(self, key: QuotaKey) -> tuple[int, int]:
        """Return the connections and topics of a key, without connections whose claims are not answered."""
        connections, subscriptions = self._quotas.counts(key)
        return max(0, connections - self._pending.get(key, 0)), subscriptions

    def _on_replies(
        self, reports: Sequence[UsageReport], replies: Sequence[UsageReply], waiting: Sequence[_Waiting]
    ) -> None:
        granted: dict[QuotaKey, Iterator[bool]] = {}
        for report, reply in zip(reports, replies, strict=True):
            self._quotas.set_elsewhere(report.key, reply.subscriptions)
            granted[report.key] = iter(reply.granted)
        stored = {report.key: (report.connections, report.subscriptions) for report in reports}
        for each in waiting:
            if is_granted := next(granted[each.key]):
                connections, subscriptions = stored[each.key]
                stored[each.key] = connections + each.claim.connections, subscriptions + each.claim.subscriptions
            if is_granted or each.is_repeat or not each.claim.connections:
                each.answered.callback(is_granted)  # what was granted is counted now
            else:
                self._claim_again(each)
        for key, counts in stored.items():
            if counts != self._confirmed(key):
                self._changed[key] = None
                continue
            self._changed.pop(key, None)
            if counts == (0, 0) and key not in self._pending:
                self._quotas.forget(key)

    def _claim_again(self, waiting: _Waiting) -> None:
        """Make a claim again, after a while."""
        self._refused.append(waiting._replace(is_repeat=True))
        if self._repeating is None and not self._is_stopped:
            self._repeating = self._clock.callLater(_REPEAT_SECONDS, self._repeat)

    def _repeat(self) -> None:
        self._repeating = None
        self._waiting += self._refused
        self._refused = []
        self._report_soon()

    def _on_refusal(self, reports: Sequence[UsageReport], waiting: Sequence[_Waiting], refusal: Refusal) -> None:
        """Grant all claims by the counts of this node alone, and report again later."""
        waiting, self._waiting = [*waiting, *self._waiting], deque()
        for key in (*(report.key for report in reports), *(each.key for each in waiting)):
            self._quotas.set_elsewhere(key, 0)
            self._changed[key] = None
        if len(self._changed) > _MAX_CHANGED:
            for key in [each for each in self._changed if self._quotas.counts(each) == (0, 0)]:
                del self._changed[key]
                self._quotas.forget(key)
        if self._retry is None and not self._is_stopped:
            self._retry = self._clock.callLater(_RETRY_SECONDS, self._report_again)
        for each in waiting:
            each.answered.callback(True)
        self._finish(refusal)

    def _grant_all(self) -> None:
        self._waiting += self._refused
        self._refused = []
        while self._waiting:
            self._waiting.popleft().answered.callback(True)

    def _report_again(self) -> None:
        self._retry = None
        self._report_soon()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _finish(self, refusal: Refusal | None) -> None:
        """Call those who wait until everything is reported."""
        reported, self._reported = self._reported, []
        for each in reported:
            if refusal is None:
                each.callback(None)
            else:
                each.errback(refusal.without_traceback())

    def _on_bug(self, failure: Any) -> None:
        self.log.failure("Reporting what subjects have failed", failure)
