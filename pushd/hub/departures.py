"""Departures of responders: requests that nobody can answer any more are refused, and other nodes get a report.

All of it is done in later turns of the reactor, in steps, since as many requests as there may be can fail together.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pushd.backends.interface import Backend
from pushd.core.errors import NoReply
from pushd.core.names import is_pattern
from pushd.core.open_requests import HERE, OpenRequest, OpenRequests
from pushd.core.responder_watches import ResponderWatches
from pushd.core.subscriber import Subscriber
from pushd.hub.responders import Responders
from pushd.net.turn_slices import Slices

_SWEEP_SECONDS: Final = 10.0
"""How often the watches that have ended are dropped."""
_ALL_LEFT: Final = "everyone who could answer the request has disconnected"


class Departures:
    """The channels whose responders may have left, and the requests that have failed.

    :param open_requests: those of this node.
    :param refuse: refuses an open request.
    """

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        open_requests: OpenRequests,
        responders: Responders,
        clock: IReactorTime,
        turns: Slices,
        refuse: Callable[[OpenRequest, NoReply], None],
    ) -> None:
        self._backend = backend
        self._open = open_requests
        self._responders = responders
        self._clock = clock
        self._turns = turns
        self._refuse = refuse
        self._watches = ResponderWatches()
        self._next_sweep = 0.0
        self._changed: dict[str, None] = {}
        """Channels whose responders may have left."""
        self._failed: deque[tuple[OpenRequest, NoReply]] = deque()
        """Requests that have timed out, or that nobody can answer any more, and the refusal of each."""
        self._is_checking = False

    def topics_left(self, subscriber: Subscriber, topics: Sequence[str]) -> None:
        """Called when a subscriber has unsubscribed from topics: perhaps nobody can answer a request any more."""
        channels, watches = self._open.channels, self._watches
        if not (channels or len(watches)):
            return
        if subscriber in self._responders and any(map(is_pattern, topics)):
            self._changed.update(dict.fromkeys((*channels, *watches.channels)))
        else:
            self._changed.update(dict.fromkeys(topic for topic in topics if topic in channels or topic in watches))
        self._check_soon()

    def watch(self, channel: str, node: str, seconds: float) -> None:
        """Report to another node, for some seconds, when responders of a channel leave."""
        now = self._clock.seconds()
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_SECONDS
            self._watches.expire(now)
        self._watches.add(channel, node, self._responders.oldest(channel), now + seconds)

    def lose(self, requests: Iterable[OpenRequest]) -> None:
        """Refuse requests that nobody can answer any more."""
        self._failed += [(request, NoReply(_ALL_LEFT)) for request in requests]
        self._check_soon()

    def time_out(self, request: OpenRequest, seconds: float) -> None:
        """Refuse a request that was not answered within some seconds."""
        self._failed.append((request, NoReply(f"no reply within {seconds:g} seconds")))
        self._check_soon()

    def _check_soon(self) -> None:
        if (self._changed or self._failed) and not self._is_checking:
            self._is_checking = True
            self._clock.callLater(0, self._start_checking)

    def _start_checking(self) -> None:
        checking = Deferred.fromCoroutine(self._turns.run(self._check_in_steps()))
        checking.addErrback(lambda failure: self.log.failure("Check of the responders that left failed", failure))

    def _check_in_steps(self) -> Generator[None, None, None]:
        """Refuse one request, or check one channel, in each step."""
        try:
            while self._failed or self._changed:
                if self._failed:
                    self._refuse(*self._failed.popleft())
                else:
                    self._check(self._changed.popitem()[0])
                yield
        finally:
            self._is_checking = False

    def _check(self, channel: str) -> None:
        """Find the requests on a channel that nobody at this node can answer any more, and report to other nodes."""
        oldest = self._responders.oldest(channel)
        self.lose(self._open.leave(HERE, channel, oldest))
        for node in self._watches.changed(channel, oldest, self._clock.seconds()):
            self._backend.report_responders(node, channel, oldest)
