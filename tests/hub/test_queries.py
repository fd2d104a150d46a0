"""Queries: metrics and the history."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, NOW, MessageId
from pushd.core.errors import NoRoom, TooSlow
from pushd.core.peer import DAEMON
from pushd.core.replay import Page
from tests.hub.hub_fixture import HubFixture


async def test_metrics_report_queues_disconnects_and_whether_the_backend_is_available() -> None:
    fixture = await HubFixture().start()
    paused, closed = await fixture.subscribe("a"), await fixture.subscribe("a")
    paused.subscriber.pause()
    fixture.hub.disconnect(closed.subscriber, TooSlow("too slow"))
    await fixture.publish("a")
    fixture.turn()
    text = (await fixture.hub.metrics(DAEMON)).decode()
    assert paused.subscriber.queued_bytes
    assert f"pushd_queue_bytes {float(paused.subscriber.queued_bytes)}" in text
    assert 'pushd_disconnects_total{reason="slow"} 1.0' in text
    assert f'pushd_subscriptions{{transport="{paused.subscriber.peer.transport}"}} 1.0' in text
    assert "pushd_backend_up 1.0" in text
    fixture.backend.events.on_health("the disk is full")
    assert "pushd_backend_up 0.0" in (await fixture.hub.metrics(DAEMON)).decode()


async def test_many_subscribers_are_counted_in_several_turns() -> None:
    fixture = await HubFixture().start()
    for number in range(10_001):
        await fixture.subscribe(f"a/{number}")
    metrics = Deferred.fromCoroutine(fixture.hub.metrics(DAEMON))
    assert not metrics.called
    fixture.turn()
    assert b'pushd_subscriptions{transport="tcp"} 10001.0' in await metrics


async def test_a_large_part_of_the_history_is_refused_while_the_memory_limit_is_exceeded() -> None:
    fixture = await HubFixture().start()
    await fixture.publish("a")
    fixture.hub.budget.limit = 0
    fixture.hub.budget.recount(0, 1)
    with pytest.raises(NoRoom):
        await fixture.hub.history(DAEMON, ["a"], NOW, 10, 2 << 20)
    assert (await fixture.hub.history(DAEMON, ["a"], NOW, 10, 1 << 20)).messages


async def test_messages_that_are_deleted_while_the_history_is_read_are_a_gap() -> None:
    fixture = await HubFixture().start()
    await fixture.publish(*"a" * 3)
    page = fixture.backend.page

    async def page_after_deletion(
        topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        await fixture.backend.delete("a")
        return await page(topics, after, count, size, latest_until)

    fixture.backend.page = page_after_deletion  # type: ignore[method-assign]
    history = await fixture.hub.history(DAEMON, ("a",), EVERYTHING, 10, 1 << 20)
    assert history.messages == []
    assert [(gap.start, gap.reason) for gap in history.gaps] == [("E-0", "evicted")]


async def test_details_of_channels_are_read_in_several_turns_where_many_subscribers_are_counted() -> None:
    fixture = await HubFixture().start()
    for _ in range(10_001):
        await fixture.subscribe("*")
    first = Deferred.fromCoroutine(fixture.hub.channel_details(DAEMON, ["a", "b"]))
    assert not first.called
    fixture.turn()
    fixture.turn()
    await first
    await fixture.publish("a")
    second = Deferred.fromCoroutine(fixture.hub.channel_details(DAEMON, ["a", "b"]))
    fixture.turn()
    fixture.turn()
    details = (await second).channels
    assert [(each.status.info.channel, each.status.info.messages, each.published) for each in details] == [
        ("a", 1, 1),
        ("b", 0, 0),
    ]
    assert sum(details[0].status.subscribers.values()) == 10_001
