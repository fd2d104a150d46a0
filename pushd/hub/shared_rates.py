"""Rates over all nodes: once a second, not per publish, nodes exchange what was taken from token buckets.

A node allows what its own bucket has, and then takes from it what other nodes have used. So the average is that of the
quota. A burst may be published once at each node, in the time until the exchange.
"""

from collections.abc import Collection
from itertools import islice
from typing import Any, Final

from msgspec import json
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.backends.interface import Backend
from pushd.core.errors import Refusal
from pushd.core.identity import QuotaKey
from pushd.core.token_bucket import TokenBuckets
from pushd.net.eager_task import run_eagerly

_SECONDS: Final = 1.0
_FIRST_SECONDS: Final = 0.05
"""After how long the first use of a bucket is reported, so that a publisher that changes the node gains little."""
_BUCKETS: Final = 500
"""The most buckets in one call."""

_Bucket = tuple[TokenBuckets, str, QuotaKey]
"""The buckets, their unit, and the key."""


class SharedRates:
    """Exchanges what was taken from buckets. It does nothing if the backend has no other nodes.

    What cannot be exchanged, because the backend is unavailable, is not exchanged later: each node counts alone then.
    """

    log = Logger()

    def __init__(self, backend: Backend, clock: IReactorTime) -> None:
        self._backend = backend
        self._clock = clock
        self._used: dict[_Bucket, float] = {}
        """Seconds that it takes to refill what was taken since the last exchange."""
        self._exchanged: Collection[_Bucket] = ()
        """The buckets of the last exchange."""
        self._timer: IDelayedCall | None = None
        self._is_exchanging = False

    def add(self, buckets: TokenBuckets, unit: str, key: QuotaKey, seconds: float) -> None:
        """Note that a bucket takes longer to refill, by some seconds; by fewer if they are negative."""
        if not self._backend.has_nodes:
            return
        bucket = buckets, unit, key
        used = self._used.get(bucket)
        self._used[bucket] = seconds if used is None else used + seconds
        if used is None:
            self._schedule(_SECONDS if bucket in self._exchanged else _FIRST_SECONDS)

    def stop(self) -> None:
        """Stop the exchange."""
        self._used.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, seconds: float) -> None:
        if self._is_exchanging:
            return
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._exchange_soon)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _exchange_soon(self) -> None:
        self._timer = None
        self._is_exchanging = True
        run_eagerly(self._exchange(), self._on_bug)

    async def _exchange(self) -> None:
        used = {bucket: self._used.pop(bucket) for bucket in list(islice(self._used, _BUCKETS))}
        names = {f"{unit[0]}{json.encode(key).decode()}": bucket for bucket in used for _, unit, key in (bucket,)}
        try:
            full = await self._backend.exchange_rates({name: used[bucket] for name, bucket in names.items()})
        except Refusal:
            full = {}
        finally:
            self._is_exchanging = False
        now = self._clock.seconds()
        for name, seconds in full.items():
            buckets, _, key = bucket = names[name]
            buckets.delay(key, seconds + max(0.0, self._used.get(bucket, 0.0)), now)
        self._exchanged = used.keys()
        if self._used:
            self._schedule(_FIRST_SECONDS if len(used) == _BUCKETS else _SECONDS)

    def _on_bug(self, failure: Any) -> None:
        self.log.failure("Exchanging rates with other nodes failed", failure)
