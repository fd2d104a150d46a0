"""The entry point of `pushctl`."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pushd.ctl.command_line import build_parser

_INTERRUPTED = 130
"""Exit status after SIGINT, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    command_line = build_parser()
    args, extra = command_line.parse_known_args(argv)
    if extra:
        _accept_trailing_text(command_line, args, extra)
    try:
        # Imported here: help and wrong usage do not wait for the client.
        from pushd.ctl.execution import execute

        return execute(args)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return 0


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
