"""Publishing: repeats with an idempotency key."""

from collections.abc import Sequence

import pytest

from pushd.core.errors import Refusal, StorageFailed
from pushd.core.message import Draft, draft
from pushd.hub.publishing import Receipt
from tests.hub.hub_fixture import HubFixture


async def test_a_repeat_is_published_only_if_all_messages_should_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = await HubFixture().start()

    async def refuse(drafts: Sequence[Draft], key: str | None = None) -> list[Refusal]:
        return [StorageFailed("full") for _ in drafts]

    drafts = [draft("a", b"x"), draft("b", b"x")]
    with monkeypatch.context() as patch:
        patch.setattr(fixture.backend, "publish", refuse)
        assert {type(each) for each in await fixture.hub.publish_all(drafts, "key")} == {StorageFailed}
    first = await fixture.hub.publish_all(drafts, "key")
    assert [each.id for each in first if isinstance(each, Receipt)] == ["E-1", "E-2"]
    assert await fixture.hub.publish_all(drafts, "key") is first
