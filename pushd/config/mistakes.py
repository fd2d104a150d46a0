"""Mistakes of a configuration: they are collected, so that one run reports all of them."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time
from typing import TypeVar

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
"""The keys that lead to a value of the file; the tables and the entries of a list are numbered from 1."""
_SHOWN = 64
"""The most characters of a value that an error quotes."""


class ConfigError(ValueError):
    """The configuration is invalid. Each text is one sentence that names the place and the setting.

    :ivar sentences: all mistakes.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences

    def __str__(self) -> str:
        """Return the mistake, or a list of them."""
        if len(self.sentences) == 1:
            return self.sentences[0]
        return "\n  ".join([f"{len(self.sentences)} mistakes in the configuration:", *self.sentences])


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake at a key."""

    path: KeyPath
    reason: str
    """A phrase to follow the key."""
    names_key: bool = False
    """Whether the reason contains the key, which then need not be shown before it."""
    at: KeyPath = ()
    """The key or entry at whose line it is, if that is another."""
    involves: tuple[KeyPath, ...] = ()
    """Other keys on which it depends: if one of them has a mistake itself, this one is not reported."""

    def __str__(self) -> str:
        """Return the sentence about it, without the place."""
        return self.reason if self.names_key else f"{key_of(self.path)}: {self.reason}"


class InvalidSettings(ValueError):
    """Settings are invalid. The text has a line for each mistake, which begins with its key."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class InvalidEntries(ValueError):
    """Entries of a list or keys of a table are invalid.

    :ivar reasons: a phrase for each of them, by its number in the list, from 1, or its key.
    """

    def __init__(self, reasons: dict[str | int, str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons.values()))


class Mistakes:
    """Collects mistakes."""

    def __init__(self) -> None:
        self._found: list[Mistake] = []

    def __iter__(self) -> Iterator[Mistake]:
        """Iterate over the mistakes in the order in which they were found."""
        return iter(self._found)

    def add(self, path: KeyPath, reason: str, *, names_key: bool = False) -> None:
        """Add a mistake."""
        self._found.append(Mistake(path, reason, names_key))

    def extend(self, mistakes: Iterable[Mistake]) -> None:
        """Add mistakes."""
        self._found += mistakes

    @contextmanager
    def collected(self, path: KeyPath = ()) -> Iterator[None]:
        """Add what is raised inside. Each line of the text of an error is a mistake.

        :param path: the key of a value whose error does not name it.
        """
        try:
            yield
        except InvalidSettings as error:
            self.extend(error.mistakes)
        except InvalidEntries as error:
            self.extend(Mistake(path, why, at=(*path, at)) for at, why in error.reasons.items())
        except ValueError as error:
            for line in str(error).splitlines() or [""]:
                self.add(path, line)

    def check(self) -> None:
        """Do nothing if there is no mistake.

        :raises InvalidSettings: with all mistakes.
        """
        if self._found:
            raise InvalidSettings(self._found)


def parse_value(path: KeyPath, parse: Callable[[object], T], raw: object) -> T:
    """Return the value of a key.

    :raises InvalidSettings: when it is invalid.
    """
    mistakes = Mistakes()
    with mistakes.collected(path):
        return parse(raw)
    raise InvalidSettings(mistakes)


def key_of(path: KeyPath) -> str:
    """Return a path as it is shown: ``channel[2].age``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_bare(part)}" for part in path).removeprefix(".")


def shown(value: object) -> str:
    """Return a value as an error quotes it: as it is written in the file, in short."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)[:_SHOWN]
    if isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(shown, value[:_SHOWN]))}]"
        return text if len(text) <= _SHOWN else "a list"
    kinds = (dict, "a table"), (date, "a date"), (time, "a time")
    return next((name for kind, name in kinds if isinstance(value, kind)), "this value")


def suggestion(word: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    """Return a "did you mean" phrase to append to the error about an unknown word; empty if no known word is similar.

    :param known: the accepted words.
    :param show: returns the suggested word as it is to be written.
    """
    matches = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {show(matches[0])}?" if matches else ""


def _bare(key: str) -> str:
    """Return a key as it is; in quotes if it would be unreadable or ambiguous without."""
    is_bare = key.isascii() and len(key) <= _SHOWN and key.replace("_", "").replace("-", "").isalnum()
    return key if is_bare else repr(key)
