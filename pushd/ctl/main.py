"""The entry point of `pushctl`."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module

from pushd.ctl.colors import Color, paint
from pushd.ctl.command_line import build_parser
from pushd.ctl.errors import EXIT_USAGE, CtlError
from pushd.ctl.output import escape_controls

_INTERRUPTED = 130
"""Exit status after SIGINT, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    command_line = build_parser()
    args, extra = command_line.parse_known_args(argv)
    if extra:
        _accept_trailing_text(command_line, args, extra)
    try:
        status = _run(args)
        sys.stdout.flush()
        return status
    except CtlError as error:
        return _fail(error, error.status)
    except ValueError as error:  # from an invalid --url
        return _fail(error, EXIT_USAGE)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return 0


def _run(args: Namespace) -> int:
    """Import the function of a command, which is named ``MODULE:FUNCTION`` of this package, and call it."""
    module, _, function = args.run.partition(":")
    status: int = getattr(import_module(f"pushd.ctl.{module}"), function)(args)
    return status


def _fail(error: Exception, status: int) -> int:
    name = paint("pushctl:", Color.RED, sys.stderr)
    print(f"{name} {escape_controls(str(error))}", file=sys.stderr)
    return status


def _accept_trailing_text(command_line: ArgumentParser, args: Namespace, extra: Sequence[str]) -> None:
    """Accept the text of a message after options too, where argparse no longer looks for it."""
    is_text = len(extra) == 1 and not extra[0].startswith("-") and getattr(args, "text", "") is None
    if not is_text or args.file or args.lines:
        command_line.error(f"unrecognized arguments: {' '.join(extra)}")
    args.text = extra[0]


def _discard_output() -> None:
    """Redirect standard output to the null device, after its reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
