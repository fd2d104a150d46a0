"""Rows of a table of settings, and the suggestion in the error about an unknown name."""

import difflib
from collections.abc import Iterable
from dataclasses import field
from typing import TypeVar

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


def suggestion(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Return a "did you mean" phrase to append to the error about an unknown word; empty if no known word is similar.

    :param known: the accepted words.
    :param form: a format string for the suggested word.
    """
    matches = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {form.format(matches[0])}?" if matches else ""
