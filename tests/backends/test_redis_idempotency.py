"""No publish becomes two messages, and what Redis remembers for that is bounded."""

from collections.abc import Awaitable, Callable
from hashlib import sha1
from typing import Any

import pytest

from pushd.backends.redis.scripts import PUBLISH, Script
from pushd.core.errors import OutcomeUnknown, RateLimited
from pushd.core.grant import Grant
from pushd.core.idempotency import IdempotencyKey
from pushd.core.identity import Identity
from pushd.core.message import draft
from pushd.core.peer import DAEMON, Peer
from pushd.hub.publishing import Receipt
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Awaitable[Node]]


def lose_reply(node: Node, meanwhile: Callable[[], object]) -> None:
    """Cut the connection for commands when the next reply arrives, which is then lost."""
    node.backend._heartbeat.stop()
    protocol: Any = node.backend._commands.link.protocol

    def received(reply: object) -> None:
        protocol.replyReceived = lambda reply: None
        meanwhile()
        protocol.transport.abortConnection()

    protocol.replyReceived = received


@pytest.mark.parametrize("key", [None, IdempotencyKey("key", b"digest")])
@pytest.mark.parametrize("is_flushed", [False, True])
async def test_a_publish_whose_reply_is_lost_is_published_once(
    redis: RedisServer, node: Start, key: IdempotencyKey | None, *, is_flushed: bool
) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await other.ear("a")]
    await one.publish("a", "before")
    await until(lambda: all(ear.texts == ["before"] for ear in ears), "the first message")
    lose_reply(one, lambda: redis.ask("FLUSHALL") if is_flushed else None)
    (result,) = await one.hub.publish_all(DAEMON, [draft("a", b"once")], key)
    if is_flushed:
        assert isinstance(result, OutcomeUnknown), result
        assert (result.code, result.status, result.retry_after) == ("outcome-unknown", 503, None)
    else:
        assert isinstance(result, Receipt), result
    await one.publish("a", "after")
    await until(lambda: all(ear.texts[-1] == "after" for ear in ears), "the last message")
    assert [ear.texts.count("once") for ear in ears] == [1, 1]


async def test_a_repeat_with_the_key_has_an_unknown_outcome_at_every_node(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await other.ear("a")]
    lose_reply(one, lambda: redis.ask("FLUSHALL"))
    for each in (one, one, other, other):
        (result,) = await each.hub.publish_all(DAEMON, [draft("a", b"once")], IdempotencyKey("key", b"digest"))
        assert isinstance(result, OutcomeUnknown)
    (result,) = await other.hub.publish_all(DAEMON, [draft("a", b"after")], IdempotencyKey("another", b"digest"))
    assert isinstance(result, Receipt)
    await until(lambda: all(ear.texts == ["once", "after"] for ear in ears), "each message once")


async def test_idempotency_keys_take_a_bounded_memory(
    redis: RedisServer, node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushd.backends.redis.publisher.PUBLISH", _with_bound(20_000))
    one, other = await node(redis.url), await node(redis.url)
    for number in range(100):
        await one.hub.publish_all(DAEMON, [draft("a", b"x")], IdempotencyKey.of(b"%d" % number, "a" * 16_000, b""))
    keys = redis.ask("KEYS", "pushd:i:*")
    assert 10 < len(keys) < 60
    assert max(map(len, keys)) < 80
    assert redis.ask("MEMORY", "USAGE", keys[0]) < 600
    first, last = [
        (await other.hub.publish_all(DAEMON, [draft("a", b"x")], IdempotencyKey.of(key, "a" * 16_000, b"")))[0]
        for key in (b"0", b"99")
    ]
    assert isinstance(first, Receipt) and isinstance(last, Receipt)
    assert (first.id.rpartition("-")[2], last.id.rpartition("-")[2]) == ("101", "100"), "the oldest is forgotten first"


def _with_bound(size: int) -> Script:
    """Return the script that publishes, with another bound of idempotency keys."""
    source = PUBLISH.source.replace(
        b"KEY_BYTES, KEY_OVERHEAD = 32 * 1024 * 1024", b"KEY_BYTES, KEY_OVERHEAD = %d" % size
    )
    assert source != PUBLISH.source
    return Script("publish", source, sha1(source, usedforsecurity=False).hexdigest().encode("ascii"))


async def test_a_repeat_at_another_node_costs_the_publisher_nothing(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    grant = Grant.parse(
        {"publish": ["a"], "quota": {"messages_per_second": 1, "bytes_per_second": 1}}, "alice", where="t"
    )
    peer, key = Peer("tcp", "192.0.2.1", grant, Identity("alice", grant, "shop")), IdempotencyKey("key", b"digest")
    first = await one.hub.publish_all(peer, [draft("a", b"x")] * 9, key, as_whole=True)
    again = await other.hub.publish_all(peer, [draft("a", b"x")] * 9, key, as_whole=True)
    ids = [[each.id for each in receipts if isinstance(each, Receipt)] for receipts in (first, again)]
    assert ids[0] == ids[1] and len(ids[0]) == 9
    await other.hub.publish_all(peer, [draft("a", b"x")] * 10, as_whole=True)
    with pytest.raises(RateLimited):
        await one.hub.publish_all(peer, [draft("a", b"x")] * 10, as_whole=True)
