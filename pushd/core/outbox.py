"""The outbox: what waits for a slow subscriber, within a limit and with a policy for when it is full.

``disconnect`` gives the subscriber up with its cursor intact, ``drop`` lets go of the oldest and remembers the
gap, ``latest`` keeps only the newest message of each channel.
"""

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
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
class Limits:
    """How much may wait for one subscriber. One message may always wait, whatever its size."""

    messages: int = 1000
    bytes: int = 1 << 20
    eager: bool = False
    """Whether `Policy.LATEST` lets go of a message as soon as there is a newer one, not only when the queue is full."""
    budget: Budget = field(default_factory=Budget, compare=False)
    """What may wait in all."""


class Lost(NamedTuple):
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


class Outbox:
    """A bounded queue of deliveries."""

    __slots__ = ("_bytes", "_dropped", "_limits", "_waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._dropped: dict[str, Lost] = {}

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self._waiting)

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
        eager = self._limits.eager and policy is Policy.LATEST and len(self._waiting) > 1
        return self._make_room(policy) if eager or self._is_over() else 0

    def take(self, enough: int) -> list[Delivery]:
        """Take the oldest deliveries, until they have `enough` bytes or nothing waits any more."""
        taken: list[Delivery] = []
        goal = self._bytes - enough
        while self._waiting and self._bytes > goal:
            taken.append(self._pop())
        return taken

    def take_dropped(self) -> dict[str, Lost]:
        """Take what was dropped since the last call, by channel; it is older than all that still waits."""
        dropped, self._dropped = self._dropped, {}
        return dropped

    def keep(self, wanted: Callable[[Message], bool]) -> None:
        """Let go of the messages that are not wanted any more."""
        for _ in range(len(self._waiting)):
            delivery = self._pop()
            if wanted(delivery.message):
                self._waiting.append(delivery)
                self._bytes += delivery.size
                self._limits.budget.hold(delivery)

    def shed(self, policy: Policy) -> int:
        """Let go of as much as the policy allows, since too much waits in all; tell how many were let go.

        :raises NoRoom: the policy is to disconnect.
        """
        before = len(self._waiting)
        if policy is Policy.DISCONNECT:
            raise NoRoom("too much waits for all subscribers together, and most of it for this one")
        if policy is Policy.LATEST:
            self._keep_newest()
        while len(self._waiting) > 1 and policy is Policy.DROP:
            self._drop(self._pop().message)
        return before - len(self._waiting)

    def clear(self) -> None:
        """Let go of all: nobody will read it."""
        while self._waiting:
            self._pop()

    def _pop(self) -> Delivery:
        delivery = self._waiting.popleft()
        self._bytes -= delivery.size
        self._limits.budget.release(delivery)
        return delivery

    def _is_over(self) -> bool:
        waiting = len(self._waiting)
        return waiting > 1 and (waiting > self._limits.messages or self._bytes > self._limits.bytes)

    def _make_room(self, policy: Policy) -> int:
        before = len(self._waiting)
        if policy is Policy.DROP:
            while self._is_over():
                self._drop(self._pop().message)
        elif policy is Policy.LATEST:
            self._keep_newest()
        if self._is_over():
            raise TooSlow(
                f"more than {self._limits.messages} messages or {self._limits.bytes} bytes wait for this subscriber"
            )
        return before - len(self._waiting)

    def _keep_newest(self) -> None:
        newest = {delivery.message.channel: delivery.message for delivery in self._waiting}
        self.keep(lambda message: newest[message.channel] is message)

    def _drop(self, message: Message) -> None:
        before = self._dropped.get(message.channel)
        self._dropped[message.channel] = Lost(before.start if before else message.prev, message.id)
