"""Whatever befalls Redis, nobody hears anything twice or out of order, and nothing is lost without a gap."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pushd.core.cursor import NOW, MessageId, parse_id
from pushd.core.errors import Unavailable
from pushd.core.grant import Grant
from pushd.core.message import Message, draft
from pushd.core.peer import DAEMON, Peer
from tests.backends.nodes import Ear, Heard, Node, Publisher, all_of, judge, settled
from tests.backends.redis_server import RedisServer, until
from tests.build import FakePeer, ReadableWire

Start = Callable[..., Coroutine[Any, Any, Node]]
Redis = Callable[..., RedisServer]
Scenes = Callable[..., Awaitable["Scene"]]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


class Scene:
    """Two nodes at work: ears on both, and a publisher through each."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.ears: list[Ear] = []
        self.publishers: list[Publisher] = []

    async def begin(self) -> "Scene":
        """Let ears listen and publishers publish."""
        one, other = self.nodes
        self.ears = [await one.ear("a"), await other.ear("a", "b"), await one.ear("*"), await other.ear("**")]
        self.publishers = [Publisher(one, ("a", "b", "c/d"), "x"), Publisher(other, ("a", "b"), "y")]
        await self.go_on(30)
        return self

    async def go_on(self, count: int) -> None:
        """Let so many more messages be tried."""
        wanted = [publisher.count + count for publisher in self.publishers]
        await until(
            lambda: all(publisher.count >= want for publisher, want in zip(self.publishers, wanted, strict=True)),
            "more publishes",
            30,
        )

    async def be_accepted(self, count: int = 20) -> None:
        """Wait until so many more were accepted through each node."""
        wanted = [len(node.accepted) + count for node in self.nodes]
        await until(
            lambda: all(len(node.accepted) >= want for node, want in zip(self.nodes, wanted, strict=True)),
            "more accepted messages",
            30,
        )

    async def end(self, *, gaps: bool) -> list[Heard]:
        """Stop publishing, wait until all is heard, and judge."""
        for publisher in self.publishers:
            await publisher.stop()
        for node in self.nodes:
            await node.until_well()
        await settled(self.ears, self.nodes)
        accepted = [word for node in self.nodes for word in node.accepted]
        unknown = [text for node in self.nodes for text, _ in node.refused]
        for ear in self.ears:
            judge(ear, accepted, phantoms=unknown, gaps=gaps)
        return accepted


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
    assert fresh.gaps == []
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
    one, other = await node(redis.url, publish_timeout=1.0), await node(redis.url, publish_timeout=1.0)
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
    assert 0.9 < reactor.seconds() - begin < 4.0
    await until(lambda: one.hub.unavailable_reason and other.hub.unavailable_reason, "that it shows")
    with pytest.raises(Unavailable):
        await one.publish("a", "later")
    await deferLater(reactor, 0.7)
    begin = reactor.seconds()
    with pytest.raises(Unavailable):
        await one.publish("a", "at once")
    assert reactor.seconds() - begin < 0.9
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
    stage = await scene(redis, publish_timeout=1.0)
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


async def test_a_message_that_does_not_come_is_fetched_before_the_next(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("*")]
    lost = _deafen(one, lambda raw: b"drop" in raw)
    for number in range(8):
        await other.publish("a", f"drop{number}" if number in (3, 4, 5) else str(number))
    await settled(ears, [other])
    assert len(lost) == 6
    for ear in ears:
        judge(ear, other.accepted, gaps=False)


async def test_a_message_that_does_not_come_and_is_gone_is_told(redis: RedisServer, node: Start) -> None:
    from pushd.core.history import Bounds

    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)
    for number in range(8):
        await other.publish("a", f"drop{number}" if number in (2, 3, 4, 5) else str(number))
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["evicted"]


@pytest.mark.parametrize("more", range(4))
async def test_a_loss_is_told_however_much_is_published_before_it_is_asked_for(
    redis: RedisServer, node: Start, more: int
) -> None:
    """Even what shows the loss may be gone by then."""
    from pushd.core.history import Bounds

    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    ear = await one.ear("a")
    lost = _deafen(one, lambda raw: b"drop" in raw)

    async def meanwhile() -> None:
        for number in range(more):
            await other.publish("a", f"more{number}")

    _before_asking(one, "between", meanwhile)
    for text in ("0", "1", "drop2", "drop3", "drop4", "drop5", "6"):
        await other.publish("a", text)
    await until(lambda: "6" in ear.texts, "the message behind the loss")
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert len(lost) == 4
    assert [gap.reason for gap in ear.gaps] == ["evicted"]


async def test_a_loss_is_told_when_redis_has_forgotten_the_channel_before_it_is_asked_for(
    redis: RedisServer, node: Start
) -> None:
    from pushd.core.history import Bounds

    bounds = Bounds(messages=0, channels=1)
    one, other = await node(redis.url, bounds=bounds), await node(redis.url, bounds=bounds)
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)
    _before_asking(one, "between", lambda: other.publish("b", "in the place of a"))
    for text in ("0", "drop1", "2"):
        await other.publish("a", text)
    await until(lambda: "2" in ear.texts, "the message behind the loss")
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["unknown"]


async def test_a_loss_is_told_when_redis_has_lost_its_memory_before_it_is_asked_for(
    redis: RedisServer, node: Start
) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)

    async def flush() -> None:
        redis.ask("FLUSHALL")
        for number in range(3):
            await other.publish("a", f"new{number}")

    _before_asking(one, "between", flush)
    for text in ("0", "drop1", "drop2", "drop3", "4"):
        await other.publish("a", text)
    await until(lambda: "new2" in ear.texts, "what is new")
    await one.until_well()
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["epoch"]


