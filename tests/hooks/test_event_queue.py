"""Events that wait for the backend: order, bounds and losses."""

from collections.abc import Sequence

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.backends.hook_outbox import HookEvent
from pushd.backends.memory_outbox import MemoryOutbox
from pushd.core.errors import OutcomeUnknown, Unavailable
from pushd.hooks.event_queue import BATCH, MAX_BYTES, MAX_EVENTS, RETRY_SECONDS, EventQueue
from pushd.metrics import Counters
from pushd.net.turn_slices import Slices


class AwayOutbox(MemoryOutbox):
    """An outbox that can be away, or accept events and fail nevertheless."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda draft: None, Slices(clock), clock.seconds)
        self.failure: Exception | None = None
        self.hangs: Deferred[None] | None = None
        self.calls = 0

    async def add(self, events: Sequence[HookEvent]) -> None:
        self.calls += 1
        if self.hangs is not None:
            await self.hangs
        if self.failure is None or isinstance(self.failure, OutcomeUnknown):
            await super().add(events)
        if self.failure is not None:
            raise self.failure


class Scene:
    """A queue on an outbox that can be away."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.outbox = AwayOutbox(self.clock)
        self.counters = Counters()
        self.queue = EventQueue(self.outbox, self.clock, self.counters)

    def add(self, *numbers: int, size: int = 0) -> None:
        for number in numbers:
            self.queue.add(HookEvent("app", "room", b"%d" % number + bytes(size)))

    async def stored(self) -> list[int]:
        events = await self.outbox.first("app", 10**6, 10**9)
        return [int(event.body.rstrip(b"\0")) for event in events]


@pytest_twisted.ensureDeferred
async def test_events_are_stored_together_in_the_next_turn() -> None:
    scene = Scene()
    scene.add(*range(BATCH + 1))
    assert scene.outbox.calls == 0
    scene.clock.advance(0)
    assert scene.outbox.calls == 2
    assert await scene.stored() == list(range(BATCH + 1))
    assert len(scene.queue) == 0


@pytest_twisted.ensureDeferred
async def test_events_wait_while_the_backend_is_away() -> None:
    scene = Scene()
    scene.outbox.failure = Unavailable("away")
    scene.add(1, 2)
    scene.clock.advance(0)
    scene.add(3)
    scene.clock.pump([RETRY_SECONDS] * 3)
    assert (len(scene.queue), await scene.stored()) == (3, [])
    scene.outbox.failure = None
    scene.clock.advance(RETRY_SECONDS)
    assert (len(scene.queue), await scene.stored()) == (0, [1, 2, 3])
    assert scene.counters.hook_lost == {}


@pytest_twisted.ensureDeferred
async def test_unknown_outcome_repeats_events_in_order() -> None:
    scene = Scene()
    scene.outbox.failure = OutcomeUnknown("perhaps")
    scene.add(1, 2)
    scene.clock.advance(0)
    scene.outbox.failure = None
    scene.clock.advance(RETRY_SECONDS)
    assert await scene.stored() == [1, 2, 1, 2]


@pytest_twisted.ensureDeferred
async def test_oldest_events_beyond_the_bounds_are_lost_and_counted() -> None:
    scene = Scene()
    scene.outbox.failure = Unavailable("away")
    scene.add(*range(MAX_EVENTS + 5))
    assert (len(scene.queue), scene.counters.hook_lost) == (MAX_EVENTS, {"app": 5})
    scene.outbox.failure = None
    scene.clock.advance(RETRY_SECONDS)
    assert await scene.stored() == list(range(5, MAX_EVENTS + 5))
    scene = Scene()
    scene.outbox.failure = Unavailable("away")
    scene.add(*range(20), size=MAX_BYTES // 10)
    assert len(scene.queue) == 9
    assert scene.counters.hook_lost == {"app": 11}


@pytest_twisted.ensureDeferred
async def test_events_under_way_count_towards_the_bounds() -> None:
    scene = Scene()
    scene.outbox.hangs = Deferred()
    scene.add(*range(10))
    scene.clock.advance(0)
    scene.add(*range(10, MAX_EVENTS + 10))
    assert len(scene.queue) == MAX_EVENTS
    scene.outbox.hangs.callback(None)
    scene.clock.advance(0)
    assert await scene.stored() == [*range(10), *range(20, MAX_EVENTS + 10)]


@pytest_twisted.ensureDeferred
async def test_flush_stores_the_last_events_or_loses_them() -> None:
    scene = Scene()
    scene.add(1, 2)
    await scene.queue.flush()
    assert await scene.stored() == [1, 2]
    scene.outbox.failure = Unavailable("away")
    scene.add(3)
    await scene.queue.flush()
    assert (len(scene.queue), scene.counters.hook_lost) == (0, {"app": 1})


@pytest_twisted.ensureDeferred
async def test_flush_does_not_wait_long_for_a_backend_that_hangs() -> None:
    scene = Scene()
    scene.outbox.hangs = Deferred()
    scene.add(1)
    flushing = Deferred.fromCoroutine(scene.queue.flush())
    scene.clock.advance(10)
    await flushing
    assert (len(scene.queue), scene.counters.hook_lost) == (0, {"app": 1})
