"""Rows of a table of settings, and the suggestion in the error about an unknown name."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from pushd.config.parsers import Parser

T = TypeVar("T")


def setting(
    default: object, parse: Parser[T], description: str, unit: str = "", alias: str = "", *, at_restart: bool = False
) -> T:
    """Return the dataclass field of a setting.

    :param default: the value as it would be written in the file.
    :param parse: returns the value of the setting, or raises ValueError.
    :param description: a sentence for help texts and the documentation.
    :param unit: of the value, also for the documentation.
    :param alias: a second name of the command-line option.
    :param at_restart: whether a new value takes effect only at the next start, and not by a reload.
    """
    row = {"default": default, "parse": parse, "description": description, "unit": unit, "alias": alias}
    row["at_restart"] = at_restart
    value: T = field(default=parse(default), metadata=row)
    return value


def required(parse: Parser[T], description: str, unit: str = "") -> T:
    """Return the dataclass field of a setting without a default, which the file must set; see `setting`."""
    value: T = field(metadata={"parse": parse, "description": description, "unit": unit})
    return value


def optional(parse: Parser[T], description: str, unit: str = "") -> T | None:
    """Return the dataclass field of a setting that is None if the file does not set it; see `setting`."""
    value: T | None = field(default=None, metadata={"parse": parse, "description": description, "unit": unit})
    return value


def suggestion(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Return a "did you mean" phrase to append to the error about an unknown word; empty if no known word is similar.

    :param known: the accepted words.
    :param form: a format string for the suggested word.
    """
    matches = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {form.format(matches[0])}?" if matches else ""


def parse_rows(key: str, kind: type[Any], table: Mapping[str, object], *others: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings that a section of the file contains, by the names of the fields of a class.

    :param key: the name of the section, for errors.
    :param others: keys of the section that are no fields.
    :raises ValueError: when one is invalid, unknown or missing. The text begins with its key.
    """
    rows = {row.name: row for row in fields(kind) if row.metadata}
    for name in table.keys() - rows.keys() - set(others):
        raise ValueError(f"unknown key {key}.{name}{suggestion(name, (*rows, *others), key + '.{}')}")
    for name, row in rows.items():
        if name in table:
            yield name, parse_value(f"{key}.{name}", row.metadata["parse"], table[name])
        elif row.default is MISSING:
            raise ValueError(f"{key}.{name}: is missing")


def parse_value(key: str, parse: Parser[T], raw: object) -> T:
    """Return the value of a setting.

    :raises ValueError: when it is invalid. The text begins with its key.
    """
    try:
        return parse(raw)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
