"""The checker: whether what one subscriber received is what the record permits.

Each stored message of its topics is received once, in id order, or a gap before the next message covers it, with a
reason that was possible. An ephemeral message is received at most once over a connection, and not after one that was
published later; no gap is about it. Nothing else is received. A subscriber that begins with `latest` is owed the newest
message of each channel, and what is published later.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from pushd.core.cursor import MessageId, parse_id
from pushd.core.names import is_pattern, matches
from tests.model.record import Outcome, Publication, Record
from tests.model.trace import Closed, Opened, Trace
from tests.soak.transports import (
    Confirmed,
    ReceivedCursor,
    ReceivedEnd,
    ReceivedEphemeral,
    ReceivedGap,
    ReceivedMessage,
)


class Gap:
    """A received gap."""

    def __init__(self, tick: int, connection: int, gap: ReceivedGap, slow: str) -> None:
        self.tick = tick
        self.connection = connection
        self.topic = gap.topic
        self.reason = gap.reason
        self.slow = slow
        self.start, self.end = parse_id(gap.start), parse_id(gap.end)

    def __str__(self) -> str:
        return f"gap {self.topic or 'of any topic'} ({self.start}, {self.end}] {self.reason}"

    def is_about(self, channel: str) -> bool:
        """Return whether the topic of the gap matches a channel."""
        return not self.topic or matches(self.topic, channel)

    def contains(self, id: MessageId, epochs: dict[str, int]) -> bool:
        """Return whether an id is in the range of the gap.

        :param epochs: the order of the epochs.
        """
        start, end = self.start, self.end
        if end is None:
            return False
        if start is None or start.epoch != end.epoch:
            between = start is not None and epochs.get(start.epoch, 0) < epochs[id.epoch] < epochs.get(end.epoch, 0)
            after = start is not None and id.epoch == start.epoch and id.seq > start.seq
            return between or after or (id.epoch == end.epoch and id.seq <= end.seq)
        if self.reason == "unknown" and end.seq < start.seq:  # a cursor from the future
            return id.epoch == end.epoch and id.seq <= start.seq
        return id.epoch == end.epoch and start.seq < id.seq <= end.seq

    def may_reach(self, id: MessageId) -> bool:
        """Return whether the loss may be newer than the response to a poll, which tells no range."""
        return not self.topic and self.end is not None and id.epoch == self.end.epoch and id.seq > self.end.seq


@dataclass
class _Progress:
    """How far the walk over a trace has come."""

    position: MessageId | None = None
    first: MessageId | None = None
    """The first position of all."""
    begun: int = 0
    """The tick at which the first position was received."""
    confirmed: int | None = None
    """The tick at which the first subscription was confirmed."""
    asked: int = 0
    """The tick of the first subscription."""
    is_poll: bool = False
    opened: int | None = None
    """The tick of the first subscription if it begins now, else 0; None before."""
    slow: str = ""
    connection: int = 0
    """The number of the current connection."""
    received: dict[str, list[MessageId]] = field(default_factory=lambda: defaultdict(list))
    connections: dict[MessageId, int] = field(default_factory=dict)
    """The number of the connection on which each message was received."""
    gaps: list[Gap] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    """The ephemeral messages that were received on the current connection."""
    newest_start: int = 0
    """The newest tick at which a message was published that was received on the current connection."""


class Checker:
    """Checks the trace of one subscriber against the record; `Record.faults` receives what contradicts it."""

    def __init__(self, record: Record, trace: Trace) -> None:
        self._record = record
        self._trace = trace
        self._progress = _Progress(position=parse_id(trace.since or ""), first=parse_id(trace.since or ""))

    def check(self) -> None:
        """Check the whole trace."""
        for tick, event in self._trace.events:
            self._step(tick, event)
        for gap in self._progress.gaps:
            self._check_gap(gap)
        for publication, id in self._record.kept():
            if self._trace.matches(publication.channel):
                self._check_received(publication, id)

    def _fault(self, sentence: str, channel: str | None = None) -> None:
        self._record.fault(f"{self._trace.name} ({','.join(self._trace.topics)}): {sentence}", channel)

    # Step by step

    def _step(self, tick: int, event: object) -> None:
        progress = self._progress
        match event:
            case Opened(transport, since, slow):
                progress.slow = slow
                progress.connection += 1
                progress.passed.clear()
                progress.newest_start = 0
                progress.is_poll = "poll " in transport
                progress.asked = progress.asked or tick
                if progress.opened is None:
                    progress.opened = 0 if since or transport.startswith("poll ") else tick
            case Confirmed(cursor):
                progress.confirmed = progress.confirmed or tick
                if cursor is not None:
                    self._advance(tick, parse_id(cursor), f"the subscription begins at {cursor}")
            case ReceivedMessage():
                self._on_message(tick, event)
            case ReceivedEphemeral():
                self._on_ephemeral(event)
            case ReceivedGap():
                self._on_gap(Gap(tick, progress.connection, event, progress.slow))
            case ReceivedCursor(id):
                self._advance(tick, parse_id(id), f"the cursor {id}")
            case ReceivedEnd(channel):
                self._on_end(tick, channel)
            case Closed():
                pass

    def _on_message(self, tick: int, message: ReceivedMessage) -> None:
        text = str(message.data).partition(" ")[0]
        publication, id = self._record.publications.get(text), parse_id(message.id)
        if publication is None or id is None:
            self._fault(f"received {message.id} {text!r}, which was not published", message.channel)
            return
        channel = publication.channel
        if message.channel not in (None, channel) or not self._trace.matches(channel):
            self._fault(f"received {text} of {channel} on {message.channel}", channel)
        if publication.outcome is Outcome.REFUSED:
            self._fault(f"received {id} {text}, which was refused", channel)
        progress = self._progress
        if publication.outcome is Outcome.ACCEPTED and (publication.finished or tick) < (progress.opened or 0):
            self._fault(f"received {id} {text}, which was published before the subscription", channel)
        if self._trace.since == "latest" and progress.connection == 1 and not progress.is_poll:
            self._check_newest(publication, id, tick)
        if publication.is_ephemeral:
            self._fault(f"received {text}, which is ephemeral, with the id {id}", channel)
        progress.newest_start = max(progress.newest_start, publication.started)
        before = progress.received[text]
        if id in before:
            self._fault(f"received {id} {text} twice", channel)
        before.append(id)
        progress.connections[id] = progress.connection
        copies = sum(each.epoch == id.epoch for each in set(before))
        if copies > self._record.copies(publication, id.epoch):
            self._fault(f"received {text} with the ids {' '.join(map(str, before))}", channel)
        if progress.position is not None and progress.position.epoch == id.epoch and id.seq <= progress.position.seq:
            self._fault(f"received {id} {text} after {progress.position}", channel)
        self._advance(tick, id, f"{id} {text}", channel)

    def _on_ephemeral(self, message: ReceivedEphemeral) -> None:
        publication, progress = self._record.publications.get(message.data), self._progress
        if publication is None or not publication.is_ephemeral:
            self._fault(f"received {message.data!r} without an id", message.channel)
            return
        text, channel = publication.text, publication.channel
        if message.channel not in (None, channel) or not self._trace.matches(channel):
            self._fault(f"received {text} of {channel} on {message.channel}", channel)
        if publication.outcome is Outcome.REFUSED:
            self._fault(f"received {text}, which was refused", channel)
        if text in progress.passed:
            self._fault(f"received {text} twice", channel)
        if publication.outcome is Outcome.ACCEPTED and (publication.finished or 0) < progress.newest_start:
            self._fault(f"received {text} after a message that was published after its acknowledgement", channel)
        progress.passed.add(text)

    def _check_newest(self, publication: Publication, id: MessageId, tick: int) -> None:
        """Check that a message from before the start is the newest of its channel."""
        for other in self._record.channels[publication.channel]:
            newer, finished = other.accepted, other.finished or tick
            is_newer = newer is not None and newer.epoch == id.epoch and newer > id and not other.is_mark
            if is_newer and finished < self._progress.asked and not self._record.may_be_removed(other, tick):
                self._fault(f"received {id} {publication.text}, although {other} is newer", publication.channel)

    def _advance(self, tick: int, id: MessageId | None, what: str, channel: str | None = None) -> None:
        progress, position = self._progress, self._progress.position
        if id is None:
            self._fault(f"{what} is no id", channel)
            return
        self._record.see(id)
        if progress.first is None:
            progress.first, progress.begun = id, tick
        if position is None or id.epoch == position.epoch:
            if position is not None and id.seq < position.seq:
                self._fault(f"{what} follows {position}", channel)
        elif not any(gap.reason == "epoch" and gap.end and gap.end.epoch == id.epoch for gap in progress.gaps):
            self._fault(f"{what} follows {position} of another epoch, without a gap", channel)
        progress.position = id

    def _on_gap(self, gap: Gap) -> None:
        progress, position = self._progress, self._progress.position
        progress.gaps.append(gap)
        if gap.end is None or (gap.start is None and (gap.topic or self._trace.since not in (None, "all", "latest"))):
            self._fault(f"{gap} has no range")
        elif position is not None and gap.end.epoch == position.epoch and gap.end.seq <= position.seq:
            if gap.reason != "unknown":
                self._fault(f"{gap} arrived after {position}")
            else:  # a cursor from the future: everything that is kept follows
                progress.position = gap.end

    def _on_end(self, tick: int, channel: str) -> None:
        for topic in (channel,) if channel else self._trace.topics:
            if is_pattern(topic) or topic not in self._trace.topics:
                self._fault(f"received an end of {topic}, which was not subscribed by name")
            elif not self._record.may_have_ended(topic, tick):
                self._fault(f"received the end of {topic}, which has not ended", topic)

    # Afterwards

    def _check_gap(self, gap: Gap) -> None:
        """Check that a gap covers a message that is missing, for a possible reason."""
        record = self._record
        if gap.end is None:
            return
        if gap.topic and gap.topic not in self._trace.topics:
            self._fault(f"{gap} is about a topic that was not subscribed")
        elif gap.reason in ("epoch", "unknown"):
            is_new = gap.start is None or gap.start.epoch != gap.end.epoch
            lost = [loss for loss in record.losses if loss.started < gap.tick and loss.kind in ("epoch", gap.reason)]
            if not lost or is_new is not (gap.reason == "epoch"):
                self._fault(f"{gap}, although nothing was lost")
        elif not any(self._is_cause(gap, each) for each in record.publications.values()):
            self._fault(f"{gap}, although nothing in it was lost for this reason", self._channel_at(gap.end))

    def _channel_at(self, id: MessageId) -> str | None:
        return next((each.channel for each in self._record.publications.values() if id in each.ids), None)

    def _is_cause(self, gap: Gap, publication: Publication) -> bool:
        record = self._record
        if not gap.is_about(publication.channel) or publication.started > gap.tick:
            return False
        if publication.is_mark or publication.is_ephemeral:
            return False
        if publication.outcome is Outcome.REFUSED:
            return False
        missing = [id for id in publication.ids if self._is_missing(gap, id)]
        is_missing = any(gap.contains(id, record.epochs) or gap.may_reach(id) for id in missing)
        if not is_missing and (publication.ids or publication.outcome is Outcome.ACCEPTED):
            return False
        match gap.reason:
            case "evicted":
                return record.may_be_evicted(publication, gap.tick)
            case "expired":
                return record.may_have_expired(publication)
            case "slow":
                return gap.slow == "drop"
        return False

    def _is_missing(self, gap: Gap, id: MessageId) -> bool:
        """Return whether a message was not received, or only on another connection after being dropped on this one."""
        connection = self._progress.connections.get(id)
        return connection is None or (gap.reason == "slow" and connection > gap.connection)

    def _check_received(self, publication: Publication, id: MessageId) -> None:
        """Check that a stored message was received, or that a gap covers it, if it had to be received."""
        progress, record = self._progress, self._record
        if id in progress.received.get(publication.text, ()) or not self._is_owed(publication, id):
            return
        gaps = [gap for gap in progress.gaps if gap.is_about(publication.channel)]
        if any(gap.contains(id, record.epochs) for gap in gaps):
            return
        self._fault(f"{id} {publication.text} was not received, and no gap covers it", publication.channel)

    def _is_owed(self, publication: Publication, id: MessageId) -> bool:
        progress, record, first = self._progress, self._record, self._progress.first
        if first is not None and record.epochs[id.epoch] > record.epochs.get(first.epoch, 0):
            return True  # of a later epoch
        if self._trace.since == "latest":
            return self._is_owed_to_latest(publication, id)
        if self._trace.since == "all" and first is None:
            return False  # nothing was received, perhaps because no connection was confirmed
        if self._trace.since == "all":
            assert first is not None
            return id.epoch == first.epoch and not record.may_be_removed(publication, progress.begun)
        if first is not None and id.epoch == first.epoch and id.seq > first.seq:
            return True
        if self._trace.since is not None or progress.confirmed is None:
            return False
        has_stayed = progress.position is not None
        is_later = publication.started > progress.confirmed
        return has_stayed and is_later and (first is None or id.epoch == first.epoch)

    def _is_owed_to_latest(self, publication: Publication, id: MessageId) -> bool:
        """Return whether a message is newer than the start, or was certainly the newest of its channel there."""
        progress, record = self._progress, self._record
        if progress.first is None or id.epoch != progress.first.epoch:
            return False
        if publication.started > progress.begun:
            return True
        others = [each for each in record.channels[publication.channel] if not each.is_mark and each is not publication]
        return (
            (publication.finished or progress.asked) < progress.asked
            and id == max(publication.ids)
            and all(each.started > progress.begun or self._is_older(each, id) for each in others)
            and not record.may_be_removed(publication, self._trace.events[-1][0])
        )

    @staticmethod
    def _is_older(publication: Publication, id: MessageId) -> bool:
        is_known = bool(publication.ids) or publication.outcome is Outcome.REFUSED
        return is_known and all(each.epoch == id.epoch and each < id for each in publication.ids)