async def test_what_was_published_while_nobody_listened_is_no_loss_to_who_comes_later(
    redis: RedisServer, node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pushd.core.history import Bounds

    monkeypatch.setattr("pushd.backends.redis.subscriptions._LINGER_SECONDS", 0.05)
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    first = await one.ear("a")
    await other.publish("a", "0")
    await until(lambda: first.texts == ["0"], "the first message")
    one.hub.remove(first.subscriber)
    await until(lambda: not one.backend._subscriptions.topics_of("a"), "that nobody listens")
    for number in range(1, 6):
        await other.publish("a", str(number))
    second = await one.ear("a")
    await other.publish("a", "6")
    await until(lambda: second.texts == ["6"], "the message")
    assert second.gaps == []


async def test_what_is_evicted_while_a_node_reads_what_it_missed_is_told(redis: RedisServer, node: Start) -> None:
    """The second part of what was missed has lost something when it is read."""
    from pushd.core.history import Bounds

    one = await node(redis.url, publish_timeout=20.0)
    other = await node(redis.url, publish_timeout=20.0, bounds=Bounds(messages=3000))
    brief = await node(redis.url, bounds=Bounds(messages=1))
    ear = await one.ear("a")
    parts, is_published = 0, False

    async def evict_before_the_second() -> None:
        nonlocal parts
        parts += 1
        if parts == 1:
            await until(lambda: is_published, "enough that is missed", 20)
        elif parts == 2:
            await brief.publish("a", "5")

    one.backend._feed_link.drop("for a test")
    await until(lambda: one.backend._feed_link.protocol is None, "the cut")
    _before_asking(one, "missed", evict_before_the_second)
    await all_of(*[other.publish("b", "x") for _ in range(2000)])
    for number in range(5):
        await other.publish("a", str(number))
    is_published = True
    await one.until_well()
    await settled([ear], [other])
    assert parts == 2
    judge(ear, other.accepted + brief.accepted)
    assert {gap.reason for gap in ear.gaps} == {"evicted"}


async def test_what_was_evicted_while_nobody_listened_is_told_to_those_it_concerns(
    redis: RedisServer, node: Start
) -> None:
    from pushd.core.history import Bounds

    one, other = await node(redis.url, bounds=Bounds(messages=3)), await node(redis.url, bounds=Bounds(messages=3))
    ears = [await one.ear("a"), await one.ear("b"), await one.ear("*"), await one.ear("a", "b")]
    one.backend._feed_link.drop("for a test")
    await until(lambda: one.backend._feed_link.protocol is None, "the cut")
    await all_of(*[other.publish("a", f"a{number}") for number in range(10)], other.publish("b", "b"))
    await one.until_well()
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted)
    assert [[gap.reason for gap in ear.gaps] for ear in ears] == [["evicted"], [], ["evicted"], ["evicted"]]


async def test_a_beat_that_does_not_come_back_makes_the_node_listen_anew(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    feed_of(one)._heard = lambda raw: None
    await other.publish("a", "unheard")
    await until(lambda: one.hub.unavailable_reason and "no sign of life" in one.hub.unavailable_reason, "that it shows")
    await one.until_well()
    await until(lambda: ear.texts == ["unheard"], "what was missed")
    assert ear.gaps == []


async def test_while_redis_is_away_subscribers_stay_and_others_are_refused(own_redis: Redis, node: Start) -> None:
    redis = own_redis(*ALWAYS)
    one = await node(redis.url, publish_timeout=1.0)
    ear = await one.ear("a")
    await one.publish("a", "before")
    redis.kill()
    await until(lambda: one.hub.unavailable_reason, "that it shows")
    for ask in (
        one.publish("a", "x"),
        one.ear("a"),
        one.hub.status(DAEMON, "a"),
        one.hub.channels(DAEMON, "", "", 1),
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
    one, other = [await node(redis.url, publish_timeout=1.5, is_local_when_away=True) for _ in range(2)]
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
    one = await node(redis.url, publish_timeout=1.5, is_local_when_away=True)
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


def feed_of(node: Node) -> Any:
    """Return the connection on which a node listens; its methods may be replaced."""
    protocol = node.backend._feed_link.protocol
    assert protocol is not None
    return protocol


def _deafen(node: Node, unwanted: Callable[[bytes], bool]) -> list[bytes]:
    """Let messages of pub/sub be lost on their way to a node."""
    protocol = feed_of(node)
    hear, lost = protocol._heard, list[bytes]()

    def heard(raw: bytes) -> None:
        if raw.startswith(b"m ") and unwanted(raw):
            lost.append(raw)
        else:
            hear(raw)

    protocol._heard = heard
    return lost


def _before_asking(node: Node, name: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Let something happen each time before a node asks the log."""
    reading = node.backend._reader
    ask = getattr(reading, name)

    async def asked(*arguments: object) -> object:
        await meanwhile()
        return await ask(*arguments)

    setattr(reading, name, asked)


async def test_a_node_that_is_behind_reads_no_more_until_it_has_caught_up(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    is_behind = True
    feed = feed_of(one)
    feed._is_behind = lambda: is_behind
    await other.publish("a", "0")
    await until(lambda: feed._resting is not None, "a rest")
    for number in range(1, 50):
        await other.publish("a", str(number))
    assert len(ear.texts) < 50
    is_behind = False
    await until(lambda: ear.texts == [str(number) for number in range(50)], "everything")
    assert ear.gaps == []
