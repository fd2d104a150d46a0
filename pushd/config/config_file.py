"""The configuration file: its content, and the lines of its keys."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pushd.config.key_lines import key_lines, line_of
from pushd.config.mistakes import ConfigError, KeyPath, Mistake

_BYTE_ORDER_MARK = "\ufeff"
_POSITION = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)")


class ConfigFile(NamedTuple):
    """A file that was read."""

    path: Path
    content: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def place_of(self, path: KeyPath) -> str:
        """Return where a key is, or the table in which it is missing: ``/etc/pushd.toml:12``."""
        line = line_of(self.lines, path)
        return f"{self.path}" if line is None else f"{self.path}:{line}"

    def sentence(self, mistake: Mistake) -> str:
        """Return the sentence about a mistake in it."""
        return f"{self.place_of(mistake.at or mistake.path)}: {mistake}"

    def line_of(self, mistake: Mistake) -> int:
        """Return the line of a mistake, to sort by; 0 if it has none."""
        return line_of(self.lines, mistake.at or mistake.path) or 0


def read_config_file(path: Path) -> ConfigFile:
    """Read a configuration file.

    :raises ConfigError: when it cannot be read, or is not TOML. The syntax is reported with its line and column.
    """
    text = _text_of(path)
    try:
        return ConfigFile(path, tomllib.loads(text), key_lines(text))
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(_syntax_error(path, text, str(error))) from error


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 at byte {error.start}") from error
    if text.startswith(_BYTE_ORDER_MARK):
        raise ConfigError(f"{path}:1: begins with a byte order mark; save it as UTF-8 without one")
    return text


def _syntax_error(path: Path, text: str, reason: str) -> str:
    match = _POSITION.search(reason)
    if match is None:
        return f"{path}: not TOML: {reason}"
    lines = text.split("\n")
    line, column = match.groups() if match[1] else (len(lines), len(lines[-1]) + 1)
    end = "" if match[1] else " at the end of the file"
    return f"{path}:{line}:{column}: not TOML: {reason[: match.start()]}{end}"
