"""The records of channels that share bounds."""

from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.core.history import Bounds


class RecordGroup:
    """The records of some channels, by whether they have messages."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = 0
        """What their messages count towards `Bounds.total_bytes`."""
        self.active: dict[str, ChannelRecord] = {}
        """Records of channels with messages by name, the least recently used first."""
        self.idle: dict[str, ChannelRecord] = {}
        """Records of channels without messages by name, likewise; they tell which messages were lost."""

    def __len__(self) -> int:
        """Return the number of channels that were not deleted."""
        return len(self.active) + len(self.idle)

    def take(self, name: str) -> ChannelRecord | None:
        """Remove and return a record; None if there is none."""
        return self.active.pop(name, None) or self.idle.pop(name, None)
