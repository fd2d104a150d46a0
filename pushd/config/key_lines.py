"""The lines of a TOML file at which its keys stand.

`tomllib` parses the file, and returns no positions. The file is scanned again here for them, after it was found valid:
so the scanner follows the syntax only as far as a valid file needs (https://toml.io/en/v1.0.0).
"""

import re
import tomllib
from collections.abc import Mapping

from pushd.config.mistakes import KeyPath

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:[^"\\]|\\.)*"' r"|'[^']*'", re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Return the line of each key, table and entry of a list, by its path.

    :param text: a valid TOML file.
    """
    return _Scanner(text).scan()


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a key; that of the table in which it is missing, if it has none."""
    return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), None)


class _Scanner:
    """Walks over the text of a file, and notes where keys are."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}
        """The number of tables of each list of tables so far."""

    def scan(self) -> Mapping[KeyPath, int]:
        """Return the lines."""
        table: KeyPath = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._lines

    def _header(self) -> KeyPath:
        """Read a header, `[a.b]` or `[[a.b]]`; return the path of the table that it begins."""
        is_list = self._text.startswith("[[", self._at)
        self._take(1 + is_list)
        line = self._line
        path = self._current(self._key())
        self._take(1 + is_list)
        self._note(path, line)
        if is_list:
            self._tables[path] = self._tables.get(path, 0) + 1
            path = (*path, self._tables[path])
            self._lines[path] = line
        return path

    def _current(self, key: KeyPath) -> KeyPath:
        """Return the path of a header, with the number of the last table of each list of tables above it."""
        path: KeyPath = ()
        for part in key[:-1]:
            path = (*path, part)
            path = (*path, self._tables[path]) if path in self._tables else path
        return (*path, key[-1])

    def _pair(self, table: KeyPath) -> None:
        """Read a key and its value."""
        line = self._line
        path = (*table, *self._key())
        self._note(path, line, len(table))
        self._take(1)  # =
        self._value(path)

    def _note(self, path: KeyPath, line: int, start: int = 0) -> None:
        """Note the line of a path, and of the tables that its dotted key creates."""
        for size in range(start + 1, len(path) + 1):
            self._lines.setdefault(path[:size], line)

    def _value(self, path: KeyPath) -> None:
        """Read a value, and note the keys and entries in it."""
        self._skip(_SPACE)
        if self._next() == "[":
            self._list(path)
        elif self._next() == "{":
            self._inline_table(path)
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _list(self, path: KeyPath) -> None:
        self._take(1)
        number = 0
        while self._after_space() != "]":
            number += 1
            self._lines[(*path, number)] = self._line
            self._value((*path, number))
            self._skip_comma()
        self._take(1)

    def _inline_table(self, path: KeyPath) -> None:
        self._take(1)
        while self._after_space() != "}":
            self._pair(path)
            self._skip_comma()
        self._take(1)

    def _key(self) -> KeyPath:
        """Read a dotted key, and the spaces around it."""
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._skip(_STRING):
                parts.append(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])
            else:
                self._skip(_BARE_KEY)
                parts.append(self._text[start : self._at])
            if self._after_space() != ".":
                return tuple(parts)
            self._take(1)

    def _skip_comma(self) -> None:
        if self._after_space() == ",":
            self._take(1)

    def _after_space(self) -> str:
        self._skip(_SPACE)
        return self._next()

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match is None:
            return False
        self._take(match.end() - self._at)
        return True

    def _take(self, size: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + size)
        self._at += size
