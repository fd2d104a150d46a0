"""Publishing: repeats with an idempotency key."""

from collections.abc import Sequence

import pytest

from pushd.core.errors import IdempotencyMismatch, Refusal, StorageFailed
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, draft
from pushd.core.peer import DAEMON
from pushd.hub.publishing import Receipt
from tests.hub.hub_fixture import HubFixture

KEY = IdempotencyKey("key", b"digest")


async def test_a_repeat_is_published_only_if_all_messages_should_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = await HubFixture().start()

    async def refuse(drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> list[Refusal]:
        return [StorageFailed("full") for _ in drafts]

    drafts = [draft("a", b"x"), draft("b", b"x")]
    with monkeypatch.context() as patch:
        patch.setattr(fixture.backend, "publish", refuse)
        assert {type(each) for each in await fixture.hub.publish_all(DAEMON, drafts, KEY)} == {StorageFailed}
    first = await fixture.hub.publish_all(DAEMON, drafts, KEY)
    assert [each.id for each in first if isinstance(each, Receipt)] == ["E-1", "E-2"]
    assert await fixture.hub.publish_all(DAEMON, drafts, KEY) is first


async def test_a_key_with_another_digest_is_refused_and_publishes_nothing() -> None:
    fixture = await HubFixture().start()
    await fixture.hub.publish_all(DAEMON, [draft("a", b"x")], KEY)
    with pytest.raises(IdempotencyMismatch):
        await fixture.hub.publish_all(DAEMON, [draft("a", b"y")], KEY._replace(digest=b"other!"))
    assert (await fixture.hub.status(DAEMON, "a")).info.messages == 1
