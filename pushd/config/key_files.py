"""Files of keys and secrets, which settings name."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pushd.config.mistakes import InvalidSettings, KeyPath, Mistake, Mistakes

T = TypeVar("T")
_FILE_BYTES = 1 << 16


def read_key_files(path: KeyPath, files: Sequence[str], parse: Callable[[bytes, str], T]) -> tuple[T, ...]:
    """Parse files of keys; see `read_key_file`.

    :raises InvalidSettings: with all mistakes.
    """
    mistakes = Mistakes()
    keys = []
    for number, file in enumerate(files, 1):
        with mistakes.collected():
            keys.append(read_key_file(path, file, parse, at=(*path, number)))
    mistakes.check()
    return tuple(keys)


def read_key_file(path: KeyPath, file: str, parse: Callable[[bytes, str], T], at: KeyPath = ()) -> T:
    """Parse a file of keys.

    :param path: the setting that names it.
    :param parse: takes the content, and an id for keys without one: the name of the file, without its extension.
    :param at: the entry of the setting that names it.
    :raises InvalidSettings: when the file cannot be read, or is invalid.
    """
    try:
        return _parse_file(file, parse)
    except ValueError as error:
        raise InvalidSettings([Mistake(path, f"{file}: {error}", at=at)]) from None


def _parse_file(file: str, parse: Callable[[bytes, str], T]) -> T:
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise ValueError(f"must not exceed {_FILE_BYTES} bytes")
        return parse(content, Path(file).stem)
    except OSError as error:
        raise ValueError(error.strerror or error) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
