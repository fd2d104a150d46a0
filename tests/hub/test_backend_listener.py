"""The callbacks of the backend: a resync after missed messages, a new epoch, and lost messages."""

from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, MessageId
from pushd.core.errors import TooSlow, Unavailable
from tests.build import FakePeer, ReadableWire
from tests.hub.hub_fixture import HubFixture


async def test_each_subscriber_receives_one_gap_for_each_topic_after_a_new_epoch() -> None:
    fixture = await HubFixture().start()
    peers = [await fixture.subscribe("a"), await fixture.subscribe("*"), await fixture.subscribe("a", "b")]
    await fixture.publish("a", "b")
    fixture.backend.lose_history()
    await fixture.publish("a")
    fixture.turn()
    assert peers[0].received == ["a:1", "gap:a:E-2:F-0:epoch", "a:1"]
    assert peers[1].received == ["a:1", "b:2", "gap:*:E-2:F-0:epoch", "a:1"]
    assert peers[2].received == ["a:1", "b:2", "gap:a:E-2:F-0:epoch", "gap:b:E-2:F-0:epoch", "a:1"]
    await fixture.publish("b", "a")
    fixture.turn()
    assert peers[2].received[-2:] == ["b:2", "a:3"]
    assert not any(peer.closed_with for peer in peers)


async def test_paused_and_replaying_subscribers_receive_the_gap_of_a_new_epoch() -> None:
    fixture = await HubFixture().start()
    paused, replaying = await fixture.subscribe("a"), fixture.add()
    await fixture.publish("a", "a")
    paused.subscriber.pause()
    opening = await fixture.hub.subscribe(replaying.subscriber, ("a",), EVERYTHING)
    await fixture.publish("a")
    fixture.backend.lose_history()
    await fixture.publish("a")
    fixture.turn()
    replay = Deferred.fromCoroutine(fixture.hub.replay_and_go_live(replaying.subscriber, opening))
    paused.subscriber.resume()
    fixture.turn()
    assert paused.received == ["a:1", "a:2", "a:3", "gap:a:E-3:F-0:epoch", "a:1"]
    assert replaying.received == ["gap:a:E-0:F-0:epoch", "a:1"]
    await replay


async def test_only_the_subscribers_of_the_affected_channels_replay_after_a_resync() -> None:
    fixture = await HubFixture().start()
    affected, other = await fixture.subscribe("a"), await fixture.subscribe("b")
    await fixture.publish("a", "b")
    fixture.backend.lose_events()
    await fixture.publish("a", "b")
    fixture.backend.restore_events()
    fixture.backend.events.on_resync(MessageId("E", 2), ["a"])
    fixture.turn()
    assert (affected.received, other.received) == (["a:1", "a:3"], ["b:2"])


async def test_a_resync_disconnects_a_subscriber_that_replays_one_topic_and_is_live_on_another() -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    await fixture.hub.subscribe(peer.subscriber, ("b",), EVERYTHING)
    fixture.backend.events.on_resync(MessageId("E", 0), None)
    assert isinstance(peer.closed_with, Unavailable)


async def test_lost_messages_are_a_gap_and_disconnect_subscribers_whose_wire_cannot_report_it() -> None:
    fixture = await HubFixture().start()
    peers = [await fixture.subscribe("a"), await fixture.subscribe("*", "b"), await fixture.subscribe("b")]
    data_only = await fixture.subscribe("a", peer=fixture.add(FakePeer(ReadableWire(data_only=True))))
    fixture.backend.events.on_lost("a", MessageId("E", 3), MessageId("E", 5), "evicted")
    assert [peer.received for peer in peers] == [["gap:a:E-3:E-5:evicted"], ["gap:*:E-3:E-5:evicted"], []]
    assert isinstance(data_only.closed_with, TooSlow)
    fixture.backend.events.on_lost(None, MessageId("E", 3), MessageId("E", 5), "unknown")
    assert [len(peer.received) for peer in peers] == [2, 3, 1]


async def test_lost_messages_are_no_gap_for_subscribers_that_have_read_beyond_them() -> None:
    fixture = await HubFixture().start()
    peers = [await fixture.subscribe("a"), await fixture.subscribe("a")]
    peers[1].subscriber.go_live(("a",), 5)
    fixture.backend.events.on_lost("a", MessageId("E", 3), MessageId("E", 5), "evicted")
    assert [len(peer.received) for peer in peers] == [1, 0]
