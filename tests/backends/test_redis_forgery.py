"""What another program publishes under the prefix of pushd harms neither delivery nor the node."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.task import deferLater

from pushd.backends.redis.encoding import encode_draft
from pushd.core.identity import ANONYMOUS
from pushd.core.message import Exclusion, draft
from pushd.core.peer import DAEMON
from tests.backends.nodes import Ear, Node, Publisher, judge, settled
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Awaitable[Node]]
FEED = "pushd:0:"


def forged(
    epoch: str, seq: int, prev: int = 0, channel: str = "a", text: bytes = b"forged", exclude: Exclusion | None = None
) -> bytes:
    """Return the pub/sub message of a message that Redis never accepted."""
    encoded: Any = encode_draft(draft(channel, text, exclude=exclude), 0)[1 if exclude is None else 6]
    body = bytes(encoded)[5:]
    return b"m %b %d %d 1700000000000\n" % (epoch.encode(), seq, prev) + body


MALFORMED = (
    b"",
    b"m",
    b"m ",
    b"m \n",
    b"m a b c d\n",
    b"m \xff 1 0 1\n\x96",
    b"m {epoch} 1e9 0 0\n\x96",
    b"m {epoch} -5 0 0\n\x96\xa1a\xa1x\xaatext/plain\xa4text\xc0\xc2",
    b"m {epoch} 999999 0 0\n\x96\xa1\xff\xa1x\xaatext/plain\xa4text\xc0\xc2",
    b"m {epoch} " + b"9" * 5000 + b" 0 0\n\x96",
    b"e",
    b"e ",
    b"e \n",
    b"e a b c d\n",
    b"e {epoch} -1 0 x\n\x96\xa1a\xa1x\xaatext/plain\xa4text\xc0\xc2",
    b"e {epoch} 1 0\n\x96\xa1a\xa1x\xaatext/plain\xa4text\xc0\xc2",
    b"e {epoch} 1 0 x\n\x96\xa3a\nb\xa1x\xaatext/plain\xa4text\xc0\xc2",
    b"e {epoch} 1 0 x\n\x96\xa1a\xa1x\xaatext/plain\xa4text\xa3e\nv\xc2",
    b"e {epoch} 1 0 x\n\x96\xa1a\xa1x\xabtext/\nplain\xa4text\xc0\xc2",
    b"m {epoch} 999999 0 0\n\x99\xa1a\xa1x\xaatext/plain\xa4text\xc0\xc2\xc0\xc0\xa1x",
    b"e {epoch} 1 0 x\n\x99\xa1a\xa1x\xaatext/plain\xa4text\xc0\xc2\xc0\xc0\xa1x",
    b"x",
    b"x ",
    b"x \n",
    b"x {epoch}\na",
    b"x {epoch} y\na",
    b"x {epoch} 1\n\xff",
    b"beat ",
    b"beat x",
    b"beyond ",
    b"beyond \xff \xff",
    b"beyond {epoch} x",
    b"ask ",
    b"ask a",
    b"ask a b c d\nx",
    b"ask \xff \xff\n\xff",
    b"told ",
    b"told x\n{}",
    b"told 1\nx",
    b"told 1\n[true,{}]",
    b"\x00\xff",
)


async def test_malformed_messages_are_ignored(redis: RedisServer, node: Start) -> None:
    """A failure in the log would fail the test."""
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("*")]
    epoch = (await other.publish("a", "0")).id.rpartition("-")[0]
    for raw in MALFORMED:
        for name in ("f:a", "all", f"n:{one.backend._node}"):
            redis.ask("PUBLISH", FEED + name, raw.replace(b"{epoch}", epoch.encode()))
    await other.publish("a", "1")
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted, gaps=False)
    assert one.hub.unavailable_reason is None


@pytest.mark.parametrize("jump", [1, 7, 5_000, 10**9, 10**12, 10**17])
@pytest.mark.parametrize("is_other_epoch", [False, True])
async def test_a_sequence_that_redis_has_not_assigned_hides_no_message(
    redis: RedisServer, node: Start, jump: int, *, is_other_epoch: bool
) -> None:
    from twisted.internet import reactor

    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("*"), await one.ear("b")]
    epoch, _, seq = (await other.publish("a", "0")).id.rpartition("-")
    publisher = Publisher(other, ("a", "b"), "x")
    for _ in range(30):
        raw = forged("forgery" if is_other_epoch else epoch, int(seq) + publisher.count + jump)
        redis.ask("PUBLISH", FEED + "f:a", raw)
        await deferLater(reactor, 0.05)
    await publisher.stop()
    await settled(ears, [other])
    for ear in ears:
        judge_true(ear, other)
    late = await one.ear("*")
    await other.publish("a", "late")
    await until(lambda: late.texts == ["late"], "a message for a later subscriber")


@pytest.mark.parametrize("jump", [-1, 0, 7, 5_000, 10**9, 10**17])
@pytest.mark.parametrize("is_other_epoch", [False, True])
async def test_an_ephemeral_message_that_redis_has_not_passed_on_changes_nothing(
    redis: RedisServer, node: Start, jump: int, *, is_other_epoch: bool
) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a", "**")]
    epoch, _, seq = (await other.publish("a", "0")).id.rpartition("-")
    body = forged(epoch, 1).partition(b"\n")[2]
    for number in range(10):
        name = b"forgery" if is_other_epoch else epoch.encode()
        redis.ask("PUBLISH", FEED + "f:a", b"e %b %d 0 x:%d\n" % (name, max(int(seq) + jump, 0), number) + body)
        await other.publish("a", f"x{number}")
        await other.publish("a", f"x{number}~", keep=False)
        ears.append(await one.ear("a"))
    await settled(ears[:2], [other])
    for ear in ears[:2]:
        judge_true(ear, other)
        assert [text for text in ear.all_texts if text.endswith("~")] == [f"x{number}~" for number in range(10)]
    for number, ear in enumerate(ears[2:]):
        assert [text for text in ear.texts if text.startswith("x")] == [f"x{later}" for later in range(number + 1, 10)]
        assert ear.gaps == []


async def test_a_copy_that_excludes_a_subscriber_hides_nothing_from_it(redis: RedisServer, node: Start) -> None:
    """It comes before the message that it copies, so that this one looks like a copy."""
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a")]
    epoch, _, seq = (await other.publish("a", "0")).id.rpartition("-")
    for number in range(1, 10):
        exclude = Exclusion(ears[0].subscriber.peer.id, ANONYMOUS)
        text = b"x%d" % number
        copy = forged(epoch, int(seq) + number, int(seq) + number - 1, text=text, exclude=exclude)
        redis.ask("PUBLISH", FEED + "f:a", copy)
        await other.publish("a", text.decode())
    await settled(ears[:1], [other])
    judge(ears[0], other.accepted, gaps=False)
    assert set(ears[1].texts) == set(ears[0].texts)


def judge_true(ear: Ear, other: Node) -> None:
    """Judge what an ear heard, except forged messages, which may be delivered but hide nothing."""
    ear.events = [event for event in ear.events if "forged" not in event]
    judge(ear, other.accepted, gaps=False)


async def test_a_message_of_another_epoch_is_not_believed(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    await other.publish("a", "0")
    for number in range(20):
        redis.ask("PUBLISH", FEED + "f:a", forged(f"forgery{number}", 1))
    await other.publish("a", "1")
    await until(lambda: ear.texts == ["0", "1"], "the true messages")
    assert ear.gaps == []


async def test_a_deletion_that_did_not_happen_ends_nothing(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a", "b")]
    epoch = (await other.publish("a", "0")).id.rpartition("-")[0]
    for count in (0, 1, 2, 10**9):
        redis.ask("PUBLISH", FEED + "f:a", f"x {epoch} {count}\na")
    await other.publish("a", "1")
    await until(lambda: all(ear.texts == ["0", "1"] for ear in ears), "the message after the forgery")
    assert [ear.ends for ear in ears] == [[], []]
    await other.hub.delete(DAEMON, "a")
    await until(lambda: all(ear.ends == ["a"] for ear in ears), "the end")


async def test_a_loss_that_did_not_happen_is_not_reported(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    epoch = (await other.publish("a", "0")).id.rpartition("-")[0]
    redis.ask("PUBLISH", FEED + "all", f"beyond {epoch} 999999")
    await other.publish("a", "1")
    await until(lambda: ear.texts == ["0", "1"], "the message")
    assert ear.gaps == []


async def test_a_forged_heartbeat_does_not_hide_a_dead_connection(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    before = one.backend._heartbeat._back
    for number in range(1000):
        one.backend._on_pubsub_message(b"beat %d" % number)
    assert one.backend._heartbeat._back == before


async def test_forged_names_are_not_delivered(redis: RedisServer, node: Start) -> None:
    """A channel, event type or content type with control characters could forge frames."""
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("*"), await one.ear("**")]
    epoch = (await other.publish("a", "0")).id.rpartition("-")[0]
    body = b"\x96\xa3a\nb\xc4\x01x\xaatext/plain\xa4text\xc0\xc2"
    for at, raw in enumerate((body, body.replace(b"a\nb", b"a b"), body.replace(b"text/plain", b"text/\nplai"))):
        redis.ask("PUBLISH", FEED + "f:a", b"m %b %d 0 1700000000000\n" % (epoch.encode(), 2 + at) + raw)
    body = b"\x96\xa1a\xc4\x01x\xaatext/plain\xa4text\xa3e\nv\xc2"
    redis.ask("PUBLISH", FEED + "f:a", b"m %b 9 0 1700000000000\n" % epoch.encode() + body)
    await other.publish("a", "1")
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted, gaps=False)
