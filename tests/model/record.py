"""The record of a run: what was published, deleted and done to the backend, in the order in which it was observed.

A tick is a place in that order. Whatever one tick precedes has happened before it, since all clients are one process:
a request is recorded before it is sent, and its answer after it was read.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from pushd.core.cursor import MessageId, parse_id


class Outcome(Enum):
    """What the publisher was answered."""

    UNKNOWN = "unknown"
    """No answer yet, or one after which the message may have been stored."""
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass
class Publication:
    """A message, whose text is unique in the run."""

    text: str
    channel: str
    started: int
    padding: str = ""
    ttl: float | None = None
    ends: bool = False
    is_mark: bool = False
    """Whether it is only an end mark, which is not received."""
    is_ephemeral: bool = False
    """Whether it is ephemeral: never kept, and without an id."""
    key: str | None = None
    outcome: Outcome = Outcome.UNKNOWN
    is_uncertain: bool = False
    """Whether an attempt had no answer."""
    finished: int | None = None
    """The tick of the last answer."""
    attempts: list[int] = field(default_factory=list)
    """The tick of each attempt, with an idempotency key."""
    accepted: MessageId | None = None
    ids: set[MessageId] = field(default_factory=set)
    """All ids with which it was acknowledged or received."""

    @property
    def data(self) -> str:
        """The data that is sent: the text, and the padding."""
        return f"{self.text} {self.padding}"

    def __str__(self) -> str:
        marks = f"{' end' if self.ends else ''}{f' ttl={self.ttl:g}' if self.ttl else ''}{' key' if self.key else ''}"
        marks += " ephemeral" if self.is_ephemeral else ""
        ids = " ".join(map(str, sorted(self.ids))) or "no id"
        return f"{self.channel} {self.text}{marks}: {self.outcome.value}, {ids}"


@dataclass
class Deletion:
    """The deletion of a channel."""

    channel: str
    started: int
    finished: int | None = None


@dataclass
class BackendLoss:
    """The backend may have lost its data."""

    kind: str
    """``epoch``: all data, so that an epoch begins; ``unknown``: the newest data."""
    started: int
    finished: int | None = None


@dataclass(frozen=True)
class Limits:
    """What the daemon keeps."""

    messages: int = 1000
    """The messages kept of a channel."""
    expires: bool = False
    """Whether messages expire without a time to live."""
    evicts: bool = False
    """Whether the limit of all channels is so low that any message may be evicted."""
    keys_survive_restart: bool = False
    """Whether a repeat with an idempotency key is recognized after a restart of a daemon."""


class Entry(NamedTuple):
    """One line of the journal."""

    tick: int
    seconds: float
    """Since the start of the run."""
    sentence: str
    channel: str | None
    """The channel that it is about, if any."""

    def __str__(self) -> str:
        return f"{self.tick:6} {self.seconds:7.3f} {self.sentence[:300]}"


class Record:
    """Everything but what subscribers have received."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self.publications: dict[str, Publication] = {}
        self.channels: dict[str, list[Publication]] = defaultdict(list)
        self.deletions: dict[str, list[Deletion]] = defaultdict(list)
        self.losses: list[BackendLoss] = []
        self.restarts: list[int] = []
        """The ticks at which a daemon was about to be stopped."""
        self.epochs: dict[str, int] = {}
        """Each epoch with the tick at which it was first observed."""
        self.journal: list[Entry] = []
        """Everything that happened."""
        self.counts: Counter[str] = Counter()
        self.faults: list[tuple[str, str | None]] = []
        """Sentence and channel of each contradiction that was seen so far."""
        self._tick = 0
        self._start = time.monotonic()
        self._texts: dict[MessageId, str] = {}

    def tick(self) -> int:
        """Return the next tick."""
        self._tick += 1
        return self._tick

    def note(self, sentence: str, channel: str | None = None) -> int:
        """Add a sentence to the journal; return its tick."""
        tick = self.tick()
        self.journal.append(Entry(tick, time.monotonic() - self._start, sentence, channel))
        return tick

    def fault(self, sentence: str, channel: str | None = None) -> None:
        """Record a contradiction."""
        self.note(f"FAULT {sentence}", channel)
        self.faults.append((sentence, channel))

    # Publishers

    def publish(self, publication: Publication) -> Publication:
        """Record a message that is about to be sent for the first time."""
        self.publications[publication.text] = publication
        self.channels[publication.channel].append(publication)
        self.counts["published"] += 1
        return publication

    def accept(self, publication: Publication, id: str) -> None:
        """Record an acknowledgement."""
        position = parse_id(id)
        publication.finished = self.note(f"{publication.text} is acknowledged as {id}", publication.channel)
        if position is None:
            self.fault(f"{publication.text} was acknowledged with the id {id!r}", publication.channel)
            return
        if publication.accepted is None:
            self.counts["acknowledged"] += 1
        else:
            self.counts["repeated"] += 1
        publication.outcome, publication.accepted = Outcome.ACCEPTED, position
        self.observe(publication, position)

    def pass_on(self, publication: Publication) -> None:
        """Record the acknowledgement of an ephemeral message."""
        publication.finished = self.note(f"{publication.text} is acknowledged without an id", publication.channel)
        publication.outcome = Outcome.ACCEPTED
        self.counts["acknowledged ephemeral"] += 1

    def refuse(self, publication: Publication, why: str, *, is_known: bool) -> None:
        """Record a refusal, or that the outcome is unknown.

        :param is_known: whether nothing was stored.
        """
        word = "refused" if is_known else "unanswered"
        publication.finished = self.note(f"{publication.text} is {word}: {why}", publication.channel)
        self.counts[word] += 1
        if publication.outcome is Outcome.ACCEPTED:
            return
        publication.is_uncertain = publication.is_uncertain or not is_known
        publication.outcome = Outcome.UNKNOWN if publication.is_uncertain else Outcome.REFUSED

    def observe(self, publication: Publication, id: MessageId) -> None:
        """Record the id of a message, seen in an acknowledgement or by a subscriber."""
        self.see(id)
        other = self._texts.setdefault(id, publication.text)
        if other != publication.text:
            self.fault(f"{publication.text} has the id {id} of {other}", publication.channel)
        publication.ids.add(id)

    def see(self, id: MessageId) -> None:
        """Record that an epoch exists."""
        self.epochs.setdefault(id.epoch, self._tick)

    # Others

    def delete(self, channel: str) -> Deletion:
        """Record a deletion that is about to be requested."""
        deletion = Deletion(channel, self.note(f"delete {channel}", channel))
        self.deletions[channel].append(deletion)
        self.counts["deletions"] += 1
        return deletion

    def lose(self, kind: str, how: str) -> BackendLoss:
        """Record that the backend is about to lose data."""
        loss = BackendLoss(kind, self.note(f"the backend may lose data: {how}"))
        self.losses.append(loss)
        return loss

    def restart(self, sentence: str) -> None:
        """Record that a daemon is about to be stopped."""
        self.restarts.append(self.note(sentence))

    # Questions

    def may_have_ended(self, channel: str, tick: int) -> bool:
        """Return whether the end of a channel may have been reported at a tick."""
        ends = any(each.ends and each.started < tick for each in self.channels[channel])
        return ends or any(deletion.started < tick for deletion in self.deletions[channel])

    def may_be_deleted(self, publication: Publication, tick: int) -> bool:
        """Return whether a message may have been deleted with its channel before a tick."""
        return any(
            deletion.started < tick and (deletion.finished is None or publication.started < deletion.finished)
            for deletion in self.deletions[publication.channel]
        )

    def may_be_evicted(self, publication: Publication, tick: int) -> bool:
        """Return whether a message may have been evicted, or deleted, before a tick."""
        if self.limits.evicts or self.may_be_deleted(publication, tick):
            return True
        return self._followers(publication, tick) >= self.limits.messages

    def may_have_expired(self, publication: Publication) -> bool:
        """Return whether a message may have expired."""
        return publication.ttl is not None or self.limits.expires

    def may_be_lost_by_backend(self, publication: Publication, tick: int, kinds: tuple[str, ...]) -> bool:
        """Return whether a message may have been lost with the data of the backend before a tick."""
        return any(
            loss.kind in kinds
            and loss.started < tick
            and (loss.finished is None or publication.started < loss.finished)
            for loss in self.losses
        )

    def may_be_removed(self, publication: Publication, tick: int) -> bool:
        """Return whether a message may have left the history before a tick, for whatever reason."""
        return (
            self.may_have_expired(publication)
            or self.may_be_evicted(publication, tick)
            or self.may_be_lost_by_backend(publication, tick, ("epoch", "unknown"))
        )

    def copies(self, publication: Publication, epoch: str) -> int:
        """Return how many ids a message may have in an epoch: more than one only if its key may be forgotten."""
        if publication.key is None:
            return 1
        forgotten = [loss.started for loss in self.losses]
        if not self.limits.keys_survive_restart:
            forgotten += self.restarts
        return 1 + self._between(forgotten, publication.started, publication.finished)

    def kept(self) -> Iterator[tuple[Publication, MessageId]]:
        """Iterate over the messages that were certainly stored, each with each of its ids, end marks excluded."""
        for publication in self.publications.values():
            for id in publication.ids if not publication.is_mark else ():
                yield publication, id

    @staticmethod
    def _between(ticks: list[int], start: int, end: int | None) -> int:
        """Count the ticks in a range; None: no end."""
        return sum(start <= tick and (end is None or tick <= end) for tick in ticks)

    def _followers(self, publication: Publication, tick: int) -> int:
        """Count the messages of a channel that may have been accepted after one of them, and before a tick."""
        newest = max(publication.ids, default=None)

        def is_later(other: Publication) -> bool:
            if (
                other is publication
                or other.is_mark
                or other.is_ephemeral
                or other.outcome is Outcome.REFUSED
                or other.started > tick
            ):
                return False
            later = max(other.ids, default=None)
            return newest is None or later is None or later.epoch != newest.epoch or later.seq > newest.seq

        return sum(map(is_later, self.channels[publication.channel]))


