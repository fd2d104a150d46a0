"""Rows of a table of settings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar, cast

from pushd.config.mistakes import InvalidSettings, KeyPath, Mistake, Mistakes, key_of, suggestion
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


def read_fields(path: KeyPath, kind: Callable[..., T], table: object, *others: str, **more: object) -> T:
    """Return the object of a class of settings that a table of the file describes.

    :param path: of the table, for errors.
    :param kind: a dataclass.
    :param others: keys of the table that are no fields.
    :param more: values of fields that are not in the table.
    :raises InvalidSettings: with all that is invalid, unknown or missing.
    """
    if not isinstance(table, dict):
        raise InvalidSettings([Mistake(path, f"must be a section, written [{key_of(path)}]")])
    mistakes = Mistakes()
    rows = {row.name: row for row in fields(cast(Any, kind)) if row.metadata}
    values = dict(_values(path, rows, table, others, mistakes))
    mistakes.check()
    return kind(**more, **values)


def _values(
    path: KeyPath, rows: Mapping[str, Any], table: Mapping[str, object], others: Iterable[str], mistakes: Mistakes
) -> Iterator[tuple[str, Any]]:
    """Yield the valid settings of a table by their names, and collect the mistakes in the others."""
    known = (*rows, *others)
    for name, raw in table.items():
        if name in rows:
            with mistakes.collected((*path, name)):
                yield name, rows[name].metadata["parse"](raw)
        elif name not in known:
            key = key_of((*path, name))
            hint = suggestion(name, known, lambda word: key_of((*path, word)))
            mistakes.add((*path, name), f"unknown key {key}{hint}", names_key=True)
    for name, row in rows.items():
        if row.default is MISSING and name not in table:
            mistakes.add((*path, name), "is missing")
