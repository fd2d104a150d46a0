"""Replay: a subscriber reads the history page by page, at its own pace, and then goes live."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pushd.backends.interface import Backend
from pushd.core.catch_up import CatchUp
from pushd.core.cursor import MessageId
from pushd.core.delivery import Recent
from pushd.core.errors import Unavailable
from pushd.core.replay import Page, StartPosition
from pushd.core.subscriber import Subscriber
from pushd.metrics import Counters
from pushd.net.turn_slices import Slices

_PAGE_MESSAGES = 256
_PAGE_BYTES = 256 << 10
"""The most that a replay sends before it waits until the peer has read it."""
_RETRY_SECONDS = 1.0
"""Seconds before a page is requested again from an unavailable backend."""


class Replay:
    """Replays the history to subscribers.

    :param turns: the turns in which pages are read, so that replays of many clients do not delay live messages.
    :param on_page: called after each page that was sent.
    """

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        counters: Counters,
        recent: Recent,
        turns: Slices,
        on_page: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._counters = counters
        self._recent = recent
        self._turns = turns
        self._on_page = on_page

    async def run(self, subscriber: Subscriber, opening: StartPosition, *, report_gaps: bool) -> None:
        """Replay from a start position until the subscriber is live, closed, or its replay restarts.

        :raises Refusal: when it cannot be continued, for instance because the subscriber is too slow.
        """
        catch_up = subscriber.catch_up
        if catch_up is None:
            return
        gaps = catch_up.reports.opened(opening)
        self._counters.gaps.update(gap.reason for gap in gaps)
        position, latest_until = opening.position, opening.latest_until
        catch_up.origin = latest_until or position  # only after it all messages are received
        page = Page((), (), position, is_last=not opening.needs_replay)
        await drained(subscriber)
        if report_gaps:
            subscriber.gap(gaps)
        while subscriber.catch_up is catch_up:
            self._counters.replayed += len(page.messages)
            is_done = subscriber.replay(catch_up, page, self._recent)
            self._on_page()
            if is_done:
                return
            await drained(subscriber)
            if page.position != position:
                await self._turns.next_turn()
                await drained(subscriber)
            position = page.position
            page = await self._read_page(subscriber, catch_up, position, latest_until)

    async def _read_page(
        self, subscriber: Subscriber, catch_up: CatchUp, position: MessageId, latest_until: MessageId | None
    ) -> Page:
        """Read the next page; retry while the backend is unavailable and the replay is not cancelled."""
        while subscriber.catch_up is catch_up:
            topics = tuple(catch_up.topics)
            try:
                return await self._backend.page(topics, position, _PAGE_MESSAGES, _PAGE_BYTES, latest_until)
            except Unavailable:
                await deferLater(self._clock, _RETRY_SECONDS)
        return Page((), (), position, is_last=False)


async def drained(subscriber: Subscriber) -> None:
    """Wait until the queue of a subscriber is drained, or it is closed."""
    if subscriber.is_paused:
        ready: Deferred[None] = Deferred()
        subscriber.when_drained(lambda: ready.callback(None))
        await ready
