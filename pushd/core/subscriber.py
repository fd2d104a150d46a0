"""A subscriber: one who hears messages through one connection, whatever carries it.

A topic of a subscriber is in one of two states:

    state       live messages                     left by
    CATCHING    wait beside the replay            the last page of the replay, which leads to LIVE
    LIVE        go out, if newer than its start   `part`, the end of the channel, `close`

and the subscriber itself is ready (what is due is written at once) or busy (it waits in the outbox, until `resume`).
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Batch, Delivery, Recent, Wire, encode
from pushd.core.errors import Refusal, TooSlow
from pushd.core.lookup import TopicLookup
from pushd.core.message import Gap, Message
from pushd.core.names import Interest, is_pattern, matches
from pushd.core.outbox import Outbox, Policy, QueueLimits
from pushd.core.peer import Peer
from pushd.core.replay import Page, StartPosition

_REPLAYING: Final = 1 << 62
"""The start of a topic that is not live yet: no sequence is newer."""
_UNKNOWN: Final = _REPLAYING + 1
"""The floor of one whose starts have changed since it was worked out."""
_NEVER: Final = _REPLAYING
"""The threshold of one to whom nothing can be sent without a closer look."""
_FEW: Final = 16
"""Topics whose starts are looked at whenever one of them changes."""
_WRITE: Final = 64 << 10
"""Bytes taken from the outbox for one write: as many as Twisted's transports want before they say stop."""


_GAPS: Final = 500
"""Gaps told in one write."""


class Outlet(Protocol):
    """The way out to one peer."""

    def write(self, data: bytes) -> None:
        """Send bytes; never waits. May call `Subscriber.pause` while it does."""

    def channel_ended(self, channel: str) -> None:
        """Know that a channel has ended; the peer was told, after all that waited for it."""

    def close(self, why: Refusal) -> None:
        """Close, having told the peer why where that can be told."""


class SubscriberClosed(Exception):
    """A subscriber was closed while its subscription was opened."""

    def __init__(self, why: Refusal | None) -> None:
        """`why` is the refusal with which it was closed; None when its client has disconnected."""
        super().__init__(str(why or "the client has disconnected"))
        self.why = why


class _ClosedOutlet:
    """The outlet of one who has left: its connection holds the subscriber, which so does not hold the connection. What
    nobody has to look for is freed at once, and a crowd that leaves is no work for the garbage collector.
    """

    def write(self, data: bytes) -> None:
        """Let it go."""

    def channel_ended(self, channel: str) -> None:
        """Let it go."""

    def close(self, why: Refusal) -> None:
        """Let it go."""


_CLOSED_OUTLET: Final = _ClosedOutlet()


