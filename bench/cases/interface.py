"""The interface of a case: scenarios, and the figures measured for each of them in every round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.testbed import Scenario, Testbed


@dataclass(frozen=True)
class Scale:
    """The scale of the benchmark."""

    subscribers: int = 1000
    """Number of subscribers of most cases."""
    many_subscribers: int = 10_000
    """Number of subscribers of the cases with many."""
    rounds: int = 5
    effort: float = 1.0
    """Factor for the number of messages in a round."""

    def times(self, usual: int) -> int:
        """Return the number of repetitions, given the usual one."""
        return max(1, round(usual * self.effort))


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    key: str
    heading: str
    digits: int = 1
    """Digits after the decimal point."""


class Case(Protocol):
    """A comparison of scenarios."""

    name: str
    title: str
    about: str
    """How it is measured, for the report."""
    columns: Sequence[Column]
    group: str
    """Cases of one group share their servers, which all run at the same time, so that rounds can be interleaved. Cases
    without a group run one server per scenario, one after the other."""
    seconds: int
    """Approximate duration of five rounds on an idle machine; the available time is allocated in this proportion."""
    max_rounds: int = 5
    """Maximum number of rounds; one is enough for figures that do not vary."""

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """Return the scenarios, one per row."""
        raise NotImplementedError

    def prepare(self, testbed: Testbed, scale: Scale) -> None:
        """Prepare a testbed before the first round."""
        return

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """Measure one scenario in one round; return figures by column key."""
        raise NotImplementedError
