"""Memory relief: which queues are dropped, and who is disconnected, when the memory limit is exceeded."""

from twisted.internet.task import Clock

from pushd.core.budget import Budget
from pushd.core.cursor import EVERYTHING
from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import NoRoom, Refusal
from pushd.core.outbox import _RANGE_BYTES, Policy
from pushd.core.peer import DAEMON
from pushd.core.subscriber import Subscriber
from pushd.hub.memory_relief import MemoryRelief
from tests.hub.hub_fixture import HubFixture


async def test_the_longest_queues_are_dropped_first_as_their_policies_permit() -> None:
    fixture = await HubFixture().start()
    queued = {"short": 1, "longest": 6, "drop": 5, "latest": 4}
    policies = {"drop": Policy.DROP, "latest": Policy.LATEST}
    peers = {}
    for name in queued:
        peers[name] = await fixture.subscribe(name, peer=fixture.add_limited(policies.get(name, Policy.DISCONNECT)))
        peers[name].subscriber.pause()
    await fixture.publish(*[name for name, count in queued.items() for _ in range(count)])
    fixture.turn()
    one = fixture.hub.budget.used // sum(queued.values())
    fixture.hub.budget.limit = 6 * one
    await fixture.publish("short")
    fixture.turn()
    assert fixture.hub.budget.used == 4 * one + _RANGE_BYTES, "two, one and one, and the range of what was dropped"
    assert isinstance(peers["longest"].closed_with, NoRoom)
    assert fixture.counters.refusals["no-room"] == fixture.counters.disconnects["no-room"] == 1
    assert fixture.counters.lagging == {"drop": 1, "latest": 1}
    text = (await fixture.hub.metrics.text(DAEMON)).decode()
    assert 'pushd_dropped_total{policy="drop"} 4.0' in text
    assert 'pushd_dropped_total{policy="latest"} 3.0' in text
    assert f"pushd_waiting_bytes {4.0 * one + _RANGE_BYTES}" in text
    for name in ("short", "drop", "latest"):
        peers[name].subscriber.resume()
    assert peers["short"].received == ["short:1", "short:17"]
    assert peers["drop"].received == ["gap:drop:E-0:E-11:slow", "drop:12"]
    assert peers["latest"].received == ["latest:16"]


async def test_no_more_is_dropped_than_necessary() -> None:
    fixture = await HubFixture().start()
    long, short = fixture.add_limited(), fixture.add_limited()
    for channel, peer in (("a", long), ("b", short)):
        await fixture.subscribe(channel, peer=peer)
        peer.subscriber.pause()
    await fixture.publish("a", "a", "b")
    fixture.turn()
    fixture.hub.budget.limit = fixture.hub.budget.used
    await fixture.publish("a")
    assert not (long.closed_with or short.closed_with)
    fixture.turn()
    assert long.closed_with and not short.closed_with


async def test_subscribers_with_unsent_bytes_in_their_transport_are_disconnected_last() -> None:
    fixture = await HubFixture().start()
    await fixture.publish(*["a"] * 3)
    first, second = fixture.add_limited(Policy.DROP), fixture.add_limited(Policy.DROP)
    for peer in (first, second):
        peer.is_full_after_write = True
        await fixture.subscribe("a", since=EVERYTHING, peer=peer)
    assert fixture.hub.budget.used == sum(peer.subscriber.held_bytes for peer in (first, second)) > 0
    fixture.hub.budget.limit = fixture.hub.budget.used
    assert not (first.closed_with or second.closed_with)
    third = fixture.add_limited()
    third.is_full_after_write = True
    await fixture.subscribe("a", since=EVERYTHING, peer=third)
    assert isinstance(third.closed_with, NoRoom)
    assert not (first.closed_with and second.closed_with)
    assert not fixture.hub.budget.is_over


async def test_an_attempt_that_did_not_free_enough_is_repeated_after_a_second() -> None:
    fixture = await HubFixture().start()
    fixture.hub.budget.limit = 0
    fixture.hub.budget.recount(0, 1000)  # of a publisher
    is_closed = []
    for _ in range(3):
        peer = await fixture.subscribe("a", peer=fixture.add_limited())
        peer.subscriber.pause()
        await fixture.publish("a")
        fixture.turn()
        is_closed.append(peer.closed_with is not None)
    assert is_closed == [True, False, False]
    fixture.clock.advance(1)
    await fixture.publish("a")
    fixture.turn()
    assert isinstance(peer.closed_with, NoRoom)


class SlowInput:
    """An input without progress, whose release takes 20 ms."""

    def __init__(self, budget: Budget, clock: Clock) -> None:
        self._budget = budget
        self._clock = clock
        self._held = budget.grow(0, 1000, self)

    def release_for(self, refusal: Refusal) -> None:
        assert isinstance(refusal, NoRoom)
        self._held = self._budget.grow(self._held, 0, self)
        self._clock.rightNow += 0.02


def never(*arguments: object) -> None:
    raise AssertionError("there is no subscriber")


def test_a_long_attempt_continues_in_a_later_turn_until_there_is_room() -> None:
    clock = Clock()
    budget = Budget(8000, clock.seconds)
    relief = MemoryRelief(budget, Dispatcher(Recent()), clock, list[Subscriber], never)
    for _ in range(9):
        SlowInput(budget, clock)
    clock.advance(1)
    relief.relieve()
    assert (budget.used, budget.is_over) == (8000, False)
    clock.advance(0)
    assert budget.used == 7000, "an eighth is free"
    assert not clock.getDelayedCalls()


async def test_memory_is_released_without_any_publish() -> None:
    fixture = await HubFixture().start()
    budget = fixture.hub.budget
    budget.limit = 8000
    for _ in range(9):
        SlowInput(budget, fixture.clock)
    fixture.clock.advance(0)
    assert budget.used == 9000, "they have made progress within the last second"
    fixture.clock.advance(1)
    assert budget.used == 7000
    budget.grow(0, 2000)
    await fixture.hub.stop()
    assert not fixture.clock.getDelayedCalls()
