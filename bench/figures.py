"""Measured figures by case, row and round, with their medians and quotients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Figures:
    """The figures of a run of the benchmark."""

    rounds: dict[str, dict[str, list[Mapping[str, float]]]] = field(default_factory=dict)
    """Figures of each round, by case and row."""
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    """Number of faults, by row and kind."""
    deliveries: int = 0
    """Number of deliveries checked."""
    notes: list[str] = field(default_factory=list)
    """What was omitted, and why."""

    def add(self, case: str, row: str, figures: Mapping[str, float]) -> None:
        """Add the figures of a round."""
        self.rounds.setdefault(case, {}).setdefault(row, []).append(figures)

    def add_faults(self, row: str, faults: Mapping[str, int]) -> None:
        """Add the faults in the deliveries of a row."""
        for fault, count in faults.items():
            if count:
                row_faults = self.faults.setdefault(row, {})
                row_faults[fault] = row_faults.get(fault, 0) + count

    def median(self, case: str, row: str, key: str) -> float | None:
        """Return the median over the rounds, or None if there is no such figure."""
        values = [each[key] for each in self.rounds.get(case, {}).get(row, ()) if key in each]
        return median(values) if values else None

    def quotient(self, case: str, key: str, row: str, by: str, by_key: str = "") -> float | None:
        """Return the median of one row's figure divided by another's in the same round; None if either is missing.

        What else the machine does in a round, it does to both.
        """
        rows = self.rounds.get(case, {})
        pairs = zip(rows.get(row, ()), rows.get(by, ()), strict=False)
        by_key = by_key or key
        values = [one[key] / other[by_key] for one, other in pairs if key in one and other.get(by_key)]
        return median(values) if values else None
