"""Programs that are run for messages and requests."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from pushd.client.messages import Message
from pushd.ctl.output import message_data

_VARIABLES = {
    "PUSHD_ID": attrgetter("id"),
    "PUSHD_CHANNEL": attrgetter("channel"),
    "PUSHD_EVENT": attrgetter("event"),
    "PUSHD_CONTENT_TYPE": attrgetter("content_type"),
    "PUSHD_FROM": attrgetter("sender"),
}
"""The environment variables of a program, and what of the message they contain, if it has that."""


class ProgramResult(NamedTuple):
    """How a program ended."""

    failure: str = ""
    """What failed, after the name of the program; empty if it succeeded."""
    output: bytes = b""
    """Its standard output, if that was captured."""


def run_program(command: str | Sequence[str], message: Message, *, captures_output: bool = False) -> ProgramResult:
    """Run a program with the data of a message on its standard input.

    :param command: a command line, which is split as a shell does it, or the program and its arguments.
    :param captures_output: whether to return its standard output, which else is that of pushctl.
    """
    words = shlex.split(command) if isinstance(command, str) else command
    variables = {name: get(message) for name, get in _VARIABLES.items()}
    environ = {name: value for name, value in (os.environ | variables).items() if value is not None}
    stdout = subprocess.PIPE if captures_output else None
    try:
        done = subprocess.run(words, input=message_data(message), env=environ, stdout=stdout, check=False)
    except (OSError, ValueError) as error:  # ValueError: a null character in the environment
        return ProgramResult(f"cannot be run: {getattr(error, 'strerror', None) or error}")
    return ProgramResult(_describe_status(done.returncode), done.stdout or b"")


def _describe_status(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status}"
    return f"exited with status {status}" if status else ""
