"""`pushctl completion`: the completion of the command line by a shell."""

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterator

from pushd.ctl.command_line import build_parser
from pushd.ctl.errors import CtlError


def completion(args: Namespace) -> int:
    """Print the completion script of a shell.

    :raises CtlError: when shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise CtlError("shtab is not installed, which makes completion scripts: pip install shtab") from error
    parser = build_parser()
    for action in actions_of(parser):
        if action.metavar in ("FILE", "PEM") or action.dest == "file":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0


def actions_of(parser: ArgumentParser) -> Iterator[Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from actions_of(command)
