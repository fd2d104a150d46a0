"""The hub: what a store that nodes share can tell it, and what becomes of those who hear."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.backends.interface import BackendEvents
from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import EVERYTHING, NOW, MessageId, Since
from pushd.core.errors import NoRoom, Refusal, StorageFailed, TooSlow, Unavailable
from pushd.core.history import Bounds
from pushd.core.log_reader import LogReader
from pushd.core.message import Draft, draft
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.replay import Page
from pushd.hub.hub import Hub
from pushd.hub.publishing import Receipt
from pushd.metrics import Counters
from tests.build import FakePeer, ReadableWire


class Shared(MemoryBackend):
    """A store in memory that can lose its memory, be away, and be asked what it was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Bounds(), clock, clock.seconds, "E")

        self.is_away = False
        self.wanted: list[str] = []

    async def start(self, listener: BackendEvents) -> None:
        """Remember whom to call."""
        self.listener = listener
        self._events = listener

    async def stop(self) -> None:
        """Do nothing."""

    def subscribe(self, topic: str) -> None:
        """Take note."""
        self.wanted.append(topic)

    def unsubscribe(self, topic: str) -> None:
        """Take note."""
        self.wanted.remove(topic)

    async def page(self, topics: Sequence[str], after: MessageId, count: int, size: int) -> Page:
        """Give a page, unless away."""
        if self.is_away:
            raise Unavailable("away")
        return await super().page(topics, after, count, size)

    def flush(self) -> None:
        """Lose everything, and begin a new epoch."""
        after = MessageId(self._log.epoch, self._log.head)
        self._log = type(self._log)("F", Bounds())
        self._reader = LogReader(self._log)
        self.listener.on_resync(after, None)


