"""The part of the backend contract about the members of channels."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pushd.core.cursor import MessageId
from pushd.core.errors import TooManyMembers, UnknownMember
from pushd.core.names import PRESENCE
from pushd.core.presence import Change, EndLease, Enter, Leave, MemberInfo, Renew, Update
from tests.backends.backend_harness import BackendHarness

Start = Callable[..., Awaitable[BackendHarness]]
GRACE = 60.0


async def apply(harness: BackendHarness, *changes: Change) -> None:
    """Apply changes."""
    await harness.backend.presence.apply(changes)


async def events(harness: BackendHarness, channel: str = "c") -> list[dict[str, Any]]:
    """Return the delivered events of a channel, once all that were made before are delivered."""
    await harness.publish("flush")
    messages = [message for message in harness.delivered if message.channel == PRESENCE + channel]
    assert all(message.event == f"presence.{json.loads(message.data)['action']}" for message in messages)
    return [json.loads(message.data) for message in messages]


async def words(harness: BackendHarness, channel: str = "c") -> list[str]:
    """Return the delivered events of a channel, as words."""
    return [f"{event['action']} {event.get('id', '')}".strip() for event in await events(harness, channel)]


def replay(found: list[dict[str, Any]], members: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the members after events, each with its meta."""
    members = {} if members is None else members
    for event in found:
        is_diff = event["action"] == "diff"
        for each in (*event["enter"], *event["update"]) if is_diff else [event] if event["action"] != "leave" else []:
            members[each["id"]] = each["meta"]
        for each in event["leave"] if is_diff else [event] if event["action"] == "leave" else []:
            members.pop(each["id"], None)
    return members


async def listed(harness: BackendHarness, channel: str = "c") -> dict[str, Any]:
    """Return the listed members, each with its meta."""
    page = (await harness.backend.presence.members(channel, "", 10_000)).page
    return {member.id: json.loads(member.meta) for member in page.members}