def check_ids(record: Record) -> None:
    """Check that ids are as unique and as ordered as the publishers could observe."""
    for publication in record.publications.values():
        epochs = Counter(id.epoch for id in publication.ids)
        if any(count > record.copies(publication, epoch) for epoch, count in epochs.items()):
            record.fault(f"{publication} was published more than once", publication.channel)
    _check_order(record)


def _check_order(record: Record) -> None:
    """Check that a message which was published after another one was acknowledged has a newer id."""
    accepted = [(each.started, each.finished or 0, each.accepted, each) for each in record.publications.values()]
    placed = [(start, end, id, each) for start, end, id, each in accepted if id is not None]
    by_end = iter(sorted(placed, key=lambda place: place[1]))
    earlier, newest = next(by_end, None), dict[str, tuple[MessageId, Publication]]()
    for start, _, id, publication in sorted(placed, key=lambda place: place[0]):
        while earlier is not None and earlier[1] < start:
            _, _, before, other = earlier
            if before.epoch not in newest or newest[before.epoch][0] < before:
                newest[before.epoch] = before, other
            earlier = next(by_end, None)
        if id.epoch in newest and newest[id.epoch][0] >= id:
            sentence = f"{publication} was published after {newest[id.epoch][1]} was acknowledged"
            record.fault(sentence, publication.channel)
