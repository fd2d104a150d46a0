"""The part of the backend contract about ephemeral messages."""

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.cursor import EVERYTHING, NOW, Last
from pushd.core.message import Message, draft
from tests.backends.backend_harness import BackendHarness, cursor, ids

Start = Callable[..., Awaitable[BackendHarness]]


class EphemeralContract:
    """Messages that are delivered and never kept."""

    async def test_ephemeral_message_has_the_fields_of_the_draft(self, start: Start) -> None:
        harness = await start()
        sent = structs.replace(draft("a/b", b"{}", "application/json", "typing", keep=False), sender="alice")
        (accepted,) = await harness.publish_all(sent)
        assert isinstance(accepted, Message)
        (delivered,) = harness.delivered
        for message in (accepted, delivered):
            assert (message.channel, message.data, message.content_type) == ("a/b", b"{}", "application/json")
            assert (message.encoding, message.event, message.sender) == ("json", "typing", "alice")
            assert (message.is_kept, message.is_local, message.end, message.prev) == (False, False, False, None)
            assert message.time == round(message.time, 3) > 0
            assert message.seq == 0

    async def test_ephemeral_message_changes_nothing(self, start: Start) -> None:
        harness = await start(channels=1)
        kept = await harness.publish("a")
        before = await harness.backend.usage(), await harness.info("a"), await harness.open("a", NOW)
        for channel in ("a", "b", "c"):
            assert not (await harness.publish(channel, keep=False)).is_kept
        after = await harness.backend.usage(), await harness.info("a"), await harness.open("a", NOW)
        assert after[1:] == before[1:]
        assert after[0][:3] == before[0][:3]
        assert await harness.backend.info("b") is None
        assert await harness.backend.names("", "", 10) == ["a"]
        assert ids(await harness.stored()) == [kept.id]
        assert ids((await harness.replay_since("**", Last(5)))[0]) == [kept.id]
        assert await harness.replay_since("**", cursor(kept)) == ([], [])
        following = await harness.publish("a")
        assert (following.seq, following.prev) == (kept.seq + 1, kept.id)

    async def test_ephemeral_message_of_a_publish_is_delivered_at_its_place(self, start: Start) -> None:
        harness = await start()
        drafts = [draft("ab"[number % 2], b"%d" % number, keep=number % 3 == 0) for number in range(20)]
        accepted = await harness.publish_all(*drafts)
        assert [each.data for each in harness.delivered] == [each.data for each in drafts]
        orders = [(each.seq, not each.is_kept) for each in harness.delivered]
        assert orders == sorted(orders)
        assert [(each.seq, each.is_kept) for each in accepted if isinstance(each, Message)] == [
            (each.seq, each.is_kept) for each in harness.delivered
        ]
        assert [each.data for each in await harness.stored()] == [each.data for each in drafts if each.keep]

    async def test_concurrent_publishes_are_delivered_in_order(self, start: Start) -> None:
        harness = await start()
        publishes = [harness.publish("ab"[number % 2], b"%d" % number, keep=number % 5 < 2) for number in range(200)]
        await gatherResults([Deferred.fromCoroutine(each) for each in publishes])
        assert [each.data for each in harness.delivered] == [b"%d" % number for number in range(200)]

    @pytest.mark.parametrize("is_deleted", [False, True])
    async def test_ephemeral_message_does_not_reopen_a_channel(self, start: Start, *, is_deleted: bool) -> None:
        harness = await start()
        kept = await harness.publish("a", end=True)
        if is_deleted:
            await harness.backend.delete("a")
        await harness.publish("a", keep=False)
        if is_deleted:
            assert await harness.backend.info("a") is None
        else:
            assert (await harness.info("a")).ended
        assert (await harness.open("a", cursor(kept))).is_complete or is_deleted
        assert ids(await harness.stored("a", EVERYTHING)) == ([] if is_deleted else [kept.id])
