"""Builders shared by tests: messages, logs, a readable wire, and a peer that records what it receives."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from pushd.core import log as core_log
from pushd.core.channel_rules import NO_RULES, ChannelRules
from pushd.core.cursor import MessageId, Since
from pushd.core.delivery import Batch, Delivery, StatelessWire
from pushd.core.errors import Refusal
from pushd.core.grant import FULL
from pushd.core.history import Bounds
from pushd.core.log_reader import LogReader
from pushd.core.message import Gap, Message, draft
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import Peer
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.steps import Steps
from pushd.core.subscriber import Subscriber

T = TypeVar("T")


def done(steps: Steps[T]) -> T:
    """Run all steps at once, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(T, end.value)


class Log(core_log.Log):
    """A log with its reader, whose steps run at once."""

    def __init__(self, epoch: str, bounds: Bounds, rules: ChannelRules = NO_RULES) -> None:
        super().__init__(epoch, bounds, rules)
        self.reader = LogReader(self)

    def info(self, name: str) -> ChannelInfo | None:
        """Return the state of a channel; see `LogReader.info`."""
        return self.reader.info(name)

    def expire_now(self, now: float) -> None:
        """Expire in all steps; see `expire`."""
        done(self.expire(now))

    def open_now(self, topics: Sequence[str], since: Since, time: float, now: float) -> StartPosition:
        """Open in all steps; see `open`."""
        return done(self.reader.open(topics, since, time, now))

    def page_now(self, topics: Sequence[str], after: MessageId, count: int, size: int, now: float) -> Page:
        """Read a page in all steps; see `page`."""
        return done(self.reader.page(topics, after, count, size, now))

    def names_now(self, prefix: str, after: str, limit: int) -> list[str]:
        """List names in all steps; see `names`."""
        return done(self.reader.names(prefix, after, limit))


def message(
    seq: int = 1,
    channel: str = "a",
    data: bytes = b"x",
    *,
    content_type: str | None = None,
    event: str | None = None,
    end: bool = False,
    prev: int | None = None,
    epoch: str = "E",
    time: float = 0.0,
    sender: str | None = None,
) -> Message:
    """Return a message as a log creates it; `prev` is the sequence of the previous one."""
    checked = draft(channel, data, content_type, event, end=end)
    before = None if prev is None else f"{epoch}-{prev}"
    kind, form = checked.content_type, checked.encoding
    return Message(epoch, seq, before, channel, time, data, kind, form, checked.event, end, sender)


def publish(
    log: Log,
    channel: str,
    data: bytes = b"x",
    *,
    now: float = 0.0,
    ttl: float | None = None,
    end: bool = False,
) -> Message:
    """Publish at `now`, which is also the wall clock."""
    return log.append(draft(channel, data, ttl=ttl, end=end), now, now)


def log_of(channels: str, bounds: Bounds | None = None) -> Log:
    """Return a log with messages in channels of one letter each, a second apart, from second 1 and sequence 1."""
    log = Log("E", bounds or Bounds())
    for second, channel in enumerate(channels, 1):
        publish(log, channel, now=float(second))
    return log


def open_log(log: Log, topics: str, since: Since, now: float = 100.0) -> StartPosition:
    """Open a log at `topics`, separated by commas."""
    return log.open_now(tuple(topics.split(",")), since, now, now)


def read_log(log: Log, topics: str, after: MessageId, now: float = 100.0) -> list[int]:
    """Read a log to its end in one page; return the sequences."""
    page = log.page_now(tuple(topics.split(",")), after, 10_000, 1 << 30, now)
    assert page.is_last
    return [each.seq for each in page.messages]


def cost(data: bytes = b"x", channel: str = "a") -> int:
    """Return the cost of a message in the limit of the whole history."""
    log = Log("E", Bounds())
    publish(log, channel, data)
    return log.bytes


def at(seq: int) -> MessageId:
    """Return the cursor after `seq`, in the epoch of all messages here."""
    return MessageId("E", seq)


