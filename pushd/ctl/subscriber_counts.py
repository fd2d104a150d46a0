"""The number of subscribers of a channel per transport, cached for a second."""

import time
from collections import OrderedDict
from collections.abc import Callable

from pushd.client import AuthenticationFailed, PushdError
from pushd.ctl.api_client import ApiClient, quote_path

_MAX_AGE_SECONDS = 1.0
_MIN_INTERVAL_SECONDS = 0.05
"""Minimum time between two requests, so that a busy daemon is not queried for every message."""
_REFUSED_SECONDS = 30.0
"""Time without requests after the token was refused."""
_MAX_CHANNELS = 1000


class SubscriberCounts:
    """A cache of subscriber counts per channel."""

    def __init__(self, client: ApiClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._last_request = -_MIN_INTERVAL_SECONDS

    def get(self, channel: str) -> str:
        """Return the subscriber counts per transport, such as ``sse=3 tcp=1``, or ``-`` if there are none or they are
        unknown.

        The counts are at most a second old, unless messages arrive on more channels than can be queried in that time.
        """
        now = self._clock()
        fetched_at, counts = self._cache.get(channel, (-_MAX_AGE_SECONDS, "-"))
        if now - fetched_at < _MAX_AGE_SECONDS or now - self._last_request < _MIN_INTERVAL_SECONDS:
            return counts
        self._last_request = now
        try:
            transports = self._client.request_json("GET", f"/pub/{quote_path(channel)}")["transports"]
            counts = " ".join(f"{name}={count}" for name, count in transports.items()) or "-"
        except AuthenticationFailed:
            counts = "-"
            self._last_request = now + _REFUSED_SECONDS
        except PushdError:
            counts = "-"
        self._cache[channel] = now, counts
        if len(self._cache) > _MAX_CHANNELS:
            self._cache.popitem(last=False)
        return counts
