"""Which channels the connections of this node have entered."""

from collections.abc import Iterable, Mapping
from sys import intern
from typing import Final, NamedTuple


class Membership(NamedTuple):
    """That a connection has entered a channel."""

    channel: str
    id: str
    is_subscription: bool
    """Whether it came with a subscription, and ends with it."""


_NONE: Final[Mapping[str, Membership]] = {}


class Memberships:
    """The memberships of all connections that have any. Most of these have one, which takes 120 bytes."""

    def __init__(self) -> None:
        self._held: dict[int, Membership | dict[str, Membership]] = {}
        """By the number of the peer: its only one, or several by channel."""

    def __len__(self) -> int:
        """Return the number of connections that have any."""
        return len(self._held)

    def of(self, number: int) -> Mapping[str, Membership]:
        """Return the memberships of a connection, by channel."""
        held = self._held.get(number)
        if held is None:
            return _NONE
        return {held.channel: held} if isinstance(held, Membership) else held

    def add(self, number: int, channel: str, id: str, *, is_subscription: bool) -> None:
        """Add a membership of a connection, or replace that of the channel."""
        membership = Membership(intern(channel), id, is_subscription)
        held = self._held.get(number)
        if held is None or (isinstance(held, Membership) and held.channel == channel):
            self._held[number] = membership
        elif isinstance(held, Membership):
            self._held[number] = {held.channel: held, channel: membership}
        else:
            held[channel] = membership

    def remove(self, number: int, channels: Iterable[str]) -> None:
        """Remove memberships of a connection, as far as it has them."""
        removed = set(channels)
        left = {name: each for name, each in self.of(number).items() if name not in removed}
        if not left:
            self._held.pop(number, None)
        else:
            self._held[number] = left if len(left) > 1 else next(iter(left.values()))
