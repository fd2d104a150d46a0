"""Repeated events of the audit log: the first is written, and the others of the same kind are counted."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Final

MAX_KINDS: Final = 250
"""The most kinds that are told apart at a time."""

Fields = Mapping[str, object]
"""The fields of an event."""


class Repeats:
    """The events since the last `take`, by kind. Those of further kinds are counted by their code only."""

    def __init__(self, max_kinds: int = MAX_KINDS) -> None:
        self._max_kinds = max_kinds
        self._first: dict[Hashable, dict[str, object]] = {}
        """The fields that all events of a kind have in common; the others are None."""
        self._counts: Counter[Hashable] = Counter()
        """The events after the first, by kind."""
        self._others: Counter[tuple[str, str | None]] = Counter()
        """The events of further kinds, by name and code."""

    def __bool__(self) -> bool:
        """Return whether there was an event."""
        return bool(self._first or self._others)

    def is_first(self, kind: Hashable, event: str, code: str | None, fields: Fields) -> bool:
        """Count an event; return whether it is the first of its kind, and is to be written."""
        first = self._first.get(kind)
        if first is not None:
            self._counts[kind] += 1
            for name, value in first.items():
                if value is not None and fields[name] != value:
                    first[name] = None
            return False
        if len(self._first) >= self._max_kinds:
            self._others[event, code] += 1
            return False
        self._first[kind] = dict(fields)
        return True

    def take(self) -> list[tuple[Fields, int]]:
        """Return what was counted and not written, and begin anew: fields, and the number of events that have them."""
        counted: list[tuple[Fields, int]] = [(self._first[kind], count) for kind, count in self._counts.items()]
        counted += [({"event": event, "code": code}, count) for (event, code), count in self._others.items()]
        self._first.clear()
        self._counts.clear()
        self._others.clear()
        return counted