class PresenceContract:
    """How members enter and leave, and what is sent of it."""

    async def start_with_members(self, start: Start, **bounds: Any) -> BackendHarness:
        """Start a backend with a short grace."""
        harness = await start(**bounds)
        harness.backend.presence.reconfigure(GRACE, 1000)
        return harness

    async def test_events_are_messages(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        before = await harness.publish("c")
        await apply(harness, Enter("c", "alice", b'{"name":"Alice"}'))
        await apply(harness, Update("c", "alice", b"1"))
        await apply(harness, Leave("c", "alice", "client", is_final=True))
        assert await events(harness) == [
            {"action": "enter", "id": "alice", "meta": {"name": "Alice"}, "reason": None},
            {"action": "update", "id": "alice", "meta": 1, "reason": None},
            {"action": "leave", "id": "alice", "meta": 1, "reason": "client"},
        ]
        messages = [message for message in harness.delivered if message.channel == "$presence/c"]
        assert [message.content_type for message in messages] == ["application/json"] * 3
        for topic in ("$presence/c", "$presence/*", "$presence/**"):
            found, gaps = await harness.replay_since(topic, MessageId(before.epoch, before.seq))
            assert ([each.id for each in found], gaps) == ([each.id for each in messages], [])
        assert "$presence/c" not in {message.channel for message in await harness.stored("**")}

    async def test_list_has_the_position_from_which_its_events_follow(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        await apply(harness, Enter("c", "a"), Enter("c", "b"), Enter("c", "a"))
        found = await harness.backend.presence.members("c", "", 1)
        assert [member._replace(since=0) for member in found.page.members] == [MemberInfo("a", 0, 2, b"null")]
        assert (found.page.total, found.page.next) == (2, "a")
        assert await harness.backend.presence.count("c") == 2
        await apply(harness, Enter("c", "c"), Leave("c", "b", "client", is_final=True))
        later, gaps = await harness.replay_since("$presence/c", found.position)
        assert [(json.loads(each.data)["action"], json.loads(each.data)["id"]) for each in later] == [
            ("enter", "c"),
            ("leave", "b"),
        ]
        assert gaps == []
        member = await harness.backend.presence.find("c", "a")
        assert member is not None
        assert member.connections == 2
        assert await harness.backend.presence.find("c", "b") is None

    async def test_lost_connection_leaves_after_the_grace(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        await apply(harness, Enter("c", "a"), Enter("c", "b"))
        lost = [Leave("c", id, "timeout", is_final=False) for id in "ab"]
        await apply(harness, *lost)
        await harness.wait(GRACE / 2)
        await apply(harness, Enter("c", "a"))
        await harness.wait(GRACE)
        assert await words(harness) == ["enter a", "enter b", "leave b"]
        assert await listed(harness) == {"a": None}

    async def test_lease_lasts_until_its_time(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        await apply(harness, Renew("c", "a", 30, b"1", lag=5), Renew("c", "b", 30))
        await harness.wait(20)
        await apply(harness, Renew("c", "a", 30))
        await harness.wait(20)
        assert await listed(harness) == {"a": 1}
        seen = await harness.backend.presence.seen("c", "a")
        assert seen is not None
        assert (seen.is_online, seen.lag) == (True, 5)
        await apply(harness, EndLease("c", "a"))
        assert await words(harness) == ["enter a", "enter b", "leave b", "leave a"]
        seen = await harness.backend.presence.seen("c", "a")
        assert seen is not None
        assert (seen.is_online, seen.lag) == (False, 5)
        assert await harness.backend.presence.seen("c", "nobody") is None
        with pytest.raises(UnknownMember):
            await apply(harness, EndLease("c", "a"))

    async def test_many_changes_are_a_diff(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        await apply(harness, *[Enter("c", f"{number:03}", b"%d" % number) for number in range(100)])
        await apply(harness, Leave("c", "000", "client", is_final=True), Update("c", "001", b"7"))
        assert len(await listed(harness)) == 99
        await harness.wait(1)
        found = await events(harness)
        assert [event["action"] for event in found] == ["enter"] * 20 + ["diff"]
        diff = found[-1]
        assert [len(diff[name]) for name in ("enter", "update", "leave")] == [80, 1, 1]
        assert set(diff["enter"][0]) == {"id", "since", "connections", "meta"}
        assert replay(found) == await listed(harness)

    async def test_events_have_bounds_of_their_own(self, start: Start) -> None:
        harness = await self.start_with_members(start, messages=2, total_bytes=2000, channels=3)
        kept = [await harness.publish(channel) for channel in "xyz"]
        for number in range(10):
            await apply(harness, Enter(f"c{number}", "a"), Leave(f"c{number}", "a", "client", is_final=True))
        usage = await harness.backend.usage()
        assert usage.channels == 3
        assert [each.id for each in await harness.stored("**")] == [each.id for each in kept]
        assert len(await harness.stored("$presence/**")) == 20
        await harness.publish("x")
        await harness.publish("x")
        assert len(await harness.stored("$presence/**")) == 20

    async def test_members_are_limited(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        harness.backend.presence.reconfigure(GRACE, 2)
        await apply(harness, Enter("c", "a"), Enter("c", "b"))
        await harness.wait(0.5)
        with pytest.raises(TooManyMembers):
            await apply(harness, Enter("c", "c"))
        await apply(harness, Enter("c", "a"))
        assert await words(harness) == ["enter a", "enter b"]

    async def test_channel_name_may_be_of_any_length(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        channel = "x" * 255
        await apply(harness, Enter(channel, "a"))
        assert await words(harness, channel) == ["enter a"]

    async def test_usage_counts_members(self, start: Start) -> None:
        harness = await self.start_with_members(start)
        await apply(harness, Enter("c", "a"), Enter("c", "b"), Enter("d", "a"))
        await apply(harness, Leave("c", "b", "client", is_final=True))
        await harness.publish("flush")
        await harness.wait(0.5)
        usage = harness.backend.presence.usage
        assert usage is not None
        assert usage[:3] == (2, 2, 1)
        assert {action: number for action, number in usage.events.items() if number} == {"enter": 3, "leave": 1}
