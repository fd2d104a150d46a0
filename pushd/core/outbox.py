"""The outbox: the bounded queue of a slow subscriber, with a policy for when it is full.

``disconnect`` closes the connection, whose cursor stays valid; ``drop`` discards the oldest messages and records the
gap; ``latest`` keeps only the newest message of each channel. Ephemeral messages are discarded before that.
"""

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from pushd.core.budget import Budget
from pushd.core.delivery import Delivery
from pushd.core.errors import BadSlow, NoRoom, TooSlow
from pushd.core.message import Message


class Policy(enum.Enum):
    """The slow-consumer policy: what happens when an outbox is full."""

    DISCONNECT = "disconnect"
    DROP = "drop"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may be queued for one subscriber. One message is always accepted, whatever its size."""

    messages: int = 1000
    """The most messages."""
    bytes: int = 1 << 20
    """The most bytes of messages, as counted by `Message.size`."""
    eager: bool = False
    """Whether `Policy.LATEST` discards a message as soon as there is a newer one, not only when the queue is full."""
    budget: Budget = field(default_factory=Budget, compare=False)
    """The memory budget of all queues."""


_MAX_RANGES: Final = 1000
"""The most channels whose dropped messages are recorded by channel."""
_RANGE_BYTES: Final = 300
"""Bytes of memory of a dropped range."""


class DroppedRange(NamedTuple):
    """The dropped messages of a channel: all after id `start` (None: from the beginning) up to id `end`."""

    start: str | None
    end: str


def parse_policy(word: str) -> Policy:
    """Parse a ``slow`` parameter.

    :raises BadSlow: when there is no such policy.
    """
    try:
        return Policy(word)
    except ValueError:
        raise BadSlow("slow must be disconnect, drop or latest") from None


class _Newest:
    """The positions in an outbox of the newest message of each channel, and of superseded messages."""

    __slots__ = ("places", "superseded")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.superseded: set[int] = set()

    def add(self, channel: str, place: int) -> None:
        """Record the newest message of a channel."""
        before = self.places.get(channel)
        if before is not None:
            self.superseded.add(before)
        self.places[channel] = place

    def remove(self, channel: str, place: int) -> None:
        """Remove a message that is no longer in the outbox."""
        if self.places[channel] == place:
            del self.places[channel]
        else:
            self.superseded.discard(place)


class Outbox:
    """A bounded queue of deliveries.

    Apart from `retain`, the amortized cost of adding or removing a message is constant, whatever the policy.
    """

    __slots__ = (
        "_all_dropped",
        "_bytes",
        "_drop_start",
        "_dropped",
        "_ephemeral",
        "_first",
        "_holes",
        "_limits",
        "_newest",
        "_queue",
    )

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._queue: deque[Delivery | None] = deque()
        """None in place of a superseded message. The last is never None."""
        self._first = 0
        """The position of the leftmost of `_queue`."""
        self._holes = 0
        """How many of `_queue` are None."""
        self._ephemeral = 0
        """How many of the queued messages are ephemeral."""
        self._newest: _Newest | None = None
        """Maintained as soon as `Policy.LATEST` is used."""
        self._bytes = 0
        self._dropped: dict[str, DroppedRange] = {}
        """The dropped messages by channel; empty while `_all_dropped` is set."""
        self._all_dropped: DroppedRange | None = None
        """The dropped messages of all channels, if there are too many channels."""
        self._drop_start = ""
        """The id before the first message that was dropped and is not reported yet."""

    def __len__(self) -> int:
        """Return the number of queued deliveries."""
        return len(self._queue) - self._holes

    def __iter__(self) -> Iterator[Delivery]:
        """Iterate over the queued deliveries, oldest first."""
        return (delivery for delivery in self._queue if delivery is not None)

    def __bool__(self) -> bool:
        """Return whether there is anything to send, including gaps of dropped messages."""
        return bool(self._queue) or self.has_dropped

    @property
    def newest(self) -> int:
        """The sequence of the newest queued message; 0 if there is none."""
        return self._queue[-1].message.seq if self._queue and self._queue[-1] is not None else 0

    @property
    def bytes(self) -> int:
        """The bytes of the queued messages."""
        return self._bytes

    def put(self, delivery: Delivery, policy: Policy) -> int:
        """Queue a delivery; return the number of messages that were discarded for it.

        :raises TooSlow: when the queue is full and the policy cannot make room.
        """
        self._queue.append(delivery)
        self._bytes += delivery.size
        self._limits.budget.hold(delivery)
        if not delivery.message.is_kept:
            self._ephemeral += 1
        if self._newest is not None and self._is_tracked(delivery):
            self._newest.add(delivery.message.channel, self._first + len(self._queue) - 1)
        eager = policy is Policy.LATEST and self._limits.eager
        return self._make_room(policy) if eager or self._is_over() else 0

    def take(self, enough: int) -> list[Delivery]:
        """Remove and return the oldest deliveries, until they have at least `enough` bytes or the queue is empty."""
        taken: list[Delivery] = []
        goal = self._bytes - enough
        while self._queue and self._bytes > goal:
            taken.append(self._pop())
        return taken

    @property
    def has_dropped(self) -> bool:
        """Whether there are dropped ranges that were not taken yet."""
        return bool(self._dropped) or self._all_dropped is not None

    def attribute_dropped(self, topics_before: Callable[[int], Iterable[str]]) -> None:
        """Attribute the dropped messages to topics, if they are of too many channels to be recorded by channel.

        :param topics_before: returns the topics that may have lost messages with at most the given sequence.
        """
        dropped, self._all_dropped = self._all_dropped, None
        if dropped is not None:
            self._set_dropped(dict.fromkeys(topics_before(int(dropped.end.rpartition("-")[2])), dropped))

    def take_dropped(self, most: int | None = None) -> dict[str, DroppedRange]:
        """Remove and return the dropped ranges by channel or by topic; they are older than all queued messages.

        `attribute_dropped` must be called before.

        :param most: the most channels; None: all.
        """
        taken = dict(islice(self._dropped.items(), most))
        self._set_dropped(dict(islice(self._dropped.items(), len(taken), None)))
        return taken

    def retain(self, wanted: Callable[[Message], bool]) -> None:
        """Discard the messages for which `wanted` is false."""
        kept = []
        for delivery in self:
            if wanted(delivery.message):
                kept.append(delivery)
            else:
                self._release(delivery)
        if len(kept) < len(self):
            self._replace(kept)

    def shed(self, policy: Policy) -> int:
        """Discard as much as the policy allows, since the memory budget is exceeded; return the number of messages.

        :raises NoRoom: when the policy is to disconnect.
        """
        before = len(self)
        self._drop_ephemeral()
        if policy is Policy.DISCONNECT and before == len(self):
            raise NoRoom("too many bytes are queued for all subscribers together, and most of them for this one")
        if policy is Policy.LATEST:
            self._keep_newest()
        while len(self) > 1 and policy is Policy.DROP:
            self._drop(self._pop().message)
        return before - len(self)

    def clear(self) -> None:
        """Discard all: the subscriber is closed."""
        self._limits.budget.release_all(self)
        self._set_dropped({})
        self._all_dropped = None
        self._bytes = self._ephemeral = 0
        self._newest = None
        self._replace([])

    def _pop(self) -> Delivery:
        while (delivery := self._queue.popleft()) is None:
            self._first += 1
            self._holes -= 1
        if self._newest is not None and self._is_tracked(delivery):
            self._newest.remove(delivery.message.channel, self._first)
        self._first += 1
        self._release(delivery)
        return delivery

    def _release(self, delivery: Delivery) -> None:
        self._bytes -= delivery.size
        if not delivery.message.is_kept:
            self._ephemeral -= 1
        self._limits.budget.release(delivery)

    def _is_over(self) -> bool:
        count = len(self._queue) - self._holes
        return count > 1 and (count > self._limits.messages or self._bytes > self._limits.bytes)

    def _make_room(self, policy: Policy) -> int:
        before = len(self)
        if policy is Policy.LATEST and self._limits.eager:
            self._keep_newest()
        if self._ephemeral and self._is_over():
            self._drop_ephemeral(self._queue[-1])
        if policy is Policy.DROP:
            while self._is_over():
                self._drop(self._pop().message)
        elif policy is Policy.LATEST and self._is_over():
            self._keep_newest()
        if self._is_over():
            raise TooSlow(
                f"subscriber is too slow: its queue exceeds {self._limits.messages} messages or "
                f"{self._limits.bytes} bytes"
            )
        return before - len(self)

    def _drop_ephemeral(self, newest: Delivery | None = None) -> None:
        """Drop the ephemeral messages: those before `newest`, then that one too if the queue is still too long."""
        spared = newest.message if newest is not None and not newest.message.is_kept else None
        if self._ephemeral > (spared is not None):
            self.retain(lambda message: message.is_kept or message is spared)
        if spared is not None and self._is_over():
            self._drop_newest()

    def _drop_newest(self) -> None:
        """Drop the message that was put last."""
        delivery = self._queue.pop()
        assert delivery is not None, "the last must be a message"
        if self._newest is not None and self._is_tracked(delivery):
            self._newest.remove(delivery.message.channel, self._first + len(self._queue))
        self._release(delivery)
        while self._queue and self._queue[-1] is None:
            self._queue.pop()
            self._holes -= 1

    def _is_tracked(self, delivery: Delivery) -> bool:
        """Return whether a message counts as the newest of its channel: an ephemeral one displaces no other."""
        return delivery.message.is_kept or self._limits.eager

    def _keep_newest(self) -> None:
        """Remove the superseded messages. The holes stay until most positions are holes."""
        newest = self._newest
        if newest is None:
            newest = self._newest = _Newest()
            for place, each in enumerate(self._queue, self._first):
                assert each is not None, "there must be no holes before the newest are tracked"
                if self._is_tracked(each):
                    newest.add(each.message.channel, place)
        for place in newest.superseded:
            delivery = self._queue[place - self._first]
            assert delivery is not None, "a superseded message must be queued"
            self._queue[place - self._first] = None
            self._holes += 1
            self._release(delivery)
        newest.superseded.clear()
        if self._holes * 2 > len(self._queue):
            self._replace(list(self))

    def _replace(self, deliveries: list[Delivery]) -> None:
        """Queue only `deliveries`, without holes."""
        self._queue = deque(deliveries)
        self._first = self._holes = 0
        if self._newest is not None:
            self._newest = _Newest()
            for place, delivery in enumerate(deliveries):
                if self._is_tracked(delivery):
                    self._newest.add(delivery.message.channel, place)

    def _drop(self, message: Message) -> None:
        if self._all_dropped is not None:
            self._all_dropped = self._all_dropped._replace(end=message.id)
            return
        if not self._dropped:
            self._drop_start = f"{message.epoch}-{message.seq - 1}"
        before = self._dropped.get(message.channel)
        if before is None:
            if len(self._dropped) >= _MAX_RANGES:
                self._set_dropped({})
                self._all_dropped = DroppedRange(self._drop_start, message.id)
                return
            self._limits.budget.recount(0, _RANGE_BYTES)
        self._dropped[message.channel] = DroppedRange(before.start if before else message.prev, message.id)

    def _set_dropped(self, ranges: dict[str, DroppedRange]) -> None:
        self._limits.budget.recount(_RANGE_BYTES * len(self._dropped), _RANGE_BYTES * len(ranges))
        self._dropped = ranges
