"""The outbox: what waits for a slow subscriber, within a limit and with a policy for when it is full.

``disconnect`` gives the subscriber up with its cursor intact, ``drop`` lets go of the oldest and remembers the
gap, ``latest`` keeps only the newest message of each channel.
"""

import enum
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from pushd.core.budget import Budget
from pushd.core.delivery import Delivery
from pushd.core.errors import BadSlow, NoRoom, TooSlow
from pushd.core.message import Message


class Policy(enum.Enum):
    """What happens when an outbox is full."""

    DISCONNECT = "disconnect"
    DROP = "drop"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait for one subscriber. One message may always wait, whatever its size."""

    messages: int = 1000
    bytes: int = 1 << 20
    eager: bool = False
    """Whether `Policy.LATEST` lets go of a message as soon as there is a newer one, not only when the queue is full."""
    budget: Budget = field(default_factory=Budget, compare=False)
    """What may wait in all."""


class DroppedRange(NamedTuple):
    """What was dropped of a channel: all after id `start` (None: from the beginning) up to id `end`."""

    start: str | None
    end: str


def parse_policy(word: str) -> Policy:
    """Read a ``slow``.

    :raises BadSlow: no such policy.
    """
    try:
        return Policy(word)
    except ValueError:
        raise BadSlow("slow is disconnect, drop or latest") from None


class _Newest:
    """The places in an outbox of the newest message of each channel, and of those that a newer one supersedes."""

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
        """Forget a message that left the outbox."""
        if self.places[channel] == place:
            del self.places[channel]
        else:
            self.superseded.discard(place)


class Outbox:
    """A bounded queue of deliveries.

    Apart from `keep`, the work for each message that enters or leaves is constant, amortized, whatever the policy.
    """

    __slots__ = ("_bytes", "_dropped", "_first", "_holes", "_limits", "_newest", "_waiting")

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._waiting: deque[Delivery | None] = deque()
        """None where a superseded message stood. The last is never None."""
        self._first = 0
        """The place of the leftmost of `_waiting`."""
        self._holes = 0
        """How many of `_waiting` are None."""
        self._newest: _Newest | None = None
        """Maintained as soon as `Policy.LATEST` is used."""
        self._bytes = 0
        self._dropped: dict[str, DroppedRange] = {}

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self._waiting) - self._holes

    def __iter__(self) -> Iterator[Delivery]:
        """Iterate over the deliveries, oldest first."""
        return (delivery for delivery in self._waiting if delivery is not None)

    def __bool__(self) -> bool:
        """Whether there is anything to say, be it that something was dropped."""
        return bool(self._waiting or self._dropped)

    @property
    def bytes(self) -> int:
        """The bytes of the messages that wait."""
        return self._bytes

    def put(self, delivery: Delivery, policy: Policy) -> int:
        """Let a delivery wait; tell how many others were let go for it.

        :raises TooSlow: the queue is full and the policy has no way to make room.
        """
        self._waiting.append(delivery)
        self._bytes += delivery.size
        self._limits.budget.hold(delivery)
        if self._newest is not None:
            self._newest.add(delivery.message.channel, self._first + len(self._waiting) - 1)
        eager = policy is Policy.LATEST and self._limits.eager
        return self._make_room(policy) if eager or self._is_over() else 0

    def take(self, enough: int) -> list[Delivery]:
        """Take the oldest deliveries, until they have `enough` bytes or nothing waits any more."""
        taken: list[Delivery] = []
        goal = self._bytes - enough
        while self._waiting and self._bytes > goal:
            taken.append(self._pop())
        return taken

    @property
    def has_dropped(self) -> bool:
        """Whether anything was dropped and not taken yet."""
        return bool(self._dropped)

    def take_dropped(self, most: int | None = None) -> dict[str, DroppedRange]:
        """Take what was dropped since the last call, by channel; it is older than all that still waits.

        :param most: the channels that are taken at most; None: all.
        """
        taken = dict(islice(self._dropped.items(), most))
        for channel in taken:
            del self._dropped[channel]
        if not self._dropped:
            self._dropped = {}
        return taken

    def retain(self, wanted: Callable[[Message], bool]) -> None:
        """Let go of the messages that are not wanted any more."""
        kept = []
        for delivery in self:
            if wanted(delivery.message):
                kept.append(delivery)
            else:
                self._release(delivery)
        if len(kept) < len(self):
            self._replace(kept)

    def shed(self, policy: Policy) -> int:
        """Let go of as much as the policy allows, since too much waits in all; tell how many were let go.

        :raises NoRoom: the policy is to disconnect.
        """
        before = len(self)
        if policy is Policy.DISCONNECT:
            raise NoRoom("too much waits for all subscribers together, and most of it for this one")
        if policy is Policy.LATEST:
            self._keep_newest()
        while len(self) > 1 and policy is Policy.DROP:
            self._drop(self._pop().message)
        return before - len(self)

    def clear(self) -> None:
        """Let go of all: nobody will read it."""
        self._limits.budget.release_all(self)
        self._bytes = 0
        self._newest = None
        self._replace([])

    def _pop(self) -> Delivery:
        while (delivery := self._waiting.popleft()) is None:
            self._first += 1
            self._holes -= 1
        if self._newest is not None:
            self._newest.remove(delivery.message.channel, self._first)
        self._first += 1
        self._release(delivery)
        return delivery

    def _release(self, delivery: Delivery) -> None:
        self._bytes -= delivery.size
        self._limits.budget.release(delivery)

    def _is_over(self) -> bool:
        waiting = len(self._waiting) - self._holes
        return waiting > 1 and (waiting > self._limits.messages or self._bytes > self._limits.bytes)

    def _make_room(self, policy: Policy) -> int:
        before = len(self)
        if policy is Policy.DROP:
            while self._is_over():
                self._drop(self._pop().message)
        elif policy is Policy.LATEST:
            self._keep_newest()
        if self._is_over():
            raise TooSlow(
                f"more than {self._limits.messages} messages or {self._limits.bytes} bytes wait for this subscriber"
            )
        return before - len(self)

    def _keep_newest(self) -> None:
        """Remove the superseded messages. Their places stay empty until most are."""
        newest = self._newest
        if newest is None:
            newest = self._newest = _Newest()
            for place, each in enumerate(self._waiting, self._first):
                assert each is not None, "there are no holes before the newest are tracked"
                newest.add(each.message.channel, place)
        for place in newest.superseded:
            delivery = self._waiting[place - self._first]
            assert delivery is not None, "a superseded message waits"
            self._waiting[place - self._first] = None
            self._holes += 1
            self._release(delivery)
        newest.superseded.clear()
        if self._holes * 2 > len(self._waiting):
            self._replace(list(self))

    def _replace(self, deliveries: list[Delivery]) -> None:
        """Hold these only, of those that wait, without a hole."""
        self._waiting = deque(deliveries)
        self._first = self._holes = 0
        if self._newest is not None:
            self._newest = _Newest()
            for place, delivery in enumerate(deliveries):
                self._newest.add(delivery.message.channel, place)

    def _drop(self, message: Message) -> None:
        before = self._dropped.get(message.channel)
        self._dropped[message.channel] = DroppedRange(before.start if before else message.prev, message.id)
