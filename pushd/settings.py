"""How a row of a table of settings is written down, and what is said about a name that is in none."""

import difflib
from collections.abc import Iterable
from dataclasses import field
from typing import TypeVar

from pushd.values import Parser

T = TypeVar("T")


def setting(
    default: object, parse: Parser[T], sentence: str, unit: str = "", alias: str = "", *, at_restart: bool = False
) -> T:
    """Make one row of the table.

    `default` is the value as the file would hold it, `alias` a second name of the option. `at_restart` tells that
    another value holds from the next start on, and not when the configuration is read again.
    """
    row = {"default": default, "parse": parse, "sentence": sentence, "unit": unit, "alias": alias}
    row["at_restart"] = at_restart
    value: T = field(default=parse(default), metadata=row)
    return value


def required(parse: Parser[T], sentence: str, unit: str = "") -> T:
    """Make one row that has no default: the file has to give the value."""
    value: T = field(metadata={"parse": parse, "sentence": sentence, "unit": unit})
    return value


def meant(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Give a question to follow a sentence about an unknown word, or nothing where no known one is like it."""
    near = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {form.format(near[0])}?" if near else ""
