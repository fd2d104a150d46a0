"""Whatever befalls Redis, nobody hears anything twice or out of order, and nothing is lost without a gap."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pushd.core.cursor import NOW, MessageId, parse_id
from pushd.core.errors import OutcomeUnknown, Unavailable
from pushd.core.grant import Grant
from pushd.core.message import Message, draft
from pushd.core.peer import DAEMON, Peer
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer, until
from tests.backends.scene import Scene
from tests.build import FakePeer, ReadableWire

Start = Callable[..., Coroutine[Any, Any, Node]]
Redis = Callable[..., RedisServer]
Scenes = Callable[..., Awaitable[Scene]]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def scene(node: Start) -> Scenes:
    """Two nodes at work on a Redis."""

    async def scene(redis: RedisServer, **options: object) -> Scene:
        return await Scene([await node(redis.url, **options) for _ in range(2)]).begin()

    return scene


async def test_a_cut_connection_for_listening_loses_nothing(redis: RedisServer, scene: Scenes) -> None:
    stage = await scene(redis)
    for _ in range(3):
        assert redis.ask("CLIENT", "KILL", "TYPE", "pubsub") == 2
        await stage.go_on(30)
        for node in stage.nodes:
            await node.until_well()
    await stage.end(gaps=False)


async def test_a_cut_connection_for_commands_loses_nothing_and_publishes_nothing_twice(
    redis: RedisServer, scene: Scenes
) -> None:
    stage = await scene(redis)
    for _ in range(3):
        redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await stage.be_accepted()
    await stage.end(gaps=False)
    assert not any(node.refused for node in stage.nodes)


async def test_a_redis_that_comes_back_with_its_data_loses_nothing(own_redis: Redis, scene: Scenes) -> None:
    redis = own_redis(*ALWAYS)
    stage = await scene(redis)
    redis.kill()
    await stage.go_on(1)
    redis.start()
    await stage.be_accepted()
    await stage.end(gaps=False)


async def test_a_redis_that_comes_back_twice_before_the_next_message_loses_nothing(
    own_redis: Redis, node: Start
) -> None:
    """The head behind skipped sequences is a position that nodes and clients have, and no proof of a loss."""
    redis = own_redis(*ALWAYS)
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await other.ear("*")]
    before = await one.publish("a", "before")
    await until(lambda: all(ear.texts == ["before"] for ear in ears), "the first message")
    for _ in range(2):
        redis.kill()
        await until(lambda: one.hub.unavailable_reason and other.hub.unavailable_reason, "that it shows")
        redis.start()
        for each in (one, other):
            await each.until_well()
        position = (await one.backend.open(("a",), NOW)).position
        assert (await other.backend.open(("a",), position)).gaps == ()
    old = MessageId(position.epoch, int(before.id.rpartition("-")[2]))
    assert (await other.backend.open(("a", "*"), old)).gaps == ()
    await one.publish("a", "after")
    await until(lambda: all(ear.texts == ["before", "after"] for ear in ears), "the last message")
    assert [ear.gaps for ear in ears] == [[], []]


@pytest.mark.system
async def test_cursor_of_a_restarted_redis_is_no_proof_of_a_loss(own_redis: Redis, node: Start) -> None:
    redis = own_redis(*ALWAYS)
    one = await node(redis.url)
    first = await one.publish("a", "before")
    redis.kill()
    redis.start()
    other = await node(redis.url)
    present = (await other.backend.open(("a",), NOW)).position
    assert present.seq == 1_000_000_000, "the log skips sequences, and has no message after them yet"
    for cursor in (present, parse_id(first.id)):
        assert cursor is not None
        assert (await other.backend.open(("a",), cursor)).gaps == ()


async def test_a_redis_that_comes_back_without_its_data_begins_a_new_epoch(own_redis: Redis, scene: Scenes) -> None:
    redis = own_redis()
    stage = await scene(redis)
    redis.kill()
    redis.start()
    await stage.be_accepted()
    accepted = await stage.end(gaps=True)
    assert len({word.place[0] for word in accepted}) == 2
    for ear in stage.ears:
        assert {(gap.reason, gap.topic) for gap in ear.gaps} == {("epoch", topic) for topic in ear.topics}
        assert len(ear.gaps) == len(ear.topics)


@pytest.mark.system
async def test_a_redis_that_comes_back_with_old_data_gives_no_id_twice_and_tells_who_missed_something(
    own_redis: Redis, scene: Scenes, node: Start
) -> None:
    redis = own_redis()
    stage = await scene(redis)
    redis.ask("SAVE")
    await stage.be_accepted()
    before = [word for each in stage.nodes for word in each.accepted]
    old = min(before, key=lambda word: word.place[1])
    redis.kill()
    redis.start()
    await stage.be_accepted()
    accepted = await stage.end(gaps=True)
    assert {gap.reason for ear in stage.ears for gap in ear.gaps} <= {"unknown"}, "what only one node heard"
    assert len({word.id for word in accepted}) == len(accepted)
    assert len({word.place[0] for word in accepted}) == 1
    late = await (await node(redis.url)).ear("a", "b", since=MessageId(*old.place))
    assert {gap.reason for gap in late.gaps} == {"unknown"}
    kept = {each.data for each in late.heard}
    for word in accepted:
        lost = word.channel in "ab" and word.place > old.place and word.data not in kept
        assert not lost or any(int(gap.end.rpartition("-")[2]) >= word.place[1] for gap in late.gaps)
    after = [word for word in accepted if word.place[1] > 1_000_000_000]
    heard = [word for ear in stage.ears for word in ear.heard if word.place[1] < 1_000_000_000]
    newest = max(word.place for word in before + heard)
    fresh = await stage.nodes[0].ear("*", since=MessageId(*newest))
    unknown = [refusal for each in stage.nodes for _, refusal in each.refused if isinstance(refusal, OutcomeUnknown)]
    assert len(fresh.gaps) <= bool(unknown), "at most those that were published while Redis was killed"
    assert [each.id for each in fresh.heard] == [
        each.id for each in sorted(after, key=lambda word: word.place) if "/" not in each.channel
    ]


async def test_a_flushed_redis_begins_a_new_epoch_at_every_node(redis: RedisServer, scene: Scenes) -> None:
    stage = await scene(redis)
    for _ in range(3):
        redis.ask("FLUSHALL")
        await stage.be_accepted()
    accepted = await stage.end(gaps=True)
    assert len({word.place[0] for word in accepted}) == 4
    for ear in stage.ears:
        assert {gap.reason for gap in ear.gaps} == {"epoch"}


async def test_a_flushed_redis_is_noticed_though_nobody_publishes(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url) for _ in range(2)]
    ears = [await each.ear("a", "*") for each in nodes]
    first = await nodes[0].publish("a", "before")
    await until(lambda: all(ear.texts == ["before"] for ear in ears), "the message")
    redis.ask("FLUSHALL")
    await until(lambda: all(len(ear.gaps) == 2 for ear in ears), "the gaps")
    assert {gap.start for ear in ears for gap in ear.gaps} == {first.id}
    second = await nodes[1].publish("a", "after")
    await until(lambda: all(ear.texts == ["before", "after"] for ear in ears), "the next message")
    assert second.id.endswith("-1")


@pytest.mark.system
async def test_a_frozen_redis_makes_publishers_wait_for_so_long_and_no_longer(own_redis: Redis, node: Start) -> None:
    """What was refused is not published when Redis goes on."""
    from twisted.internet import reactor

    redis = own_redis()
    one, other = await node(redis.url, publish_timeout=3.0), await node(redis.url, publish_timeout=3.0)
    ears = [await one.ear("a"), await other.ear("*")]
    stage = Scene([one, other])
    stage.ears = ears
    await one.publish("a", "before")
    redis.freeze()
    begin = reactor.seconds()
    waiting = [Deferred.fromCoroutine(one.publish("a", f"frozen{number}")) for number in range(50)]
    for each in waiting:
        with pytest.raises(Unavailable):
            await each
    assert 2.9 < reactor.seconds() - begin < 20.0
    await until(lambda: one.hub.unavailable_reason and other.hub.unavailable_reason, "that it shows")
    with pytest.raises(Unavailable):
        await one.publish("a", "later")
    await until(lambda: one.backend._commands.is_unavailable, "that Redis is away for so long")
    refused = Deferred.fromCoroutine(one.publish("a", "at once"))
    assert refused.called
    with pytest.raises(Unavailable):
        await refused
    redis.thaw()
    for each_node in (one, other):
        await each_node.until_well()
    await one.publish("a", "after")
    await stage.end(gaps=False)
    assert [text for text in ears[0].texts if not text.startswith("last")] == ["before", "after"]


@pytest.mark.system
async def test_a_redis_that_is_frozen_for_a_while_loses_nothing(own_redis: Redis, scene: Scenes) -> None:
    from twisted.internet import reactor

    redis = own_redis()
    stage = await scene(redis, publish_timeout=5.0)
    redis.freeze()
    await deferLater(reactor, 5.0)
    redis.thaw()
    await stage.be_accepted()
    await stage.end(gaps=False)


async def test_a_slow_redis_loses_nothing(redis: RedisServer, scene: Scenes) -> None:
    stage = await scene(redis)
    for _ in range(5):
        redis.ask("CLIENT", "PAUSE", "150", "ALL")
        await stage.go_on(2)
    await stage.end(gaps=False)


@pytest.mark.parametrize(
    ("sick", "well", "reason"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "no memory left"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "replica"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0"), "replicas"),
    ],
    ids=["oom", "readonly", "noreplicas"],
)
async def test_a_redis_that_takes_no_writes_is_told_as_it_is(
    own_redis: Redis, scene: Scenes, sick: tuple[str, ...], well: tuple[str, ...], reason: str
) -> None:
    redis = own_redis()
    stage = await scene(redis, publish_timeout=3.0)
    assert redis.ask(*sick) == b"OK"
    one, other = stage.nodes
    await until(lambda: one.refused and other.refused, "refusals")
    await until(
        lambda: one.hub.unavailable_reason and reason in one.hub.unavailable_reason,
        f"the reason, {one.hub.unavailable_reason}",
    )
    assert all(isinstance(refusal, Unavailable) for _, refusal in one.refused + other.refused)
    assert redis.ask(*well) == b"OK"
    await stage.be_accepted()
    await stage.end(gaps=False)


async def test_scripts_that_redis_forgot_are_told_again(redis: RedisServer, scene: Scenes) -> None:
    stage = await scene(redis)
    for _ in range(3):
        redis.ask("SCRIPT", "FLUSH")
        await stage.be_accepted(5)
    await stage.end(gaps=False)
    assert not any(node.refused for node in stage.nodes)


async def test_while_redis_is_away_subscribers_stay_and_others_are_refused(own_redis: Redis, node: Start) -> None:
    redis = own_redis(*ALWAYS)
    one = await node(redis.url, publish_timeout=3.0)
    ear = await one.ear("a")
    await one.publish("a", "before")
    redis.kill()
    await until(lambda: one.hub.unavailable_reason, "that it shows")
    for ask in (
        one.publish("a", "x"),
        one.ear("a"),
        one.hub.queries.status(DAEMON, "a"),
        one.hub.queries.channels(DAEMON, "", "", 1),
    ):
        with pytest.raises(Unavailable, match="Redis"):
            await ask
    assert ear.given_up is None
    redis.start()
    await one.until_well()
    await one.publish("a", "after")
    await until(lambda: ear.texts == ["before", "after"], "that it goes on")
    assert ear.gaps == []


async def test_local_delivery_reaches_the_subscribers_of_the_node_and_says_so(own_redis: Redis, node: Start) -> None:
    redis = own_redis(*ALWAYS)
    one, other = [await node(redis.url, publish_timeout=3.0, is_local_when_away=True) for _ in range(2)]
    ears = [await one.ear("a"), await other.ear("a")]
    before = await one.publish("a", "before")
    await until(lambda: ears[1].texts == ["before"], "the message")
    redis.kill()
    await until(lambda: one.hub.unavailable_reason, "that it shows")
    local = await one.publish("a", "local")
    assert (local.id, local.subscribers, local.is_local) == (before.id, 1, True)
    again = await one.publish("a", "again")
    with pytest.raises(Unavailable):
        await one.publish("b", "nobody listens")
    await until(lambda: ears[0].texts == ["before", "local", "again"], "the local messages")
    assert again.facts()["local"] is True
    redis.start()
    for each in (one, other):
        await each.until_well()
    after = await other.publish("a", "after")
    await until(lambda: [ear.texts[-1] for ear in ears] == ["after", "after"], "that it goes on")
    assert ears[1].texts == ["before", "after"]
    assert not after.is_local


class SenderWire(ReadableWire):
    """A wire that encodes the sender only."""

    def message(self, message: Message) -> bytes:
        """Return the sender."""
        return f"{message.sender} ".encode()


async def test_message_that_is_delivered_locally_has_its_sender(own_redis: Redis, node: Start) -> None:
    redis = own_redis()
    one = await node(redis.url, publish_timeout=3.0, is_local_when_away=True)
    alice, peer = Peer("http", "::1", Grant.parse({"publish": ["a"]}, "alice", where="grant")), FakePeer(SenderWire())
    peer.on_close = one.hub.remove
    one.hub.add(peer.subscriber)
    await one.hub.replay_and_go_live(peer.subscriber, await one.hub.subscribe(peer.subscriber, ("a",)))
    assert not (await one.hub.publish(alice, draft("a", b"x"))).is_local
    await until(lambda: peer.received == ["alice"], "the message")
    redis.kill()
    await until(lambda: one.hub.unavailable_reason, "that it shows")
    assert (await one.hub.publish(alice, draft("a", b"y"))).is_local
    await until(lambda: peer.received == ["alice", "alice"], "the local message")
    one.hub.remove(peer.subscriber)


async def test_a_daemon_may_start_before_its_redis(own_redis: Redis, node: Start) -> None:
    redis = own_redis()
    redis.kill()
    starting = Deferred.fromCoroutine(node(redis.url))
    redis.start()
    one = await starting
    assert (await one.publish("a", "x")).id.endswith("-1")
