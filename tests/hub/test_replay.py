"""Replays: pages of the history, while the backend is available."""

from twisted.internet.defer import Deferred

from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.cursor import LATEST, MessageId
from pushd.core.outbox import QueueLimits
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture


async def stalled_at_latest(messages: int) -> tuple[HubFixture, FakePeer]:
    """Return a peer that has subscribed to two channels with `LATEST`, of which it has not received anything yet.

    :param messages: the number of live messages that its queue holds.
    """
    fixture = await HubFixture().start()
    fixture.backend.reconfigure(ChannelRules([ChannelRule("**", messages=1)]))
    await fixture.publish("a", "a", "b")
    fixture.turn()
    peer = fixture.add(FakePeer(limits=QueueLimits(messages=messages)))
    peer.subscriber.pause()
    opening = await fixture.hub.subscribe(peer.subscriber, ("*",), LATEST)
    assert opening.cursor.seq == 1
    Deferred.fromCoroutine(fixture.hub.replay_and_go_live(peer.subscriber, opening))
    return fixture, peer


async def test_messages_that_are_held_beside_the_newest_ones_need_no_history() -> None:
    fixture, peer = await stalled_at_latest(3)
    await fixture.publish("a", "a", "a")
    fixture.turn()
    peer.subscriber.resume()
    fixture.turn()
    await fixture.publish("b")
    fixture.turn()
    assert peer.received == ["b:3", "a:4", "a:5", "a:6", "b:7"]


async def test_a_message_that_is_newer_than_the_start_and_lost_is_a_gap() -> None:
    fixture, peer = await stalled_at_latest(2)
    await fixture.publish("a", "a", "a")
    fixture.turn()
    peer.subscriber.resume()
    fixture.turn()
    await fixture.publish("b")
    fixture.turn()
    assert peer.received == ["b:3", "gap:*:E-3:E-5:evicted", "a:6", "b:7"]


async def test_a_resync_while_the_newest_messages_are_read_loses_nothing() -> None:
    fixture, peer = await stalled_at_latest(3)
    fixture.backend.lose_events()
    await fixture.publish("a")
    fixture.backend.restore_events()
    fixture.backend.events.on_resync(MessageId("E", 3), None)
    peer.subscriber.resume()
    fixture.turn()
    assert peer.received == ["b:3", "a:4"]


async def test_a_history_that_is_lost_while_the_newest_messages_are_read_is_a_gap() -> None:
    fixture, peer = await stalled_at_latest(3)
    fixture.backend.lose_history()
    for _ in range(9):
        await fixture.publish("a", "b")
    peer.subscriber.resume()
    fixture.turn()
    assert peer.received[0] == "gap:*:E-1:F-0:epoch"
    assert peer.received[1:] == [f"{'ba'[number % 2]}:{number}" for number in range(1, 19)]


async def test_a_replay_waits_while_the_backend_is_unavailable() -> None:
    fixture = await HubFixture().start()
    await fixture.publish("a")
    peer = await fixture.subscribe("a")
    fixture.backend.is_unavailable = True
    fixture.backend.lose_history()
    fixture.turn()
    assert (peer.received, peer.closed_with) == ([], None)
    fixture.backend.is_unavailable = False
    fixture.clock.advance(1)
    fixture.turn()
    assert peer.received == ["gap:a:E-1:F-0:epoch"]