class Subscriber:
    """One who hears. It is handed to the hub, and its transport calls `pause` and `resume`."""

    __slots__ = (
        "_ends",
        "_floor",
        "_limits",
        "_lookup",
        "_on_drained",
        "_outbox",
        "_unsent",
        "_unsubscribed_up_to",
        "catch_up",
        "closed_for",
        "handle",
        "is_closed",
        "is_lagging",
        "last_write",
        "mark",
        "newest",
        "outlet",
        "peer",
        "policy",
        "sent",
        "starts",
        "threshold",
        "wire",
    )

    def __init__(self, outlet: Outlet, wire: Wire, limits: QueueLimits, policy: Policy, peer: Peer) -> None:
        self.outlet: Outlet = outlet
        self.wire = wire
        self.policy = policy
        self.peer = peer
        self.is_closed = False
        self.closed_for: Refusal | None = None
        """The refusal with which it was closed; None when its client has disconnected, or when it is open."""
        self.threshold: int = _NEVER
        """A batch that begins behind this sequence can go to `handle` as it is. All else goes through `deliver`."""
        self.handle: Any = None
        """The way to the peer without a way round by the outlet; see `attach`."""
        self.mark = 0
        """The dispatcher's mark; see there."""
        self.sent = 0
        """The messages that it was sent; the dispatcher counts those that it sends by the handle."""
        self.last_write = 0
        """When it was last written to, in the keepalive's count."""
        self.is_lagging = False
        """Whether messages were let go since it was last ready."""
        self.starts: dict[str, int] = {}
        """The topics; of each only what is newer than this sequence is heard live."""
        self._floor = 0
        """What is newer is wanted without a look at the starts. Too high a floor costs that look, and no more."""
        self._lookup: TopicLookup | None = None
        """Made when patterns are looked up: one that is live and ready needs none."""
        self._unsubscribed_up_to = 0
        """What is not newer may be of a topic that it hears no more."""
        self.newest: Delivery | None = None
        """With a fluid wire, what was sent last: it can be sent again as a sign of life."""
        self._limits = limits
        self._outbox: Outbox | None = None
        """None: ready."""
        self._unsent = 0
        """Bytes that its transport has not sent yet, and that were made for it alone, about."""
        self.catch_up: CatchUp | None = None
        """What is being replayed."""
        self._ends: OrderedDict[str, None] | None = None
        """The channels whose end is not told yet, in their order."""
        self._on_drained: Callable[[], None] | None = None

    def attach(self, handle: Any) -> None:
        """Have a connection on which bytes can be sent at once.

        :param handle: what the dispatcher's `SendEach` sends by; None: there is no way but the outlet. It is used only
            while all is taken that was sent before: else the outlet calls `pause` at once.
        """
        self.handle = handle
        self._set_threshold()

    # Topics

    def start_replay(self, topics: Sequence[str]) -> CatchUp:
        """Begin to hear `topics` by way of the history. One at a time."""
        self._begin(topics, _REPLAYING)
        self._floor = self.threshold = _REPLAYING
        self.catch_up = CatchUp(topics, self._limits)
        return self.catch_up

    def go_live(self, topics: Iterable[str], seq: int) -> None:
        """Hear of those `topics` that it still has what is newer than `seq` as it comes."""
        self._begin([topic for topic in topics if topic in self.starts], seq)
        self.catch_up = None
        self._lower_floor()

    def try_go_live(self, opening: StartPosition) -> bool:
        """Go live, if there is nothing to read and to tell before that, as for most that come; tell whether it did."""
        catch_up = self.catch_up
        if (
            catch_up is None
            or opening.needs_replay
            or opening.gaps
            or self._outbox is not None
            or not catch_up.is_untouched
        ):
            return False
        self.go_live(catch_up.topics, opening.position.seq)
        return True

    def unsubscribe(self, *topics: str, newest: int = 0) -> None:
        """Hear no more of `topics`, not even what waits in the outbox or, up to sequence `newest`, is on its way."""
        for topic in topics:
            self.starts.pop(topic, None)
            if self._ends:
                self._ends.pop(topic, None)
            if self._lookup is not None:
                self._lookup.remove(topic)
        self._unsubscribed_up_to = max(self._unsubscribed_up_to, newest)
        self._lower_floor()
        if self.catch_up is not None:
            self.catch_up.unsubscribe(*topics)
            self.catch_up = self.catch_up if self.catch_up.topics else None
        if self._outbox is not None:
            parted = Interest(topics)
            self._outbox.retain(
                lambda message: not parted.covers(message.channel) or self.topic_of(message.channel) is not None
            )

    def topic_of(self, channel: str) -> str | None:
        """Give the topic by which it hears `channel`; None where it does not."""
        return channel if channel in self.starts else self._earliest_pattern(channel)

    def live_topics_of(self, channel: str) -> list[str]:
        """Return the topics by which it hears `channel` as it comes."""
        topics = [channel, *self._patterns.matching(channel)]
        return [topic for topic in topics if self.starts.get(topic, _REPLAYING) != _REPLAYING]

    @property
    def live_topics(self) -> dict[str, int]:
        """The topics that it hears as they come, and the sequences behind which it does."""
        return {topic: start for topic, start in self.starts.items() if start != _REPLAYING}

    # Hearing

    def deliver(self, batch: Batch) -> int:
        """Hear a batch live. Gives the number of messages that were let go for it.

        :raises TooSlow: its queue is full, and its policy is to disconnect.
        """
        if batch.first <= self._floor and batch.first <= self._exact_floor():
            wanted = self.select(batch)
            if not wanted:
                return 0
            batch = Batch(wanted)
        if self._outbox is None:
            if not self.is_closed:
                wire = self.wire
                if wire.is_stateful:
                    self.newest = batch.deliveries[-1]
                    self.wire = wire.after(self.newest.message)
                self.sent += len(batch.deliveries)
                self.outlet.write(batch.block(wire))
            return 0
        outbox, policy = self._outbox, self._policy
        return sum([outbox.put(delivery, policy) for delivery in batch.deliveries])

    def effort(self, batch: Batch) -> int:
        """Return about how much work it is to deliver a batch, in units of a write to one that is ready."""
        count = len(batch.deliveries)
        effort = 1 if self._outbox is None else 1 + count // 4
        if batch.first <= self._floor:
            effort += count * (1 + len(self.starts) // 512) // 2
        return effort

    def prepare(self, batch: Batch) -> bool:
        """Do a part of what a batch needs before it is delivered; return whether all is done."""
        if batch.first > self._floor or batch.first > self._exact_floor() or len(self.starts) <= _FEW:
            return True
        return self._patterns.prepare() and (self.catch_up is None or self.catch_up.prepare())

    def select(self, batch: Batch) -> list[Delivery]:
        """Choose what of a batch is heard now; what is not may wait beside a replay."""
        return [delivery for delivery in batch.deliveries if self._accepts(delivery)]

    def replay(self, catch_up: CatchUp, page: Page, recent: Recent) -> bool:
        """Hear a page of history; tell whether that was the last and all is live now.

        The caller waits for `when_ready` before each page, so that no more than a page is under way.

        :raises TooSlow: the history let go of messages before they were read, and a bare wire can not tell.
        """
        gaps = [gap for gap in catch_up.unreported(page.gaps) if gap.topic in catch_up.topics]
        if gaps and self.wire.data_only and self.policy is not Policy.LATEST:
            raise TooSlow("subscriber is too slow: messages left the history before it had read them")
        frames = [self.wire.gap(gap) for gap in gaps]
        deliveries = [recent.of(message) for message in page.messages if self._is_replayed(catch_up, message)]
        done = page.is_last and catch_up.has_reached(page.position)
        if done:
            held = catch_up.take_held()
            deliveries += held
            self.go_live(catch_up.topics, held[-1].message.seq if held else page.position.seq)
        self._write(frames + self._encode(deliveries))
        for channel in dict.fromkeys((*page.ended, *catch_up.ends)) if done else ():
            self.end(channel)
        return done

    def gap(self, gaps: Iterable[Gap]) -> None:
        """Be told of gaps at once."""
        self._write([self.wire.gap(gap) for gap in gaps])

    def end(self, channel: str) -> None:
        """Be told that a channel has ended, once all that waits is out."""
        if self.is_closed or channel not in self.starts or (self._ends and channel in self._ends):
            return
        if self.catch_up is not None and channel in self.catch_up.topics:
            self.catch_up.ends[channel] = None
            return
        self.starts[channel] = self._floor = self.threshold = _REPLAYING
        if self._ends is None:
            self._ends = OrderedDict()
        self._ends[channel] = None
        if self._outbox is None:
            self._send_ends()

    def close(self, why: Refusal | None = None) -> None:
        """Close: nothing is sent any more, and everything that is queued is released.

        :param why: the refusal with which the connection is closed, if any.
        """
        self.is_closed = True
        self.closed_for = why
        self.threshold = _NEVER
        self.starts.clear()
        if self._outbox is not None:
            self._outbox.clear()
        if self.catch_up is not None:
            self.catch_up.take_held()
        self._outbox = self.catch_up = self.handle = self._lookup = self._ends = None
        self._set_unsent(0)
        self.outlet = _CLOSED_OUTLET
        self._call_on_drained()

    # Speed

    @property
    def is_paused(self) -> bool:
        """Whether the transport has more than it can send."""
        return self._outbox is not None

    @property
    def held_bytes(self) -> int:
        """The bytes that wait for it, in its outbox and on their way."""
        return self.queued_bytes + self._unsent

    @property
    def queued_bytes(self) -> int:
        """The bytes that wait in its outbox."""
        return self._outbox.bytes if self._outbox is not None else 0

    def pause(self) -> None:
        """Be busy: the transport has more than it can send."""
        if self._outbox is None and not self.is_closed:
            self._outbox = Outbox(self._limits)
            self.threshold = _NEVER

    def resume(self) -> None:
        """Be ready again, unless what waits makes it busy at once."""
        outbox, self._outbox = self._outbox, None
        self._set_unsent(0)
        while outbox and self._outbox is None and not self.is_closed:
            frames = [self.wire.gap(gap) for gap in self._gaps_of_drops(outbox)]
            deliveries = [] if outbox.has_dropped else outbox.take(_WRITE)
            self._write(frames + self._encode(deliveries))
        if self.is_closed:
            if outbox is not None:
                outbox.clear()
            return
        if outbox:
            self._outbox = outbox
        elif self._outbox is None:
            self.is_lagging = False
            self._set_threshold()
            self._send_ends()
            if self._outbox is None:
                self._call_on_drained()

    def count_reply(self, size: int) -> None:
        """Know that its connection was sent an answer, made for it alone, of so many bytes.

        :raises NoRoom: it has to wait, and too much does in all.
        """
        if self._outbox is not None:
            self._unsent = self._limits.budget.grow(self._unsent, self._unsent + size)

    def shed(self) -> int:
        """Let go of as much of what waits as its policy allows; tell how many messages that were.

        :raises NoRoom: it may not lose any, or could not be told.
        """
        return self._outbox.shed(self._policy) if self._outbox is not None else 0

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once, as soon as it is ready or closed; only one call can wait."""
        self._on_drained = call
        if self._outbox is None:
            self._call_on_drained()

    @property
    def _policy(self) -> Policy:
        """The policy that its wire allows: where a loss can not be told there is none."""
        return Policy.DISCONNECT if self.wire.data_only and self.policy is Policy.DROP else self.policy

    def _accepts(self, delivery: Delivery) -> bool:
        message = delivery.message
        if self._is_live(message):
            return True
        catching = self.catch_up
        if catching is not None and catching.covers(message.channel):
            catching.hold(delivery)
        return False

    def _is_live(self, message: Message) -> bool:
        """Whether it comes, or came, live by one of the topics."""
        seq, channel = message.seq, message.channel
        if message.is_local:
            seq += 1
        if seq > self.starts.get(channel, _REPLAYING):
            return True
        pattern = self._earliest_pattern(channel)
        return pattern is not None and seq > self.starts[pattern]

    def _is_replayed(self, catch_up: CatchUp, message: Message) -> bool:
        """Whether it comes from the history, and not, by another topic, live."""
        return catch_up.covers(message.channel) and not self._is_live(message)

    @property
    def _patterns(self) -> TopicLookup:
        """The lookup of the patterns that match a channel."""
        if self._lookup is None:
            self._lookup = TopicLookup(self.starts)
        return self._lookup

    def _earliest_pattern(self, channel: str) -> str | None:
        """Return the pattern with the earliest start that matches `channel`; None if none does."""
        if self._lookup is not None or len(self.starts) > _FEW:
            return self._patterns.earliest(channel)
        found = None
        for topic, start in self.starts.items():
            if is_pattern(topic) and matches(topic, channel) and (found is None or start < self.starts[found]):
                found = topic
        return found

    def _begin(self, topics: Collection[str], start: int) -> None:
        """Let topics be live behind a sequence."""
        self.starts.update(dict.fromkeys(topics, start))
        if self._lookup is not None:
            self._lookup.add(topics)

    def _lower_floor(self) -> None:
        """Lower the floor after the starts have changed; where they are many, when the next batch needs it."""
        self._floor = self.threshold = _UNKNOWN
        if len(self.starts) <= _FEW:
            self._exact_floor()

    def _exact_floor(self) -> int:
        if self._floor == _UNKNOWN:
            self._floor = max((self._unsubscribed_up_to, *self.starts.values()))
            self._set_threshold()
        return self._floor

    def _set_threshold(self) -> None:
        is_open = self.handle is not None and self._outbox is None and not self.is_closed
        self.threshold = self._floor if is_open and not self.wire.is_stateful else _NEVER

    def _gaps_of_drops(self, outbox: Outbox) -> list[Gap]:
        gaps = []
        for channel, lost in outbox.take_dropped(_GAPS).items():
            if topic := self.topic_of(channel):
                start = lost.start or f"{lost.end.partition('-')[0]}-0"
                gaps.append(Gap(topic, start, lost.end, "slow"))
        return gaps

    def _send_ends(self) -> None:
        while self._ends and self._outbox is None:
            channel, _ = self._ends.popitem(last=False)
            self._write([self.wire.end(channel)])
            self.outlet.channel_ended(channel)

    def _encode(self, deliveries: Sequence[Delivery]) -> list[bytes]:
        if self.wire.is_stateful and deliveries:
            self.newest = deliveries[-1]
        self.sent += len(deliveries)
        frames, self.wire = encode(deliveries, self.wire)
        return frames

    def _call_on_drained(self) -> None:
        call, self._on_drained = self._on_drained, None
        if call is not None:
            call()

    def _write(self, frames: Sequence[bytes]) -> None:
        if not self.is_closed and any(frames):
            block = self.wire.block(frames)
            self.outlet.write(block)
            if self._outbox is not None:
                self._set_unsent(self._unsent + len(block))

    def _set_unsent(self, size: int) -> None:
        if size != self._unsent:
            self._unsent = self._limits.budget.recount(self._unsent, size)
