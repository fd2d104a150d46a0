"""The metrics of the hub, with those of its backend and of the process."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from pushd.backends.interface import Backend
from pushd.core.budget import Budget
from pushd.core.dispatcher import Dispatcher
from pushd.core.outbox import Policy
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.hooks.hooks import Hooks
from pushd.hub.authorization import check_operation
from pushd.hub.availability import Availability
from pushd.metrics import Counters, DeliveryMetrics, render
from pushd.net.turn_slices import Slices

_COUNTED: Final = 10_000
"""Number of subscribers counted in one reactor turn: about 10 ms."""


class MetricsReport:
    """Renders the metrics, in time slices if there are many subscribers.

    :param wall: returns unix seconds, for the age of what hooks have not sent.
    """

    def __init__(
        self,
        backend: Backend,
        dispatcher: Dispatcher,
        register: Register,
        budget: Budget,
        counters: Counters,
        turns: Slices,
        availability: Availability,
        hooks: Hooks,
        wall: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._dispatcher = dispatcher
        self._register = register
        self._budget = budget
        self._counters = counters
        self._turns = turns
        self._availability = availability
        self._hooks = hooks
        self._wall = wall

    async def text(self, peer: Peer) -> bytes:
        """Return all metrics in the Prometheus text format.

        :raises NotGranted: when the peer may not read them.
        """
        check_operation(peer, "metrics")
        hooks = await self._hooks.backlogs()
        subscriptions, queued_bytes = await self._count()
        dispatcher = self._dispatcher
        delivery = DeliveryMetrics(
            dispatcher.delivered,
            {policy.value: dispatcher.dropped[policy] for policy in Policy},
            dispatcher.sent,
            queued_bytes,
            self._budget.used,
            self._availability.reason is None,
            subscriptions,
            self._backend.presence.usage,
            hooks,
            self._wall(),
        )
        return render(self._counters, await self._backend.usage(), delivery)

    async def _count(self) -> tuple[Counter[str], int]:
        """Return the number of subscriptions by transport, and the bytes in all queues."""
        subscriptions: Counter[str] = Counter()
        queued_bytes = 0
        for number, subscriber in enumerate(list(self._register.all()), 1):
            subscriptions[subscriber.peer.transport] += len(subscriber.starts)
            queued_bytes += subscriber.queued_bytes
            if number % _COUNTED == 0:
                await self._turns.next_turn()
        return subscriptions, queued_bytes
