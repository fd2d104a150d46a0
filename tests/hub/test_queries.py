"""Queries: the history and the states of channels."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, NOW, MessageId
from pushd.core.errors import NoRoom
from pushd.core.peer import DAEMON
from pushd.core.replay import Page
from tests.hub.hub_fixture import HubFixture


async def test_a_large_part_of_the_history_is_refused_while_the_memory_limit_is_exceeded() -> None:
    fixture = await HubFixture().start()
    await fixture.publish("a")
    fixture.hub.budget.limit = 0
    fixture.hub.budget.recount(0, 1)
    with pytest.raises(NoRoom):
        await fixture.hub.queries.history(DAEMON, ["a"], NOW, 10, 2 << 20)
    assert (await fixture.hub.queries.history(DAEMON, ["a"], NOW, 10, 1 << 20)).messages


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
    history = await fixture.hub.queries.history(DAEMON, ("a",), EVERYTHING, 10, 1 << 20)
    assert history.messages == []
    assert [(gap.start, gap.reason) for gap in history.gaps] == [("E-0", "evicted")]


async def test_details_of_channels_are_read_in_several_turns_where_many_subscribers_are_counted() -> None:
    fixture = await HubFixture().start()
    for _ in range(10_001):
        await fixture.subscribe("*")
    first = Deferred.fromCoroutine(fixture.hub.queries.channel_details(DAEMON, ["a", "b"]))
    assert not first.called
    fixture.turn()
    fixture.turn()
    await first
    await fixture.publish("a")
    second = Deferred.fromCoroutine(fixture.hub.queries.channel_details(DAEMON, ["a", "b"]))
    fixture.turn()
    fixture.turn()
    details = (await second).channels
    assert [(each.status.info.channel, each.status.info.messages, each.published) for each in details] == [
        ("a", 1, 1),
        ("b", 0, 0),
    ]
    assert sum(details[0].status.subscribers.values()) == 10_001
