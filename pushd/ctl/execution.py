"""Runs a command, and turns what it raises into a sentence and an exit status."""

import sys
from argparse import Namespace
from importlib import import_module

from pushd.client import ConnectionFailed, PushdError
from pushd.ctl.colors import Color, paint
from pushd.ctl.errors import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, CtlError
from pushd.ctl.terminal import escape_controls


def execute(args: Namespace) -> int:
    """Run a command; print its error, if it fails; return the exit status."""
    try:
        status = _run(args)
        sys.stdout.flush()
        return status
    except CtlError as error:
        return _fail(error, error.status)
    except PushdError as error:
        return _fail(error, EXIT_UNREACHABLE if isinstance(error, ConnectionFailed) else EXIT_FAILED)
    except ValueError as error:  # from an invalid --url
        return _fail(error, EXIT_USAGE)


def _run(args: Namespace) -> int:
    """Import the function of a command, which is named ``MODULE:FUNCTION`` of this package, and call it."""
    module, _, function = args.run.partition(":")
    status: int = getattr(import_module(f"pushd.ctl.{module}"), function)(args)
    return status


def _fail(error: Exception, status: int) -> int:
    name = paint("pushctl:", Color.RED, sys.stderr)
    print(f"{name} {escape_controls(str(error))}", file=sys.stderr)
    return status
