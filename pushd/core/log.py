"""The log: one sequence of messages over all channels, with retention.

`now` is monotonic seconds and decides what expires. `time` is unix seconds and is only recorded. Cursors are answered
by `pushd.core.log_reader`.
"""

import heapq
import math
from collections import deque

from pushd.core.aging import AgingChannels
from pushd.core.channel_rules import NO_RULES, ChannelRules, Retentions
from pushd.core.channel_table import ChannelGroup, ChannelTable
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds, Channel, Retention
from pushd.core.losses import LossIndex
from pushd.core.message import Draft, Message
from pushd.core.steps import Steps
from pushd.core.timeline import Timeline
from pushd.core.timestamp import round_timestamp

_EXPIRED_STEP = 500
"""The most messages that expire in one step: about a millisecond."""
_EXPIRED_BY_APPEND = 16
"""The most messages that expire with each append."""
_EXPIRED_FOR_CHANNEL = 10_000
"""The most messages that expire to make room for a new channel: about 20 milliseconds."""
_DEADLINES_KEPT = 1024
"""Deadlines of removed messages that may stay in the heap, beside two for each message in the log."""
_OVERHEAD = 400
"""Bytes of memory of a message beyond its data and names, counted so that `Bounds.total_bytes` is a limit of memory."""


