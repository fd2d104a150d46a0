"""A connection at another node that is excluded by its publisher does not receive the message, and no other one."""

import json
from collections.abc import Awaitable, Callable

import pytest

from pushd.core.cursor import MessageId
from pushd.core.grant import FULL
from pushd.core.identity import Identity
from pushd.core.message import Exclusion, draft
from pushd.core.peer import Peer
from tests.backends.nodes import Ear, Node, settled
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Awaitable[Node]]
IDENTITIES = {
    "nobody": None,
    "alice": Identity("alice", FULL, "token:phone"),
    "alice again": Identity("alice", FULL, "token:laptop"),
    "bob": Identity("bob", FULL, "token:phone"),
    "alice of another issuer": Identity("alice", FULL, "partner"),
    "no subject": Identity(None, FULL, "token:phone"),
    "no subject either": Identity(None, FULL, "token:laptop"),
}
SAME = {("alice", "alice again"), ("alice again", "alice"), *((name, name) for name in IDENTITIES)}


async def publish(node: Node, ear: Ear, text: str, identity: Identity | None = None, *, keep: bool = True) -> int:
    """Publish to all but an ear; return the number of subscribers at the node."""
    peer = Peer("http", "::1", FULL, identity)
    exclude = Exclusion(ear.subscriber.peer.id)
    return (await node.hub.publish(peer, draft("a", text.encode(), exclude=exclude, keep=keep))).subscribers


@pytest.mark.parametrize("keep", [False, True])
async def test_it_reaches_all_but_the_connection(redis: RedisServer, node: Start, *, keep: bool) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a", "*"), await other.ear("a")]
    assert await publish(other, ears[0], "first", keep=keep) == 1
    assert await publish(one, ears[0], "second", keep=keep) == 1
    assert await publish(one, ears[2], "third", keep=keep) == 2
    await settled(ears, [one])
    texts = [[text for text in ear.all_texts if not text.startswith("last")] for ear in ears]
    assert texts == [["third"], ["first", "second", "third"], ["first", "second"]]
    assert all(ear.gaps == [] for ear in ears)


@pytest.mark.parametrize("publisher", IDENTITIES)
async def test_the_other_node_checks_whose_connection_it_is(redis: RedisServer, node: Start, publisher: str) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = {name: await one.ear("a") for name in IDENTITIES}
    for name, ear in ears.items():
        ear.subscriber.peer.identity = IDENTITIES[name]
        await publish(other, ear, name, IDENTITIES[publisher])
    await settled(list(ears.values()), [other])
    for name, ear in ears.items():
        assert (name not in ear.all_texts) == ((publisher, name) in SAME), name


async def test_it_is_not_stored(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    before = await other.publish("a", "before")
    await publish(other, ear, "excluded")
    await settled([ear], [other])
    assert "excluded" not in ear.texts
    epoch, _, seq = before.id.rpartition("-")
    again = await one.ear("a", since=MessageId(epoch, int(seq)))
    assert again.texts[0] == "excluded"
    id = ear.subscriber.peer.id.encode()
    keys = redis.ask("KEYS", "*")
    assert keys
    for key in keys:
        if redis.ask("TYPE", key) == b"stream":
            assert id not in json.dumps(redis.ask("XRANGE", key, "-", "+"), default=repr).encode()


async def test_a_node_that_missed_it_reads_it_from_the_history(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a")]
    one.backend._feed_link.drop("test")
    await publish(other, ears[0], "excluded")
    await one.until_well()
    await settled(ears, [other])
    assert ears[1].texts[0] == "excluded"
    assert all(ear.gaps == [] for ear in ears)
    await publish(other, ears[0], "again")
    await until(lambda: "again" in ears[1].texts, "the next one")
    assert "again" not in ears[0].texts
