"""How long deliveries took: figures, and a plot for a terminal. Pure."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

_STEPS = tuple(each * 10**power for power in range(-5, 2) for each in (1, 2, 5))
"""Bounds of the bars in seconds, from 10 µs to 50 s: 1, 2 and 5 times each power of ten."""
_FINE = 50
"""How many times finer than the bars figures are counted: within a hundredth or two, whatever their number."""
_WIDTH = 50
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


class Latencies:
    """Counts durations without keeping each, as there may be millions."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        key = _key(seconds)
        self._counts[key] = self._counts.get(key, 0) + 1
        self.count += 1
        self.most = max(self.most, seconds)

    def figures(self) -> Mapping[str, float]:
        """Give shares and the most, in seconds: half of all took at most ``p50``."""
        if not self.count:
            return {}
        return {name: self._at(share) for name, share in SHARES.items()} | {"max": self.most}

    def bars(self) -> Iterator[str]:
        """Give the lines of a plot: from the first bar that has something to the last."""
        totals = [0] * (len(_STEPS) + 1)
        for key, count in self._counts.items():
            totals[bisect_left(_STEPS, _middle(key))] += count
        filled = [place for place, total in enumerate(totals) if total]
        for place in range(filled[0], filled[-1] + 1) if filled else ():
            bound = in_words(_STEPS[place]) if place < len(_STEPS) else "more"
            width = round(_WIDTH * totals[place] / max(totals))
            yield f"{bound:>8} |{'#' * width:<{_WIDTH}} {totals[place]:,}"

    def _at(self, share: float) -> float:
        wanted, seen = share * self.count, 0
        for key in sorted(self._counts):
            seen += self._counts[key]
            if seen >= wanted:
                return min(_middle(key), self.most)
        return self.most


def in_words(seconds: float) -> str:
    """Write a duration with its unit: ``1.5 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _key(seconds: float) -> int:
    """Give the number of a step on a scale of powers: the mantissa in `_FINE` parts."""
    micros = max(seconds * 1e6, 1.0)
    power = len(str(int(micros))) - 1
    return power * _FINE * 9 + int((micros / 10**power - 1) * _FINE)


def _middle(key: int) -> float:
    power, part = divmod(key, _FINE * 9)
    return float(10**power * (1 + (part + 0.5) / _FINE) * 1e-6)
