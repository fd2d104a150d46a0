"""What a case is: crews to measure, and what is measured of each in every round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.testbed import Scenario, Testbed


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    many: int = 1000
    """Subscribers of the usual cases."""
    crowd: int = 10_000
    rounds: int = 5
    effort: float = 1.0
    """By which the number of messages in a round is multiplied."""

    def times(self, usual: int) -> int:
        """Give how often something is done that is usually done so often."""
        return max(1, round(usual * self.effort))


@dataclass(frozen=True)
class Column:
    """A figure of each row."""

    key: str
    heading: str
    digits: int = 1
    """Digits behind the point."""


class Case(Protocol):
    """Something to compare."""

    name: str
    title: str
    about: str
    """How it is measured, for the report."""
    columns: Sequence[Column]
    group: str
    """Cases of one group share their servers and crews, which are all there at once, so that rounds can be interleaved.
    Those of no group have a server for each crew, one after the other."""
    seconds: int
    """What five rounds take on a quiet machine, about; by these the time that there is gets shared out."""
    max_rounds: int = 5
    """For what does not differ from one round to the next, one is enough."""

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """Give the rows."""
        raise NotImplementedError

    def prepare(self, testbed: Testbed, scale: Scale) -> None:
        """Do what has to be done once before the first round."""
        return

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """Measure one row in one round; the keys are those of columns."""
        raise NotImplementedError
