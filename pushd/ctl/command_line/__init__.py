"""The command line of `pushctl`: the argument parser.

A command is named as ``MODULE:FUNCTION`` of `pushd.ctl`, which is imported only if it is run, so that no command waits
for the imports of another one, and help for none.
"""

from argparse import ArgumentParser

from pushd import __version__
from pushd.ctl.command_line.command import STATUSES, add_command
from pushd.ctl.command_line.credentials import add_credential_commands
from pushd.ctl.command_line.diagnosis import add_diagnosis_commands
from pushd.ctl.command_line.inspection import add_inspection_commands
from pushd.ctl.command_line.messages import add_message_commands
from pushd.ctl.command_line.operation import add_operation_commands
from pushd.ctl.connection_options import add_connection_options
from pushd.ctl.parser import CommandParser

SHELLS = ("bash", "zsh", "tcsh")
"""The shells whose completion can be printed."""


def build_parser() -> ArgumentParser:
    """Return the parser of the command line."""
    parser = CommandParser(
        prog="pushctl", description="Publish to, subscribe to and inspect a running pushd.", epilog=STATUSES
    )
    parser.add_argument("--version", action="version", version=f"pushctl {__version__}")
    add_connection_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_message_commands(commands)
    add_inspection_commands(commands)
    add_operation_commands(commands)
    add_credential_commands(commands)
    add_diagnosis_commands(commands)
    completion = add_command(
        commands,
        "completion",
        "completion:completion",
        "print the completion script of a shell",
        "pushctl completion bash > ~/.local/share/bash-completion/completions/pushctl",
        "pushctl completion zsh > ~/.zfunc/_pushctl  # a directory of $fpath",
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    return parser
