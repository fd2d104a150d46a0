"""What was measured: figures by case, row and round, and the medians and quotients of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Figures:
    """All that a run of the benchmark has measured."""

    rounds: dict[str, dict[str, list[Mapping[str, float]]]] = field(default_factory=dict)
    """By case and row, the figures of each round."""
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    """By row, and what was wrong, where something was."""
    deliveries: int = 0
    """How many were checked."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def add(self, case: str, row: str, figures: Mapping[str, float]) -> None:
        """Take the figures of a round."""
        self.rounds.setdefault(case, {}).setdefault(row, []).append(figures)

    def add_faults(self, row: str, faults: Mapping[str, int]) -> None:
        """Take note of what was wrong with the deliveries of a row."""
        for fault, count in faults.items():
            if count:
                row_faults = self.faults.setdefault(row, {})
                row_faults[fault] = row_faults.get(fault, 0) + count

    def median(self, case: str, row: str, key: str) -> float | None:
        """Give the median over the rounds, or None where there is no such figure."""
        values = [each[key] for each in self.rounds.get(case, {}).get(row, ()) if key in each]
        return median(values) if values else None

    def quotient(self, case: str, key: str, row: str, by: str, by_key: str = "") -> float | None:
        """Give the median of one row's figure divided by another's in the same round; None where one is not there.

        What else the machine does in a round, it does to both.
        """
        rows = self.rounds.get(case, {})
        pairs = zip(rows.get(row, ()), rows.get(by, ()), strict=False)
        by_key = by_key or key
        values = [one[key] / other[by_key] for one, other in pairs if key in one and other.get(by_key)]
        return median(values) if values else None
