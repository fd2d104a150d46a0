"""The parser of one command, and the values of options."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable
from typing import TypeAlias

from pushd.ctl.connection_options import add_connection_options_of_command
from pushd.ctl.parser import CommandParser

Commands: TypeAlias = "_SubParsersAction[CommandParser]"
"""The commands of a parser."""
STATUSES = "exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 daemon unreachable"


def add_command(
    commands: "Commands",
    name: str,
    run: str | None,
    summary: str,
    *examples: str,
) -> ArgumentParser:
    """Add a command.

    :param run: ``MODULE:FUNCTION`` of this package, which takes the parsed arguments and returns the exit status; None
        if the command has commands of its own.
    """
    epilog = "\n".join(["examples:", *(f"  {example}" for example in examples), "", STATUSES])
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    add_connection_options_of_command(command)
    return command


def whole_number(maximum: int, minimum: int = 1) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range, for `ArgumentParser.add_argument`."""

    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not minimum <= number <= maximum:
            raise ArgumentTypeError(f"must be a whole number from {minimum} to {maximum} (got {text!r})")
        return number

    return parse
