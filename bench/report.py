"""Text tables of the figures, for the terminal and in Markdown."""

from collections.abc import Iterable, Sequence

from bench.cases import CASES
from bench.cases.interface import Case
from bench.figures import Figures
from bench.goals import Goal

_NOTHING = "–"
_MET = {True: "met", False: "not met"}
Table = list[list[str]]
"""Rows of cells; the first row is the header."""


def measured(figures: Figures, case: Case) -> Table:
    """Return the medians of a case."""
    table = [["", *(column.heading for column in case.columns)]]
    for row in figures.rounds[case.name]:
        cells = [_number(figures.median(case.name, row, column.key), column.digits) for column in case.columns]
        table.append([row, *cells])
    return table


def judged(goals: Iterable[Goal]) -> Table:
    """Return a table of measured figures and limits."""
    rows = [[goal.what, _number(goal.measured, goal.digits), goal.expected, _MET[goal.is_met]] for goal in goals]
    return [["goal", "reached", "wanted", ""], *rows]


def faults(figures: Figures) -> str:
    """Return sentences about the faults in deliveries."""
    checked = f"{figures.deliveries:,} deliveries were checked"
    if not figures.deliveries:
        return ""
    if not figures.faults:
        return f"{checked}: all arrived, once and in order, and no connection was cut."
    return f"{checked}, and some were wrong:\n\n" + "\n".join(
        f"- {row}: " + ", ".join(f"{count} {fault}" for fault, count in counts.items()) + "."
        for row, counts in figures.faults.items()
    )


def as_text(figures: Figures, goals: Sequence[Goal]) -> str:
    """Return the full report for a terminal."""
    parts = []
    for name in figures.rounds:
        case = CASES[name]
        parts.append(f"{case.title} ({name})\n{columns(measured(figures, case))}")
        if own := [goal for goal in goals if goal.case == name]:
            parts.append(columns(judged(own)))
    parts += [text for text in (faults(figures), *figures.notes) if text]
    return "\n\n".join(parts) + "\n"


def columns(table: Table) -> str:
    """Align a table by spaces: the first column to the left, what follows to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """Write a table as Markdown."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None else f"{value:,.{digits}f}"
