"""The part of the backend contract about requests and replies, without other nodes."""

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from pushd.core.message import Message, draft
from tests.backends.backend_harness import BackendHarness

Start = Callable[..., Awaitable[BackendHarness]]
REPLY_TO = "$reply/" + "0" * 32


class RequestContract:
    """How a request is delivered, and that there is nobody else to ask."""

    async def test_request_is_delivered_with_the_channel_for_its_reply_and_not_kept(self, start: Start) -> None:
        harness = await start()
        request = structs.replace(draft("a", b"x"), keep=False, sender="s", reply_to=REPLY_TO)
        (accepted,) = await harness.backend.publish([request])
        assert isinstance(accepted, Message)
        (delivered,) = harness.delivered
        for message in (accepted, delivered):
            assert (message.reply_to, message.sender, message.is_kept) == (REPLY_TO, "s", False)
        assert await harness.stored() == []

    async def test_message_that_is_no_request_has_no_channel_for_a_reply(self, start: Start) -> None:
        harness = await start()
        await harness.publish("a")
        assert [message.reply_to for message in harness.delivered] == [None]

    async def test_responders_of_other_nodes_are_not_found_without_any(self, start: Start) -> None:
        harness, found = await start(), list[str]()
        await harness.backend.seek_responders("a", 10, lambda node, mark: found.append(node))
        assert found == []
        harness.backend.report_responders("0" * 12, "a", 5)

    @pytest.mark.parametrize("node", ["", "0" * 12, "x"])
    async def test_request_of_no_node_is_not_found(self, start: Start, node: str) -> None:
        backend = (await start()).backend
        for token in ("0" * 32 + node, "0" * 32 + backend.node):
            assert await backend.request_channel(token) is None
            assert not await backend.reply(token, draft(f"$reply/{token}", b"x"))
