"""The table of all channels of a log, with and without messages, and of what deleted and forgotten channels lost."""

from collections import OrderedDict
from typing import Final

from pushd.core.history import Bounds, Channel, Retention
from pushd.core.losses import LossIndex
from pushd.core.names import PRESENCE

RECORD_BYTES: Final = 600
"""Bytes of memory of the record of a channel."""


class ChannelGroup:
    """Channels that share bounds, each kind with the least recently used first.

    These are `OrderedDict`s because the first entry of a plain dictionary is found by a scan over the slots of all
    entries that were removed before it.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = 0
        """The bytes of memory that the kept messages take, approximately."""
        self.active: OrderedDict[str, Channel] = OrderedDict()
        """The channels with messages."""
        self.idle: OrderedDict[str, Channel] = OrderedDict()
        """The channels whose messages are all lost."""

    def __len__(self) -> int:
        """Return the number of channels, without those that were deleted."""
        return len(self.active) + len(self.idle)

    def place(self, channel: Channel) -> None:
        """Record the use of a channel: it becomes the most recently used, with or without messages."""
        name = channel.name
        if not channel.messages:
            self.active.pop(name, None)
            self.idle[name] = channel
        elif name in self.active:
            self.active.move_to_end(name)
        else:
            self.active[name] = channel


class ChannelTable:
    """The channels of a log.

    :ivar losses: the newest losses of all channels in the table.
    """

    def __init__(self, losses: LossIndex, bounds: Bounds) -> None:
        self.losses = losses
        self.users = ChannelGroup(bounds)
        """All channels but those of presence events."""
        self.events = ChannelGroup(bounds.of_events)
        """The channels of presence events."""
        self.forgotten = 0
        """The newest sequence that a forgotten channel lost. A channel that is not in the table may have lost messages
        up to it."""
        self._deleted: OrderedDict[str, Channel] = OrderedDict()
        """Deleted channels: older cursors are answered with a gap and the end."""

    def __len__(self) -> int:
        """Return the number of channels, without those that were deleted and those of presence events."""
        return len(self.users)

    @property
    def memory(self) -> int:
        """The bytes of memory of the records of all channels, also of deleted ones, without their messages."""
        return RECORD_BYTES * (len(self.users) + len(self.events) + len(self._deleted))

    def group_of(self, name: str) -> ChannelGroup:
        """Return the group of a channel, whether or not it is known."""
        return self.events if name.startswith(PRESENCE) else self.users

    def get(self, name: str) -> Channel | None:
        """Return a channel; None if it is unknown or was deleted."""
        group = self.group_of(name)
        return group.active.get(name) or group.idle.get(name)

    def get_any(self, name: str) -> Channel | None:
        """Return a channel, even if it was deleted; None if it is unknown."""
        return self.get(name) or self._deleted.get(name)

    def active(self) -> list[Channel]:
        """Return all channels with messages, in any order."""
        # An `OrderedDict` looks up each key as it goes along its own order, which takes a hundred times as long.
        return [*dict.values(self.users.active), *dict.values(self.events.active)]

    def names(self) -> list[str]:
        """Return the names of all channels, without those that were deleted, in any order."""
        groups = (self.users.active, self.users.idle, self.events.active, self.events.idle)
        return [name for group in groups for name in dict.keys(group)]

    def deleted_at(self, name: str) -> int:
        """Return the sequence of the deletion of a channel; 0 if it was not deleted, or was created again."""
        deleted = self._deleted.get(name)
        return 0 if deleted is None else deleted.deleted_at

    def add(self, name: str, head: int, retention: Retention) -> Channel:
        """Create a channel, with the losses of a deleted or forgotten one; `ChannelGroup.place` must follow.

        :param head: the newest sequence of the log.
        """
        channel = Channel(name, retention)
        channel.lost, channel.lost_reason = self.forgotten, "unknown"
        deleted = self._deleted.pop(name, None)
        if deleted is not None and deleted.lost > self.forgotten:
            channel.lost, channel.lost_time, channel.lost_reason = deleted.lost, deleted.lost_time, deleted.lost_reason
            channel.loss_number, channel.head_at_loss = deleted.loss_number, deleted.head_at_loss
            self.losses.replace(channel)
        elif self.forgotten:
            self.losses.add(channel, head)
        return channel

    def take(self, name: str) -> Channel | None:
        """Remove and return a channel; None if it is unknown or was deleted."""
        group = self.group_of(name)
        return group.active.pop(name, None) or group.idle.pop(name, None)

    def add_deleted(self, channel: Channel, limit: int) -> None:
        """Keep what a deleted channel lost; of at most `limit` deleted channels, the newest."""
        self._deleted[channel.name] = channel
        if len(self._deleted) > limit:
            self._forget(self._deleted.pop(next(iter(self._deleted))))

    def forget_idle(self, group: ChannelGroup) -> bool:
        """Forget the least recently used idle channel of a group; return whether there was one."""
        if not group.idle:
            return False
        self._forget(group.idle.pop(next(iter(group.idle))))
        return True

    def _forget(self, channel: Channel) -> None:
        self.forgotten = max(self.forgotten, channel.lost)
        self.losses.remove(channel.name)
