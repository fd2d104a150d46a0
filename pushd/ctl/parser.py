"""The argument parser of `pushctl`, which suggests the option or the command that was meant."""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")


class CommandParser(ArgumentParser):
    """A parser of options and commands. Those of its commands are of the same class."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Namespace, list[str]]:
        """Parse words; return what they set, and the positional words that are left over.

        :raises SystemExit: with a suggestion, when an option is unknown.
        """
        words = sys.argv[1:] if args is None else args
        self._check_options(self._before_command(words))
        parsed, extra = super().parse_known_args(words, namespace)
        self._check_options(extra)
        return parsed, extra

    def _before_command(self, words: Sequence[str]) -> Sequence[str]:
        """Return the words before the command; none if the parser has no commands.

        The value of an unknown option would be taken for the command.
        """
        commands = next((each.choices for each in self._actions if isinstance(each.choices, dict)), ())
        return words[: next((at for at, word in enumerate(words) if word in commands or word == "--"), 0)]

    def _check_options(self, words: Iterable[str]) -> None:
        """Refuse an option that is neither known nor the beginning of a known one.

        :raises SystemExit: with a suggestion.
        """
        for name in (word.partition("=")[0] for word in words if word.startswith("--") and word != "--"):
            if not any(known.startswith(name) for known in self._option_string_actions):
                self.error(f"unknown option {name}{_suggestion(name, self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        """Exit with a message about wrong usage."""
        if match := _INVALID_CHOICE.search(message):
            message += _suggestion(match[1], re.findall(r"[\w-]+", match[2]))
        super().error(message)


def _suggestion(word: str, known: Iterable[str]) -> str:
    matches = get_close_matches(word, known, n=1)
    return f": did you mean {matches[0]}?" if matches else ""