class Scene:
    """A hub on such a store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.backend = Shared(self.clock)
        self.counters = Counters()
        self.hub = Hub(self.backend, self.clock, self.counters)

    async def begin(self) -> "Scene":
        """Start."""
        await self.hub.start()
        return self

    async def listen(self, *topics: str, since: Since = NOW, peer: FakePeer | None = None) -> FakePeer:
        """Subscribe, and be live."""
        peer = peer or FakePeer()
        peer.on_close = self.hub.remove
        if not peer.subscriber.peer.number:
            self.hub.add(peer.subscriber)
        opening = await self.hub.subscribe(peer.subscriber, topics, since)
        await self.hub.replay_and_go_live(peer.subscriber, opening)
        return peer

    async def publish(self, *channels: str) -> None:
        """Publish, without a turn for those who hear."""
        for channel in channels:
            await self.hub.publish(draft(channel, b"x"))

    def turn(self) -> None:
        """Let the reactor have some turns."""
        for _ in range(5):
            self.clock.advance(0)


async def test_a_new_epoch_is_told_once_to_each_and_what_is_new_follows() -> None:
    scene = await Scene().begin()
    peers = [await scene.listen("a"), await scene.listen("*"), await scene.listen("a", "b")]
    await scene.publish("a", "b")
    scene.backend.flush()
    await scene.publish("a")
    scene.turn()
    assert peers[0].received == ["a:1", "gap:a:E-2:F-0:epoch", "a:1"]
    assert peers[1].received == ["a:1", "b:2", "gap:*:E-2:F-0:epoch", "a:1"]
    assert peers[2].received == ["a:1", "b:2", "gap:a:E-2:F-0:epoch", "gap:b:E-2:F-0:epoch", "a:1"]
    await scene.publish("b", "a")
    scene.turn()
    assert peers[2].received[-2:] == ["b:2", "a:3"]
    assert not any(peer.closed_with for peer in peers)


async def test_a_new_epoch_reaches_those_who_are_slow_or_catching_up() -> None:
    scene = await Scene().begin()
    slow, late = await scene.listen("a"), FakePeer()
    await scene.publish("a", "a")
    slow.subscriber.pause()
    opening = await scene.hub.subscribe(late.subscriber, ("a",), EVERYTHING)
    await scene.publish("a")
    scene.backend.flush()
    await scene.publish("a")
    scene.turn()
    following = Deferred.fromCoroutine(scene.hub.replay_and_go_live(late.subscriber, opening))
    slow.subscriber.resume()
    scene.turn()
    assert slow.received == ["a:1", "a:2", "a:3", "gap:a:E-3:F-0:epoch", "a:1"]
    assert late.received == ["gap:a:E-0:F-0:epoch", "a:1"]
    await following


async def test_only_those_who_hear_a_channel_that_lost_messages_read_on_in_the_history() -> None:
    scene = await Scene().begin()
    one, other = await scene.listen("a"), await scene.listen("b")
    await scene.publish("a", "b")
    scene.backend._events = None
    await scene.publish("a", "b")
    scene.backend._events = scene.backend.listener
    scene.backend.listener.on_resync(MessageId("E", 2), ["a"])
    scene.turn()
    assert (one.received, other.received) == (["a:1", "a:3"], ["b:2"])


async def test_what_is_gone_is_told_to_those_it_concerns_and_ends_what_can_not_tell() -> None:
    scene = await Scene().begin()
    data_only = FakePeer(ReadableWire(data_only=True))
    peers = [await scene.listen("a"), await scene.listen("*", "b"), await scene.listen("b")]
    await scene.listen("a", peer=data_only)
    scene.backend.listener.on_lost("a", MessageId("E", 3), MessageId("E", 5), "evicted")
    assert [peer.received for peer in peers] == [["gap:a:E-3:E-5:evicted"], ["gap:*:E-3:E-5:evicted"], []]
    assert isinstance(data_only.closed_with, TooSlow)
    scene.backend.listener.on_lost(None, MessageId("E", 3), MessageId("E", 5), "unknown")
    assert [len(peer.received) for peer in peers] == [2, 3, 1]


async def test_a_replay_waits_while_the_store_is_away() -> None:
    scene = await Scene().begin()
    await scene.publish("a")
    peer = await scene.listen("a")
    scene.backend.is_away = True
    scene.backend.flush()
    scene.turn()
    assert (peer.received, peer.closed_with) == ([], None)
    scene.backend.is_away = False
    scene.clock.advance(1)
    scene.turn()
    assert peer.received == ["gap:a:E-1:F-0:epoch"]


async def test_the_store_is_told_what_is_wanted() -> None:
    scene = await Scene().begin()
    one, other = await scene.listen("a", "*"), await scene.listen("a")
    await scene.listen("a", since=EVERYTHING, peer=one)
    assert scene.backend.wanted == ["a", "*"]
    scene.hub.unsubscribe(one.subscriber, ("a", "never"))
    assert scene.backend.wanted == ["a", "*"]
    scene.hub.remove(other.subscriber)
    assert scene.backend.wanted == ["*"]
    scene.hub.remove(one.subscriber)
    assert scene.backend.wanted == []


async def test_one_with_many_topics_leaves_at_once_and_its_topics_are_removed_turn_by_turn() -> None:
    scene = await Scene().begin()
    topics = [f"t{number}/*" for number in range(2500)]
    first, second, few = await scene.listen(*topics), await scene.listen(*topics[:100]), await scene.listen("a")
    for peer in (first, second, few):
        scene.hub.remove(peer.subscriber)
    assert len(scene.backend.wanted) == 2500
    await scene.publish("t0/x")
    scene.turn()
    assert scene.backend.wanted == []
    assert not scene.hub.dispatcher.subscribers()
    assert first.received == second.received == []


async def test_a_repeat_of_what_is_to_be_tried_again_is_published_and_a_repeat_of_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await Scene().begin()

    async def refuse(drafts: Sequence[Draft], key: str | None = None) -> list[Refusal]:
        return [StorageFailed("full") for _ in drafts]

    drafts = [draft("a", b"x"), draft("b", b"x")]
    with monkeypatch.context() as patch:
        patch.setattr(scene.backend, "publish", refuse)
        assert {type(each) for each in await scene.hub.publish_all(drafts, "key")} == {StorageFailed}
    first = await scene.hub.publish_all(drafts, "key")
    assert [each.id for each in first if isinstance(each, Receipt)] == ["E-1", "E-2"]
    assert await scene.hub.publish_all(drafts, "key") is first


async def test_the_time_from_the_publish_to_the_socket_is_measured_once_a_turn() -> None:
    scene = await Scene().begin()
    await scene.listen("a")
    scene.clock.advance(60)
    await scene.publish("a", "a")
    scene.clock.advance(2)
    await scene.publish("a")
    scene.clock.advance(0)
    assert scene.counters.latency.sum == 2
    assert sum(scene.counters.latency.counts) == 2


async def test_metrics_tell_what_waits_who_was_cut_and_whether_the_store_is_up() -> None:
    scene = await Scene().begin()
    slow, cut = await scene.listen("a"), await scene.listen("a")
    slow.subscriber.pause()
    scene.hub.disconnect(cut.subscriber, TooSlow("too slow"))
    await scene.publish("a")
    scene.turn()
    text = (await scene.hub.metrics()).decode()
    assert f"pushd_queue_bytes {float(slow.subscriber.queued_bytes)}" in text
    assert slow.subscriber.queued_bytes
    assert 'pushd_disconnects_total{reason="slow"} 1.0' in text
    assert f'pushd_subscriptions{{transport="{slow.subscriber.peer.transport}"}} 1.0' in text
    assert "pushd_backend_up 1.0" in text
    scene.backend.listener.on_health("the disk is full")
    assert "pushd_backend_up 0.0" in (await scene.hub.metrics()).decode()


async def test_where_too_much_waits_in_all_those_for_whom_most_waits_lose_it_first() -> None:
    scene = await Scene().begin()
    limits = QueueLimits(budget=scene.hub.budget)
    waits = {"few1": 1, "most": 6, "drop": 5, "last": 4}
    policies = {"drop": Policy.DROP, "last": Policy.LATEST}
    peers = {}
    for name in waits:
        peer = peers[name] = FakePeer(limits=limits, policy=policies.get(name, Policy.DISCONNECT))
        await scene.listen(name, peer=peer)
        peer.subscriber.pause()
    await scene.publish(*[name for name, count in waits.items() for _ in range(count)])
    scene.turn()
    one = scene.hub.budget.used // sum(waits.values())
    scene.hub.budget.limit = 5 * one
    await scene.publish("few1")
    scene.turn()
    assert scene.hub.budget.used == 4 * one, "two, one and one"
    assert isinstance(peers["most"].closed_with, NoRoom)
    assert scene.counters.refusals["no-room"] == scene.counters.disconnects["no-room"] == 1
    assert scene.counters.lagging == {"drop": 1, "latest": 1}
    text = (await scene.hub.metrics()).decode()
    assert 'pushd_dropped_total{policy="drop"} 4.0' in text
    assert 'pushd_dropped_total{policy="latest"} 3.0' in text
    assert f"pushd_waiting_bytes {4.0 * one}" in text
    for name in ("few1", "drop", "last"):
        peers[name].subscriber.resume()
    assert peers["few1"].received == ["few1:1", "few1:17"]
    assert peers["drop"].received == ["gap:drop:E-0:E-11:slow", "drop:12"]
    assert peers["last"].received == ["last:16"]


async def test_no_more_is_let_go_than_makes_room() -> None:
    scene = await Scene().begin()
    limits = QueueLimits(budget=scene.hub.budget)
    first, second = FakePeer(limits=limits), FakePeer(limits=limits)
    for name, peer in (("a", first), ("b", second)):
        await scene.listen(name, peer=peer)
        peer.subscriber.pause()
    await scene.publish("a", "a", "b")
    scene.turn()
    scene.hub.budget.limit = scene.hub.budget.used
    await scene.publish("a")
    assert not (first.closed_with or second.closed_with)
    scene.turn()
    assert first.closed_with and not second.closed_with


async def test_the_last_to_go_are_those_to_whom_much_is_on_its_way() -> None:
    scene = await Scene().begin()
    limits = QueueLimits(budget=scene.hub.budget)
    await scene.publish(*["a"] * 3)
    first, second = (FakePeer(limits=limits, policy=Policy.DROP) for _ in range(2))
    for peer in (first, second):
        peer.is_full_after_write = True
        await scene.listen("a", since=EVERYTHING, peer=peer)
    assert scene.hub.budget.used == sum(peer.subscriber.held_bytes for peer in (first, second)) > 0
    scene.hub.budget.limit = scene.hub.budget.used
    assert not (first.closed_with or second.closed_with)
    third = FakePeer(limits=limits)
    third.is_full_after_write = True
    await scene.listen("a", since=EVERYTHING, peer=third)
    assert isinstance(third.closed_with, NoRoom)
    assert not (first.closed_with and second.closed_with)
    assert not scene.hub.budget.is_over


async def test_much_of_the_history_is_not_read_where_there_is_no_room() -> None:
    scene = await Scene().begin()
    await scene.publish("a")
    scene.hub.budget.limit = 0
    scene.hub.budget.recount(0, 1)
    with pytest.raises(NoRoom):
        await scene.hub.history(["a"], NOW, 10, 2 << 20)
    assert (await scene.hub.history(["a"], NOW, 10, 1 << 20)).messages


async def test_where_making_room_does_not_help_it_is_not_tried_at_each_turn() -> None:
    scene = await Scene().begin()
    limits = QueueLimits(budget=scene.hub.budget)
    scene.hub.budget.limit = 0
    scene.hub.budget.recount(0, 1000)  # of somebody who sends
    looks = []
    for _ in range(3):
        peer = FakePeer(limits=limits)
        await scene.listen("a", peer=peer)
        peer.subscriber.pause()
        await scene.publish("a")
        scene.turn()
        looks.append(peer.closed_with is not None)
    assert looks == [True, False, False]
    scene.clock.advance(1)
    await scene.publish("a")
    scene.turn()
    assert isinstance(peer.closed_with, NoRoom)


async def test_what_is_let_go_while_an_answer_from_the_history_is_read_is_a_gap() -> None:
    scene = await Scene().begin()
    await scene.publish(*"a" * 3)
    page = scene.backend.page

    async def page_after_a_loss(topics: Sequence[str], after: MessageId, count: int, size: int) -> Page:
        await scene.backend.delete("a")
        return await page(topics, after, count, size)

    scene.backend.page = page_after_a_loss  # type: ignore[method-assign]
    recalled = await scene.hub.history(("a",), EVERYTHING, 10, 1 << 20)
    assert recalled.messages == []
    assert [(gap.start, gap.reason) for gap in recalled.gaps] == [("E-0", "evicted")]


async def test_many_subscribers_are_counted_in_several_turns() -> None:
    scene = await Scene().begin()
    for number in range(10_001):
        await scene.listen(f"a/{number}")
    counted = Deferred.fromCoroutine(scene.hub.metrics())
    assert not counted.called
    scene.turn()
    assert b'pushd_subscriptions{transport="tcp"} 10001.0' in await counted
