"""Publishing: repeats with an idempotency key, and the sender."""

from collections.abc import Sequence

import pytest

from pushd.core.cursor import EVERYTHING
from pushd.core.errors import IdempotencyMismatch, NotGranted, Refusal, StorageFailed
from pushd.core.grant import Grant
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, draft
from pushd.core.peer import DAEMON, Peer
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
    assert (await fixture.hub.queries.status(DAEMON, "a")).info.messages == 1


async def test_messages_have_the_subject_of_an_authenticated_publisher() -> None:
    fixture = await HubFixture().start()
    alice = Peer("http", "::1", Grant.parse({"publish": ["a"]}, "alice", where="grant"))
    receipts = [await fixture.hub.publish(peer, draft("a", b"x")) for peer in (DAEMON, alice)]
    mixed: list[Draft | Refusal] = [draft("a", b"x"), StorageFailed("full"), draft("b", b"x")]
    first, *refused = await fixture.hub.publish_all(alice, mixed)
    assert isinstance(first, Receipt)
    assert [type(each) for each in refused] == [StorageFailed, NotGranted]
    recalled = await fixture.hub.queries.history(DAEMON, ("a",), EVERYTHING, 10, 1 << 20)
    assert [each.id for each in recalled.messages] == [each.id for each in (*receipts, first)]
    assert [each.sender for each in recalled.messages] == [None, "alice", "alice"]
