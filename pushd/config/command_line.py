"""The words of a command line: all mistakes are found, not only the first."""

from collections.abc import Sequence
from getopt import GetoptError, getopt
from typing import Final, NamedTuple

from pushd.config.mistakes import suggestion

_COMMON: Final = {"h": "help", "V": "version"}
"""Short options of many programs, and the long one that is meant."""


class CommandLine(NamedTuple):
    """Words that were examined."""

    words: list[str]
    """Those that are options, with their values."""
    mistakes: list[str]
    """A sentence about each of the others."""


def examine(words: Sequence[str], short: str, long: Sequence[str]) -> CommandLine:
    """Examine the words of a command line that accepts options only.

    :param short: the short options, as for `getopt.getopt`.
    :param long: the long options, as for `getopt.getopt`: those with a value end with ``=``.
    """
    rest = list(words)
    accepted: list[str] = []
    mistakes: list[str] = []
    while rest:
        try:
            options, others = getopt(rest, short, list(long))
        except GetoptError as error:
            mistakes.append(_sentence(error, long))
            if not _remove(rest, error.opt):
                break
            continue
        accepted += (_word(name, value, long) for name, value in options)
        rest = others[1:]
        mistakes += (f"unexpected argument {word!r}: only options are accepted" for word in others[:1])
    return CommandLine(accepted, mistakes)


def _word(name: str, value: str, long: Sequence[str]) -> str:
    """Return an option in one word. A value may be empty."""
    return f"{name}={value}" if f"{name.removeprefix('--')}=" in long else f"{name}{value}"


def _sentence(error: GetoptError, long: Sequence[str]) -> str:
    name = f"--{error.opt}" if len(error.opt) > 1 else f"-{error.opt}"
    if "requires argument" in error.msg:
        return f"option {name}: a value is missing"
    if "must not have" in error.msg:
        return f"option {name}: must not have a value"
    known = sorted(option.rstrip("=") for option in long)
    if "unique" in error.msg:
        return f"option {name}: could be {', '.join(f'--{each}' for each in known if each.startswith(error.opt))}"
    if error.opt in _COMMON:
        return f"unknown option {name}: did you mean --{_COMMON[error.opt]}?"
    return f"unknown option {name}{suggestion(error.opt, known, '--{}'.format).replace(',', ':', 1)}"


def _remove(words: list[str], option: str) -> bool:
    """Remove an option, and the word after it if that may be its value; return whether it was found."""
    for index, word in enumerate(words):
        name = word.partition("=")[0]
        if name == f"--{option}" or (len(option) == 1 and word.startswith(f"-{option}")):
            has_value = name == word and index + 1 < len(words) and not words[index + 1].startswith("-")
            del words[index : index + 1 + has_value]
            return True
    return False
