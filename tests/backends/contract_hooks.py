"""The part of the backend contract about the outbox of hooks."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from pushd.backends.hook_outbox import NO_BACKLOG, HookBounds, HookEvent, HookOutbox, PublishHook, QueuedEvent
from pushd.core.channel_rules import DEAD_RULE
from pushd.core.errors import TooManyChannels
from pushd.core.message import BINARY, Message, draft
from pushd.core.names import matches
from pushd.core.presence import EndLease, Renew
from tests.backends.backend_harness import ALL, BackendHarness, ids

Start = Callable[..., Awaitable[BackendHarness]]
SIMPLE, FULL = PublishHook("simple", False), PublishHook("full", True)


class HooksByPattern:
    """The hooks of publishes by the pattern of their channels."""

    def __init__(self, hooks: Mapping[str, Sequence[PublishHook]]) -> None:
        self._hooks = hooks

    def hooks_of(self, channel: str) -> Sequence[PublishHook]:
        """See `PublishHooks`."""
        return [hook for pattern, hooks in self._hooks.items() if matches(pattern, channel) for hook in hooks]

    def of_members(self) -> Sequence[str]:
        """See `PublishHooks`."""
        return [
            hook.name for pattern, hooks in self._hooks.items() if pattern.startswith("$presence/") for hook in hooks
        ]


class Outbox:
    """The outbox of a backend, with the hooks that `on_added` was called with."""

    def __init__(self, outbox: HookOutbox) -> None:
        self.outbox = outbox
        self.added: list[str] = []

    def configure(
        self, publish: Mapping[str, Sequence[PublishHook]] | None = None, bounds: HookBounds | None = None
    ) -> "Outbox":
        """Configure the hooks ``simple`` and ``full``."""
        hooks = None if publish is None else HooksByPattern(publish)
        each = bounds or HookBounds()
        self.outbox.reconfigure({"simple": each, "full": each}, hooks, self.added.append)
        return self

    async def add(self, *words: str, hook: str = "simple") -> None:
        """Add one event for each word, ``CHANNEL:VALUE``."""
        await self.outbox.add([HookEvent(hook, word.partition(":")[0], json.dumps(word).encode()) for word in words])

    async def queued(self, hook: str = "simple", count: int = 1000, size: int = ALL) -> Sequence[QueuedEvent]:
        """Return the oldest events."""
        return await self.outbox.first(hook, count, size)

    async def words(self, hook: str = "simple") -> list[Any]:
        """Return the decoded bodies of all events."""
        return [json.loads(event.body) for event in await self.queued(hook)]


async def dead(harness: BackendHarness, hook: str = "simple") -> list[tuple[str, Any]]:
    """Return the reasons and events of the dead letters of a hook, which were delivered, too."""
    stored = await harness.stored(f"$hooks/dead/{hook}")
    delivered = [message for message in harness.delivered if message.channel == f"$hooks/dead/{hook}"]
    assert ids(stored) == ids(delivered)[len(delivered) - len(stored) :]
    assert {message.content_type for message in stored} <= {"application/json"}
    bodies = [json.loads(message.data) for message in stored]
    return [(body["reason"], body["event"]) for body in bodies]


class HooksContract:
    """How events of hooks are kept, and when they are not."""

    async def test_events_stay_in_order_until_they_are_confirmed(self, start: Start) -> None:
        box = Outbox((await start()).backend.hooks).configure()
        assert await box.queued() == () or await box.queued() == []
        await box.add("a:1", "b:2")
        await box.add("a:3")
        await box.add("c:4", hook="full")
        events = await box.queued()
        assert [(event.channel, json.loads(event.body)) for event in events] == [
            ("a", "a:1"),
            ("b", "b:2"),
            ("a", "a:3"),
        ]
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        assert await box.words("full") == ["c:4"]
        assert box.added[0] == "simple"
        assert set(box.added) == {"simple", "full"}
        for _ in range(2):
            await box.outbox.confirm("simple", numbers[1])
            assert await box.words() == ["a:3"]
        await box.outbox.confirm("simple", numbers[2])
        await box.add("a:5")
        (last,) = await box.queued()
        assert last.number > numbers[2]
        await box.outbox.confirm("simple", numbers[2])
        assert await box.words() == ["a:5"]

    async def test_first_events_are_limited_by_count_and_bytes(self, start: Start) -> None:
        box = Outbox((await start()).backend.hooks).configure()
        await box.add("a:1", "a:2", "a:3", "a:4")
        assert len(await box.queued(count=3)) == 3
        assert len(await box.queued(size=6)) == 2
        assert len(await box.queued(size=1)) == 1

    async def test_backlog_counts_events(self, start: Start) -> None:
        harness = await start()
        box = Outbox(harness.backend.hooks).configure()
        assert await box.outbox.backlog("simple") == NO_BACKLOG
        await box.add("a:1", "a:2")
        await box.add("a:1", hook="other")
        first = (await box.queued())[0]
        backlog = await box.outbox.backlog("simple")
        assert (backlog.events, backlog.dead) == (2, 0)
        assert backlog.oldest == pytest.approx(first.time, abs=0.002)
        assert backlog.bytes > 2 * 200
        assert await box.outbox.names() == ["other", "simple"]
        await box.outbox.confirm("simple", first.number + 1)
        assert (await box.outbox.backlog("simple"))[:3] == (0, 0, None)
        assert await box.outbox.names() == ["other"]

    async def test_accepted_messages_have_events_of_their_publish(self, start: Start) -> None:
        harness = await start()
        box = Outbox(harness.backend.hooks).configure({"a/*": [SIMPLE, FULL], "b": [FULL]})
        one = await harness.publish("a/1", b'{"x":\n"\xc3\xa9"}', content_type="application/json", event="e")
        two = await harness.publish("b", b"\xff", content_type=BINARY)
        await harness.publish("c")
        three = await harness.publish("a/2", end=True)
        assert await box.words() == [
            {
                "id": f"{message.id}-simple",
                "type": "publish",
                "channel": message.channel,
                "time": message.time,
                "message": {"id": message.id},
            }
            for message in (one, three)
        ]
        full = await box.words("full")
        assert [event["id"] for event in full] == [f"{message.id}-full" for message in (one, two, three)]
        content = full[0]["message"]
        assert (content["id"], content["data"], content["event"]) == (one.id, {"x": "é"}, "e")
        assert full[1]["message"]["data_base64"] == "/w=="
        queued = await box.queued("full")
        assert [event.time for event in queued] == pytest.approx([one.time, two.time, three.time], abs=0.002)
        assert [event.channel for event in queued] == ["a/1", "b", "a/2"]
        assert box.added.count("full") >= 1

    async def test_events_of_publishes_and_others_are_in_the_order_in_which_they_were_added(self, start: Start) -> None:
        harness = await start()
        box = Outbox(harness.backend.hooks).configure({"a": [SIMPLE]})
        await box.add("a:1")
        await harness.publish("a")
        await box.add("a:2")
        words = await box.words()
        assert (words[0], words[1]["type"], words[2]) == ("a:1", "publish", "a:2")

    async def test_other_messages_have_no_event(self, start: Start) -> None:
        harness = await start(channels=1)
        box = Outbox(harness.backend.hooks).configure({"**": [SIMPLE], "$sys/*": [SIMPLE], "$hooks/dead/*": [SIMPLE]})
        message = await harness.publish("a")
        await harness.publish("a", keep=False)
        await harness.publish("$hooks/dead/x")
        (refused,) = await harness.publish_all(draft("b", b"x"))
        assert isinstance(refused, TooManyChannels)
        assert [event["message"]["id"] for event in await box.words()] == [message.id]

    async def test_events_of_members_are_those_of_their_channel(self, start: Start) -> None:
        harness = await start()
        box = Outbox(harness.backend.hooks).configure({"$presence/**": [FULL], "a": [SIMPLE]})
        await harness.backend.presence.apply([Renew("a", "alice", 60.0, b'{"x":1}')])
        await harness.backend.presence.apply([EndLease("a", "alice")])
        events = await box.queued("full")
        assert [event.channel for event in events] == ["$presence/a"] * 2
        bodies = [json.loads(event.body) for event in events]
        facts = [(body["message"]["data"]["action"], body["message"]["data"]["id"]) for body in bodies]
        assert facts == [("enter", "alice"), ("leave", "alice")]
        assert [body["id"] for body in bodies] == [f"{id}-full" for id in ids(await harness.stored("$presence/a"))]
        assert await box.words() == []
        assert "full" in box.added

    async def test_hooks_of_publishes_change_with_the_configuration(self, start: Start) -> None:
        harness = await start()
        box = Outbox(harness.backend.hooks)
        await harness.publish("a")
        box.configure({"a": [SIMPLE]})
        message = await harness.publish("a")
        box.configure()
        await harness.publish("a")
        assert [event["message"]["id"] for event in await box.words()] == [message.id]

    async def test_oldest_events_beyond_the_bounds_become_dead_letters(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure({"p": [SIMPLE]}, HookBounds(events=2))
        await box.add("a:1", "a:2", "a:3")
        message = await harness.publish("p")
        assert [event if isinstance(event, str) else event["type"] for event in await box.words()] == ["a:3", "publish"]
        assert await dead(harness) == [("backlog", "a:1"), ("backlog", "a:2")]
        assert (await box.outbox.backlog("simple")).dead == 2
        assert message.id in ids(harness.delivered)

    async def test_bytes_are_bounded(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure({"p": [FULL]}, HookBounds(bytes=2000))
        first = await harness.publish("p", b"x" * 1200)
        second = await harness.publish("p", b"x" * 1200)
        assert [event["message"]["id"] for event in await box.words("full")] == [second.id]
        ((reason, event),) = await dead(harness, "full")
        assert (reason, event["id"], event["message"]["data"]) == ("backlog", f"{first.id}-full", "x" * 1200)
        await box.outbox.confirm("full", (await box.queued("full"))[0].number)
        assert (await box.outbox.backlog("full"))[:2] == (0, 0)

    async def test_lowered_bounds_hold_in_the_end(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure()
        await box.add(*[f"a:{number}" for number in range(40)])
        box.configure(bounds=HookBounds(events=3))
        for number in range(40, 46):
            await box.add(f"a:{number}")
        assert await box.words() == ["a:43", "a:44", "a:45"]
        assert [event for _, event in await dead(harness)] == [f"a:{number}" for number in range(43)]

    async def test_old_events_become_dead_letters(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure(bounds=HookBounds(age=100.0))
        await box.add("a:1", "a:2")
        await harness.wait(110.0)
        await box.add("a:3")
        assert await box.words() == ["a:3"]
        assert await dead(harness) == [("age", "a:1"), ("age", "a:2")]

    async def test_events_become_dead_letters(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure()
        await box.add("a:1", "a:2", "a:3")
        number = (await box.queued())[1].number
        for _ in range(2):
            await box.outbox.dead_letter("simple", number, "410 Gone")
            assert await box.words() == ["a:3"]
            assert await dead(harness) == [("410 Gone", "a:1"), ("410 Gone", "a:2")]
        await box.outbox.dead_letter("unknown", number, "x")
        assert (await box.outbox.backlog("simple")).dead == 2

    async def test_many_events_become_dead_letters(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure()
        await box.add(*[f"a:{number}" for number in range(1500)])
        await box.outbox.dead_letter("simple", (await box.queued(count=1400))[-1].number, "off")
        assert [int(word[2:]) for word in await box.words()] == list(range(1400, 1500))
        assert [int(event[2:]) for _, event in await dead(harness)] == list(range(1400))

    async def test_dead_letters_and_other_messages_evict_nothing_of_each_other(self, start: Start) -> None:
        harness = await start(DEAD_RULE, channels=1, total_bytes=2000)
        box = Outbox(harness.backend.hooks).configure()
        kept = await harness.publish("a")
        await box.add(*["a:" + "x" * 1000] * 5)
        await box.outbox.dead_letter("simple", (await box.queued())[-1].number, "x")
        usage = await harness.backend.usage()
        assert usage.channels == 1
        for _ in range(10):
            kept = await harness.publish("a", b"x" * 500)
        assert len(await dead(harness)) == 5
        assert (await harness.stored("a"))[-1].id == kept.id
        assert await harness.bytes() <= 2000

    async def test_dead_letters_have_an_age_of_their_own(self, start: Start) -> None:
        harness = await start(DEAD_RULE, age=100.0)
        box = Outbox(harness.backend.hooks).configure()
        await box.add("a:1")
        await box.outbox.dead_letter("simple", (await box.queued())[0].number, "x")
        message = await harness.publish("a")
        await harness.wait(120.0)
        assert message.id not in ids(await harness.stored("a"))
        assert await dead(harness) == [("x", "a:1")]

    async def test_a_node_is_the_sender(self, start: Start) -> None:
        box = Outbox((await start()).backend.hooks).configure()
        assert await box.outbox.acquire("simple")
        assert await box.outbox.acquire("simple")
        box.outbox.release("simple")
        assert await box.outbox.acquire("simple")

    async def test_dead_letters_are_messages(self, start: Start) -> None:
        harness = await start(DEAD_RULE)
        box = Outbox(harness.backend.hooks).configure()
        await box.add("a:1")
        await box.outbox.dead_letter("simple", (await box.queued())[0].number, "x")
        (message,) = await harness.stored("$hooks/**")
        assert isinstance(message, Message)
        assert message.encoding == "json"
        assert await harness.backend.delete("$hooks/dead/simple")
        assert await harness.stored("$hooks/**") == []
