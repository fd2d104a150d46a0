"""Revocations over nodes: known to all at once, and restored after Redis has lost them, whoever is away meanwhile."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from pushd.backends.redis import kicks
from pushd.core.errors import Kicked, TokenRevoked, Unavailable
from pushd.core.grant import FULL
from pushd.core.identity import Identity
from pushd.core.peer import DAEMON
from pushd.core.revocations import Key, Revocation
from tests.backends.nodes import Ear, Node
from tests.backends.redis_server import RedisServer, until
from tests.backends.sentinels import Watched

Start = Callable[..., Awaitable[Node]]

ALICE: Key = ("sub", "alice")
BOB: Key = ("sub", "bob")
FORGED = (
    b"revoked ",
    b"revoked a b c\n[]",
    b"revoked a b\n[]",
    b"revoked a b\n[1]",
    b"revoked s x\n[]",
    b'revoked s x\n["sub:carol","stamp","sub:\\u2028"]',
    b"revoked \xff \xff\n",
    b"kick ",
    b"kick x",
    b"kick \xff\nalice",
    b"closed ",
    b"closed x",
    b"closed x y z",
    b"closed x y -1",
    b"closed \xff y 1",
)


def keys_of(node: Node) -> set[Key]:
    """Return what is revoked at a node."""
    return {each.key for each in node.hub.revocations.known()}


def stored(redis: RedisServer) -> set[bytes]:
    """Return what is revoked in Redis."""
    return set(redis.ask("HKEYS", "pushd:revocations")) - {b"stamp"}


async def revoke(node: Node, key: Key = ALICE, **rest: Any) -> Revocation:
    """Revoke at a node."""
    return await node.hub.revocations.revoke(DAEMON, key, **rest)


async def all_know(nodes: list[Node], *keys: Key, seconds: float = 15.0) -> None:
    """Wait until all nodes know some revocations, and no others."""
    await until(
        lambda: all(keys_of(each) == set(keys) for each in nodes),
        lambda: str([keys_of(each) for each in nodes]),
        seconds,
    )


def connect(node: Node, subject: str = "alice") -> Ear:
    """Connect an authenticated subscriber."""
    ear = Ear(node.hub, ())
    ear.subscriber.peer.identity = Identity(subject, FULL, "issuer", issued_at=time.time() - 60)
    return ear


@pytest_twisted.async_yield_fixture
async def three(redis: RedisServer, node: Start) -> AsyncIterator[list[Node]]:
    """Three nodes."""
    yield [await node(redis.url) for _ in range(3)]


async def test_connections_are_closed_at_all_nodes(three: list[Node]) -> None:
    revoked, others = [connect(each) for each in three], [connect(each, "bob") for each in three]
    await revoke(three[0])
    await until(lambda: all(ear.given_up for ear in revoked), "closed")
    assert {type(ear.given_up) for ear in revoked} == {TokenRevoked}
    assert [ear.given_up for ear in others] == [None] * 3
    await all_know(three, ALICE)


async def test_subject_is_kicked_at_all_nodes(three: list[Node]) -> None:
    kicked, others = [connect(three[at]) for at in (0, 1, 1, 2, 2, 2)], [connect(each, "bob") for each in three]
    assert await three[1].hub.kicks.kick_subject(DAEMON, "alice") == (6, 0)
    assert await three[0].hub.kicks.kick_subject(DAEMON, "alice") == (0, 0)
    await until(lambda: all(ear.given_up for ear in kicked), "closed")
    assert {type(ear.given_up) for ear in kicked} == {Kicked}
    assert [ear.given_up for ear in others] == [None] * 3


async def test_kick_does_not_wait_long_for_a_node_that_does_not_reply(
    three: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kicks, "_TIMEOUT_SECONDS", 2.0)
    kicked = [connect(each) for each in three]
    never: Deferred[int] = Deferred()
    three[2].backend._kicks._on_kick = lambda subject: never
    assert await three[0].hub.kicks.kick_subject(DAEMON, "alice") == (2, 1)
    never.callback(1)  # its reply comes too late
    assert [bool(ear.given_up) for ear in kicked] == [True, True, False]
    assert not three[0].backend._kicks._kicks


async def test_kick_without_redis_closes_the_connections_of_its_node(
    node: Start, own_redis: Callable[..., RedisServer]
) -> None:
    server = own_redis()
    one = await node(server.url, publish_timeout=1.0)
    kicked = connect(one)
    server.kill()
    with pytest.raises(Unavailable):
        await one.hub.kicks.kick_subject(DAEMON, "alice")
    assert type(kicked.given_up) is Kicked


async def test_new_node_knows_the_revocations_before_it_accepts_tokens(redis: RedisServer, node: Start) -> None:
    one = Node(redis.url)
    assert one.hub.revocations.is_blind
    await revoke(await node(redis.url), reason="é: x")
    other = await node(redis.url)
    assert not other.hub.revocations.is_blind
    assert [(each.key, each.reason) for each in other.hub.revocations.known()] == [(ALICE, "é: x")]


async def test_concurrent_revocations_of_one_key_are_merged_alike(three: list[Node], redis: RedisServer) -> None:
    now = int(time.time())
    await gatherResults(
        [
            Deferred.fromCoroutine(revoke(each, before=now - number, reason=str(number)))
            for number, each in enumerate(three)
        ]
    )
    await until(lambda: len({tuple(each.hub.revocations.known()) for each in three}) == 1, "agreement")
    (kept,) = three[0].hub.revocations.known()
    assert kept.before == now
    (value,) = (redis.ask("HGET", "pushd:revocations", name) for name in stored(redis))
    assert value.decode() == f"{kept.before} {kept.until} {kept.created} {kept.reason}"


async def test_flushed_redis_gets_them_back_from_two_nodes_at_once(
    redis: RedisServer, three: list[Node], node: Start
) -> None:
    for number in range(500):
        await revoke(three[0], ("jti", str(number)))
    await until(lambda: all(len(keys_of(each)) == 500 for each in three), "500 revocations")
    redis.ask("FLUSHALL")
    await until(lambda: len(stored(redis)) == 500, "restored")
    late = await node(redis.url)
    assert len(keys_of(late)) == 500
    await revoke(late)
    await until(lambda: all(ALICE in keys_of(each) for each in three), "the next one")


async def test_revocations_expire_in_redis(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    one.hub.revocations.reconfigure(1.0, 30.0)
    await revoke(one)
    assert 0 < redis.ask("PTTL", "pushd:revocations") <= 2000
    one.hub.revocations.reconfigure(3600.0, 30.0)
    await revoke(one, BOB)
    assert redis.ask("PTTL", "pushd:revocations") > 3_590_000
    await until(lambda: keys_of(one) == {BOB}, "expired")
    await node(redis.url)  # which reads them, and removes those that have expired
    assert stored(redis) == {b"sub:bob"}


async def test_what_others_write_under_the_prefix_is_ignored(redis: RedisServer, node: Start) -> None:
    redis.ask("HSET", "pushd:revocations", "role:x", "1 99999999999 1 ", "sub:y", "x", "sub:é", b"\xff", "stamp", "s")
    nodes = [await node(redis.url) for _ in range(2)]
    assert keys_of(nodes[0]) == set()
    for raw in FORGED:
        redis.ask("PUBLISH", "pushd:0:all", raw)
    await revoke(nodes[0])
    await all_know(nodes, ALICE)


async def test_notice_that_was_missed_is_made_up_for(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = connect(other)
    other.backend._revocations.handle_message = lambda raw: True  # type: ignore[method-assign]
    await revoke(one)
    await until(lambda: ear.given_up, "the revocation")


@pytest.mark.system
async def test_node_that_cannot_reach_redis_becomes_blind_and_recovers(tmp_path: Path, node: Start) -> None:
    server = RedisServer(tmp_path, "--appendonly", "yes").start()
    try:
        one, other = await node(server.url, publish_timeout=2.0), await node(server.url, publish_timeout=2.0)
        await revoke(one)
        await all_know([other], ALICE)
        server.kill()
        with pytest.raises(Unavailable):
            await revoke(one, BOB)
        assert keys_of(one) == {ALICE}
        other.hub.revocations.check_known()
        other.hub.revocations.reconfigure(3600.0, 2.5)
        await until(lambda: other.hub.revocations.is_blind, "blind")
        with pytest.raises(Unavailable, match="revocations"):
            other.hub.revocations.check_known()
        server.start()
        await until(lambda: not other.hub.revocations.is_blind, "not blind")
        other.hub.revocations.reconfigure(3600.0, 30.0)
        assert keys_of(other) == {ALICE}
        await one.until_well()
        await revoke(one, BOB)
        await all_know([one, other], ALICE, BOB)
    finally:
        server.kill()


@pytest.mark.system
async def test_redis_that_is_killed_without_its_data_gets_them_back(tmp_path: Path, node: Start) -> None:
    server = RedisServer(tmp_path, "--save", "").start()
    try:
        nodes = [await node(server.url) for _ in range(2)]
        await revoke(nodes[0])
        await all_know(nodes, ALICE)
        server.kill()
        server.start()
        await until(lambda: stored(server) == {b"sub:alice"}, "restored")
        late = await node(server.url)
        assert keys_of(late) == {ALICE}
    finally:
        server.kill()


@pytest.mark.system
async def test_new_master_gets_those_that_it_has_missed(tmp_path: Path, node: Start) -> None:
    watched = Watched(tmp_path)
    try:
        await watched.ready()
        nodes = [await node(watched.url) for _ in range(2)]
        await revoke(nodes[0])
        await all_know(nodes, ALICE)
        await until(lambda: stored(watched.replica) == {b"sub:alice"}, "replicated")
        watched.replica.ask("CONFIG", "SET", "replica-read-only", "no")
        watched.replica.ask("DEL", "pushd:revocations")  # as if it had lagged behind
        watched.master.kill()
        await watched.until_failed_over()
        for each in nodes:
            await each.until_well()
        await until(lambda: stored(watched.replica) == {b"sub:alice"}, "restored")
        await revoke(nodes[1], BOB)
        await all_know(nodes, ALICE, BOB)
    finally:
        watched.kill()
