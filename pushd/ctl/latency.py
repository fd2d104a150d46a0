"""Delivery latencies: quantiles, and a histogram for a terminal. Pure."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

_BOUNDS = tuple(each * 10**power for power in range(-5, 2) for each in (1, 2, 5))
"""Upper bounds of the histogram bars in seconds, from 10 µs to 50 s: 1, 2 and 5 times each power of ten."""
_SUBDIVISIONS = 50
"""Counters per unit of the mantissa; quantiles are exact to within 2 %."""
_BAR_WIDTH = 50
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


class Latencies:
    """Counts durations in buckets, because there may be millions of them."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        key = _key(seconds)
        self._counts[key] = self._counts.get(key, 0) + 1
        self.count += 1
        self.maximum = max(self.maximum, seconds)

    def quantiles(self) -> Mapping[str, float]:
        """Return the quantiles and the maximum in seconds, such as ``p50`` for the median; empty without durations."""
        if not self.count:
            return {}
        return {name: self._at(fraction) for name, fraction in QUANTILES.items()} | {"max": self.maximum}

    def histogram(self) -> Iterator[str]:
        """Yield the lines of a histogram, from the first to the last bar that is not empty."""
        totals = [0] * (len(_BOUNDS) + 1)
        for key, count in self._counts.items():
            totals[bisect_left(_BOUNDS, _middle(key))] += count
        occupied = [index for index, total in enumerate(totals) if total]
        for index in range(occupied[0], occupied[-1] + 1) if occupied else ():
            bound = format_duration(_BOUNDS[index]) if index < len(_BOUNDS) else "more"
            width = round(_BAR_WIDTH * totals[index] / max(totals))
            yield f"{bound:>8} |{'#' * width:<{_BAR_WIDTH}} {totals[index]:,}"

    def _at(self, fraction: float) -> float:
        rank, seen = fraction * self.count, 0
        for key in sorted(self._counts):
            seen += self._counts[key]
            if seen >= rank:
                return min(_middle(key), self.maximum)
        return self.maximum


def format_duration(seconds: float) -> str:
    """Return a duration with its unit, such as ``1.5 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _key(seconds: float) -> int:
    """Return the bucket of a duration: power of ten in microseconds, and mantissa in `_SUBDIVISIONS` steps per unit."""
    micros = max(seconds * 1e6, 1.0)
    power = len(str(int(micros))) - 1
    return power * _SUBDIVISIONS * 9 + int((micros / 10**power - 1) * _SUBDIVISIONS)


def _middle(key: int) -> float:
    power, part = divmod(key, _SUBDIVISIONS * 9)
    return float(10**power * (1 + (part + 0.5) / _SUBDIVISIONS) * 1e-6)
