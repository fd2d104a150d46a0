"""What a table of channels is made of, read from `/channels`, `/pub/CHANNEL`, `/connections` and `/metrics`."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pushd.client import Refused
from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.inspection import list_connections

_MAX_NAMES = 1000
"""The most channels that are read from the list."""
_MAX_STATES = 50
"""The most channels whose state is read for one sample, each by a request."""
_TOTALS = ("pushd_published_total", "pushd_delivered_total", "pushd_queue_bytes", "pushd_connections")
_METRIC = re.compile(rf"^({'|'.join(_TOTALS)})(?:\{{[^}}]*\}})? ([0-9.e+]+)$", re.MULTILINE)


class ChannelState(NamedTuple):
    """The state of a channel."""

    messages: int
    """Number of messages in the history."""
    last: str | None
    """Id of the newest message."""
    subscribers: int


class ConnectionState(NamedTuple):
    """The state of a connection."""

    topics: str
    """Its topics, separated by commas."""
    messages: int
    """Number of messages sent to it."""
    queue_bytes: int


class Sample(NamedTuple):
    """The state of a daemon at one time."""

    time: float
    """Monotonic seconds."""
    channels: Mapping[str, ChannelState | None]
    """By name; None where the state was not read, or may not be read."""
    connections: Mapping[str, ConnectionState]
    """By id."""
    totals: Mapping[str, float]
    """The metrics, summed over their labels; empty if they may not be read."""
    has_more: bool = False
    """Whether there are more channels than were read."""


class Sampler:
    """Reads samples of a daemon.

    :param prefix: only channels and topics that begin with this.
    """

    def __init__(self, api: ApiClient, prefix: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._prefix = prefix
        self._clock = clock

    def read(self) -> Sample:
        """Return a sample.

        :raises Refused: when the list of channels or connections is refused.
        :raises ConnectionFailed: when the daemon does not answer.
        """
        page = self._api.request_json("GET", "/channels", {"prefix": self._prefix or None, "limit": _MAX_NAMES})
        found = {each["id"]: _connection(each) for each in list_connections(self._api)}
        connections = {id: each for id, each in found.items() if each.topics.startswith(self._prefix)}
        names = dict.fromkeys([*_subscribed_channels(connections.values()), *page["channels"]])
        states = {name: self._state(name) if number < _MAX_STATES else None for number, name in enumerate(names)}
        return Sample(self._clock(), states, connections, self._totals(), page["next"] is not None)

    def _state(self, channel: str) -> ChannelState | None:
        try:
            fields = self._api.request_json("GET", f"/pub/{quote_path(channel)}")
        except Refused:  # it may not be read, or is gone
            return None
        return ChannelState(fields["messages"], fields["last"], fields["subscribers"])

    def _totals(self) -> Mapping[str, float]:
        try:
            text = self._api.request_text("GET", "/metrics")
        except Refused:
            return {}
        totals: Counter[str] = Counter()
        for name, value in _METRIC.findall(text):
            totals[name] += float(value)  # type: ignore[assignment]
        return totals


def _connection(fields: Mapping[str, Any]) -> ConnectionState:
    return ConnectionState(",".join(fields["topics"]), fields["messages"], fields["queue_bytes"])


def _subscribed_channels(connections: Iterable[ConnectionState]) -> Sequence[str]:
    """Return the channels to which connections subscribe by name alone, those with the most connections first."""
    counts = Counter(each.topics for each in connections if each.topics and not set("*,") & set(each.topics))
    return [name for name, _ in counts.most_common()]
