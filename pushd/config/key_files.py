"""Files of keys and secrets, which settings name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_FILE_BYTES = 1 << 16


def read_key_file(key: str, file: str, parse: Callable[[bytes, str], T]) -> T:
    """Parse a file of keys.

    :param key: the setting that names it.
    :param parse: takes the content, and an id for keys without one: the name of the file, without its extension.
    :raises ValueError: when the file cannot be read, or is invalid. The text begins with the setting.
    """
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise ValueError(f"must not exceed {_FILE_BYTES} bytes")
        return parse(content, Path(file).stem)
    except OSError as error:
        raise ValueError(f"{key}: {file}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{key}: {file}: is not JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{key}: {file}: {error}") from None
