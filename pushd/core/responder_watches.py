"""Watches of responders: the channels for which this node reports to other nodes when its responders leave."""

from typing import Final

MAX_WATCHES: Final = 10_000
"""The most channels that are watched. Beyond that the watch that was renewed first is dropped: requests on its channel
then wait for their timeout.
"""
_UNKNOWN: Final = -1.0
"""Differs from the number of any connection."""


class _Watch:
    """The watch of a channel: the nodes to report to, until when, and the oldest responder that was reported."""

    __slots__ = ("nodes", "oldest")

    def __init__(self, oldest: float) -> None:
        self.nodes: dict[str, float] = {}
        self.oldest = oldest


class ResponderWatches:
    """The watched channels.

    :param most: the most channels that are watched.
    """

    def __init__(self, most: int = MAX_WATCHES) -> None:
        self._most = most
        self._watches: dict[str, _Watch] = {}

    def __len__(self) -> int:
        """Return the number of watched channels."""
        return len(self._watches)

    def __contains__(self, channel: str) -> bool:
        """Return whether a channel is watched."""
        return channel in self._watches

    @property
    def channels(self) -> list[str]:
        """The watched channels."""
        return list(self._watches)

    def add(self, channel: str, node: str, oldest: float, until: float) -> None:
        """Watch a channel for a node.

        :param oldest: the number of the oldest responder now.
        :param until: how long changes are reported.
        """
        watch = self._watches.pop(channel, None)
        if watch is None:
            watch = _Watch(oldest)
        elif watch.oldest != oldest:
            watch.oldest = _UNKNOWN  # different ones were reported
        watch.nodes[node] = max(until, watch.nodes.get(node, until))
        self._watches[channel] = watch
        if len(self._watches) > self._most:
            del self._watches[next(iter(self._watches))]

    def changed(self, channel: str, oldest: float, now: float) -> list[str]:
        """Called with the oldest responder of a watched channel; return the nodes to which it is to be reported.

        :param oldest: infinite when there is none.
        """
        watch = self._watches.get(channel)
        if watch is None:
            return []
        watch.nodes = {node: until for node, until in watch.nodes.items() if until > now}
        if not watch.nodes:
            del self._watches[channel]
            return []
        if watch.oldest == oldest:
            return []
        watch.oldest = oldest
        return list(watch.nodes)

    def expire(self, now: float) -> None:
        """Drop the watches that have ended."""
        for channel in [each for each, watch in self._watches.items() if max(watch.nodes.values()) <= now]:
            del self._watches[channel]