def batch(*messages: Message) -> Batch:
    """Join messages to a batch, as the dispatcher does."""
    return Batch([Delivery(each) for each in messages])


def page(*messages: Message, upto: int, more: bool = False, **rest: Any) -> Page:
    """Return a page of history that extends to sequence `upto`."""
    return Page(messages, rest.pop("gaps", ()), at(upto), is_last=not more, **rest)


class ReadableWire(StatelessWire):
    """A readable wire that records which messages it encodes."""

    def __init__(self, *, data_only: bool = False) -> None:
        self.data_only = data_only
        self.encoded: list[int] = []
        self.blocks = 0

    def message(self, message: Message) -> bytes:
        """Return ``CHANNEL:SEQ``."""
        self.encoded.append(message.seq)
        return f"{message.channel}:{message.seq} ".encode()

    def gap(self, gap: Gap) -> bytes:
        """Return ``gap:TOPIC:FROM:TO:REASON``."""
        return b"" if self.data_only else ("gap:" + ":".join(gap) + " ").encode()

    def end(self, channel: str) -> bytes:
        """Return ``end:CHANNEL``."""
        return b"" if self.data_only else f"end:{channel} ".encode()

    def ping(self) -> bytes:
        """Return nothing."""
        return b""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames, and count the blocks."""
        self.blocks += 1
        return super().block(frames)


class StatefulWire(ReadableWire):
    """A stateful wire: each frame names the channel of the previous message."""

    is_stateful = True

    def __init__(self, *, before: str = "", forms: dict[str, "StatefulWire"] | None = None) -> None:
        super().__init__()
        self._before = before
        self._forms = {before: self} if forms is None else forms

    def message(self, message: Message) -> bytes:
        """Return ``BEFORE>CHANNEL:SEQ``."""
        return self._before.encode() + b">" + super().message(message)

    def after(self, message: Message) -> "StatefulWire":
        """Return the wire for the message after this one."""
        name = message.channel
        if name not in self._forms:
            self._forms[name] = StatefulWire(before=name, forms=self._forms)
        return self._forms[name]


class FakePeer:
    """An outlet that records, with its subscriber."""

    def __init__(
        self,
        wire: ReadableWire | None = None,
        limits: QueueLimits | None = None,
        policy: Policy | None = Policy.DISCONNECT,
    ) -> None:
        self.subscriber = Subscriber(
            self, wire or ReadableWire(), limits or QueueLimits(), policy, Peer("tcp", "::1", FULL)
        )
        self.writes: list[str] = []
        self.topics_ended_calls = 0
        self.is_full_after_write = False
        """Whether each write fills the transport."""
        self.write_error: Exception | None = None
        """The exception that writes raise, if any."""
        self.closed_with: Refusal | None = None
        self.is_aborted = False
        self.on_close: Callable[[Subscriber, Refusal], None] = lambda subscriber, why: subscriber.close(why)

    @property
    def ends(self) -> list[str]:
        """The channels whose end was sent, and no message since."""
        return list(self.subscriber.ended)

    @property
    def received(self) -> list[str]:
        """The frames received so far."""
        return " ".join(self.writes).split()

    def subscribe_live(self, *topics: str, after: int = 0) -> "FakePeer":
        """Subscribe live to `topics` after sequence `after`."""
        self.subscriber.start_replay(topics)
        self.subscriber.go_live(topics, after)
        return self

    def write(self, data: bytes) -> None:
        """Record a block."""
        if self.write_error is not None:
            raise self.write_error
        self.writes.append(data.decode().strip())
        if self.is_full_after_write:
            self.subscriber.pause()

    def topics_ended(self) -> None:
        """Count the calls."""
        self.topics_ended_calls += 1

    def close(self, why: Refusal) -> None:
        """Record the refusal, and leave the hub like a connection."""
        self.closed_with = why
        self.on_close(self.subscriber, why)

    def abort(self) -> None:
        """Record that the connection was aborted."""
        self.is_aborted = True
