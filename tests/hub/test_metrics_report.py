"""The metrics of the hub."""

from twisted.internet.defer import Deferred

from pushd.core.errors import TooSlow
from pushd.core.peer import DAEMON
from tests.hub.hub_fixture import HubFixture


async def test_metrics_report_queues_disconnects_and_whether_the_backend_is_available() -> None:
    fixture = await HubFixture().start()
    paused, closed = await fixture.subscribe("a"), await fixture.subscribe("a")
    paused.subscriber.pause()
    fixture.hub.disconnect(closed.subscriber, TooSlow("too slow"))
    await fixture.publish("a")
    fixture.turn()
    text = (await fixture.hub.metrics.text(DAEMON)).decode()
    assert paused.subscriber.queued_bytes
    assert f"pushd_queue_bytes {float(paused.subscriber.queued_bytes)}" in text
    assert 'pushd_disconnects_total{reason="slow"} 1.0' in text
    assert f'pushd_subscriptions{{transport="{paused.subscriber.peer.transport}"}} 1.0' in text
    assert "pushd_backend_up 1.0" in text
    fixture.backend.events.on_health("the disk is full")
    assert "pushd_backend_up 0.0" in (await fixture.hub.metrics.text(DAEMON)).decode()


async def test_many_subscribers_are_counted_in_several_turns() -> None:
    fixture = await HubFixture().start()
    for number in range(10_001):
        await fixture.subscribe(f"a/{number}")
    metrics = Deferred.fromCoroutine(fixture.hub.metrics.text(DAEMON))
    assert not metrics.called
    fixture.turn()
    assert b'pushd_subscriptions{transport="tcp"} 10001.0' in await metrics