class Log:
    """A log in memory.

    :ivar timeline: all kept messages.
    :ivar channels: their channels, and those whose messages were removed.
    """

    def __init__(self, epoch: str, bounds: Bounds, rules: ChannelRules = NO_RULES) -> None:
        self.epoch = epoch
        self._retentions = Retentions(bounds, rules)
        self.head = 0
        """The sequence of the newest message or deletion."""
        self.timeline = Timeline()
        self.losses = LossIndex()
        self.channels = ChannelTable(self.losses, bounds)
        self._age = bounds.age
        self.due = math.inf
        """Nothing expires earlier than this, in monotonic seconds."""
        self._deadlines: list[tuple[float, int]] = []
        """A heap of the deadlines and sequences of messages with their own time to live."""
        self._aging: AgingChannels[str, Channel] = AgingChannels(self.channels.get)
        self._aged_through = 0
        """All kept messages up to this sequence are of channels with an age of their own."""
        self._outdated: deque[str] = deque()
        """Channels whose retention is still to be looked up again."""

    def __len__(self) -> int:
        """Return the number of kept messages."""
        return len(self.timeline)

    @property
    def bounds(self) -> Bounds:
        """The bounds of all channels but those of presence events."""
        return self.channels.users.bounds

    @property
    def bytes(self) -> int:
        """The bytes of memory that the kept messages take, approximately, without those of presence events."""
        return self.channels.users.bytes

    def append(self, draft: Draft, time: float, now: float) -> Message:
        """Accept a message: assign its id, append it to the history and enforce the bounds.

        :raises TooManyChannels: when its channel is new and all channels that are allowed have messages.
        """
        if now >= self.due:
            self._expire(now, _EXPIRED_BY_APPEND)
        name = draft.channel
        channels = self.channels
        group = channels.users if name[0] != "$" else channels.group_of(name)
        channel = group.active.get(name) or group.idle.pop(name, None) or self._add_channel(group, name, now)
        self.head = seq = self.head + 1
        prev = f"{self.epoch}-{channel.last}" if channel.last else None
        message = Message(
            self.epoch,
            seq,
            prev,
            name,
            round_timestamp(time),
            draft.data,
            draft.content_type,
            draft.encoding,
            draft.event,
            draft.end,
            draft.sender,
        )
        channel.ended = draft.end
        if not (draft.end and message.is_mark):
            self._keep(group, channel, message, draft.ttl, now)
        group.place(channel)
        while group.bytes > group.bounds.total_bytes:
            self._evict_least_recently_used(group)
        return message

    def expire(self, now: float) -> Steps[None]:
        """Remove the messages that are too old. Takes no step if there are none."""
        while now >= self.due and self._expire(now, _EXPIRED_STEP):
            yield

    def reconfigure(self, rules: ChannelRules) -> None:
        """Apply other rules: to new channels at once, and to others with the next calls of `expire` and `append`."""
        self._retentions = Retentions(self.bounds, rules)
        self._outdated = deque(self.channels.names())
        if self._outdated:
            self.due = -math.inf

    def delete(self, name: str) -> bool:
        """Delete a channel with all its messages; return whether it was known.

        A deletion has a sequence of its own, so that older cursors can be told from newer ones.
        """
        channel = self.channels.take(name)
        if channel is None:
            return False
        self.head += 1
        channel.deleted_at = self.head
        group = self.channels.group_of(name)
        while channel.messages:
            self._evict_oldest(group, channel)
        if channel.last > channel.lost:
            channel.lost = channel.last
            self.losses.add(channel, self.head)
        self.channels.add_deleted(channel, self.bounds.channels)
        return True

    def _add_channel(self, group: ChannelGroup, name: str, now: float) -> Channel:
        """Create a channel, for which an idle one may have to be forgotten."""
        limit = group.bounds.channels
        if len(group) >= limit:
            if not group.idle and now >= self.due:
                self._expire(now, _EXPIRED_FOR_CHANNEL)
            if not self.channels.forget_idle(group):
                raise TooManyChannels(f"too many channels: all of the {limit} that are accepted are in use")
        return self.channels.add(name, self.head, self._retentions.of(name))

    def _keep(self, group: ChannelGroup, channel: Channel, message: Message, ttl: float | None, now: float) -> None:
        retention = channel.retention
        channel.append(message)
        self.timeline.append(message, now)
        group.bytes += message.size + _OVERHEAD
        if retention.age is not None and channel.due == math.inf:
            self._schedule(channel, now + retention.age)
        if now + self._age < self.due:
            self.due = now + self._age
        if ttl is not None:
            self._add_deadline(now + ttl, message.seq)
        while channel.exceeds(retention):
            self._evict_oldest(group, channel)

    def _add_deadline(self, deadline: float, seq: int) -> None:
        heapq.heappush(self._deadlines, (deadline, seq))
        self.due = min(self.due, deadline)
        if len(self._deadlines) > 2 * len(self.timeline) + _DEADLINES_KEPT:
            self._deadlines = [entry for entry in self._deadlines if self.timeline.get(entry[1]) is not None]
            heapq.heapify(self._deadlines)

    def _schedule(self, channel: Channel, due: float) -> None:
        """Look for expired messages of a channel with an age of its own at `due`, and at no other time."""
        self._aging.schedule(channel.name, channel, due)
        self.due = min(self.due, due)

    def _expire(self, now: float, most: int) -> bool:
        """Remove at most `most` messages that are too old; return whether there may be more."""
        if self._outdated:
            most = self._update_retentions(most)
        for old in self.timeline.before(now - self.bounds.age, max(most, 0), self._aged_through):
            if self.channels.group_of(old.channel).active[old.channel].retention.age is None:
                self._expire_one(old)
            else:
                self._aged_through = old.seq
            most -= 1
        while most > 0 and self._deadlines and self._deadlines[0][0] <= now:
            _, seq = heapq.heappop(self._deadlines)
            if (message := self.timeline.get(seq)) is not None:
                self._expire_one(message)
                most -= 1
        while most > 0 and self._aging.next_due < now:
            channel = self._aging.take()
            most -= 1 if channel is None else 1 + self._expire_channel(channel, now, most)
        oldest = self.timeline.time_after(self._aged_through)
        due = math.inf if oldest is None else oldest + self.bounds.age
        due = min(due, self._deadlines[0][0]) if self._deadlines else due
        self.due = -math.inf if self._outdated else min(due, self._aging.next_due)
        return most <= 0

    def _expire_channel(self, channel: Channel, now: float, most: int) -> int:
        """Remove at most `most` messages that are too old by the age of their channel; return their number."""
        count = 0
        while channel.messages and channel.retention.age is not None:
            oldest = channel.messages[0]
            due = (self.timeline.time_after(oldest.seq - 1) or 0.0) + channel.retention.age
            if due >= now or count >= most:
                self._schedule(channel, due)
                break
            self._expire_one(oldest)
            count += 1
        return count

    def _update_retentions(self, most: int) -> int:
        """Apply the rules to outdated channels, until `most` messages and channels were examined; return the rest."""
        while most > 0 and self._outdated:
            channel = self.channels.get(self._outdated.popleft())
            if channel is None:
                most -= 1
                continue
            group, retention = self.channels.group_of(channel.name), self._retentions.of(channel.name)
            while most > 0 and channel.exceeds(retention):
                self._evict_oldest(group, channel)
                most -= 1
            if channel.exceeds(retention):
                # Until it is small enough it has its former retention, so that no publish removes all the rest.
                self._outdated.appendleft(channel.name)
                break
            self._set_retention(group, channel, retention)
            most -= 1
        return most

    def _set_retention(self, group: ChannelGroup, channel: Channel, retention: Retention) -> None:
        before, channel.retention = channel.retention, retention
        if not channel.messages and channel.name in group.active:
            group.place(channel)
        if before.age == retention.age:
            return
        channel.due = math.inf
        if retention.age is None:
            self._aged_through = 0
        elif channel.messages:
            born = self.timeline.time_after(channel.messages[0].seq - 1) or 0.0
            self._schedule(channel, born + retention.age)

    def _expire_one(self, message: Message) -> None:
        group = self.channels.group_of(message.channel)
        channel = group.active[message.channel]
        channel.remove(message, "expired")
        self._discard(group, channel, message)
        if not channel.messages:
            group.place(channel)

    def _evict_least_recently_used(self, group: ChannelGroup) -> None:
        """Evict the oldest message of the least recently used channel."""
        channel = next(iter(group.active.values()))
        self._evict_oldest(group, channel)
        if not channel.messages:
            group.place(channel)

    def _evict_oldest(self, group: ChannelGroup, channel: Channel) -> None:
        self._discard(group, channel, channel.remove_oldest("evicted"))

    def _discard(self, group: ChannelGroup, channel: Channel, message: Message) -> None:
        """Remove a message that its channel has removed."""
        if channel.lost == message.seq:
            self.losses.add(channel, self.head)
        self.timeline.discard(message.seq)
        group.bytes -= message.size + _OVERHEAD
