"""The options that name the daemon and the credential, accepted before and after every command."""

import os
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pushd.ctl.credential import FILE_VARIABLE, VARIABLE

if TYPE_CHECKING:
    from argparse import _ActionsContainer

_URL, _TCP = "http://localhost:8080", "localhost:8081"


def add_connection_options(parser: ArgumentParser, environ: Mapping[str, str] = os.environ) -> None:
    """Add the options to the parser of the whole command line, with their defaults."""
    _add_options(parser, environ.get("PUSHCTL_URL", _URL), environ.get("PUSHCTL_TCP", _TCP), None)


def add_connection_options_of_command(parser: ArgumentParser) -> None:
    """Add the options to the parser of a command, which keeps the options that precede the command."""
    _add_options(parser, SUPPRESS, SUPPRESS, SUPPRESS)


def add_addresses_of_command(parser: ArgumentParser) -> None:
    """Add only the addresses to the parser of a command."""
    _add_addresses(parser, SUPPRESS, SUPPRESS)


def _add_options(parser: ArgumentParser, url: str, tcp: str, token: str | None) -> None:
    group = parser.add_argument_group("connection", "before or after the command")
    _add_addresses(group, url, tcp)
    group.add_argument(
        "--token",
        default=token,
        help="token to authenticate with; the list of processes shows it to other users, unlike that of --token-file "
        f"and of the environment variable {VARIABLE}",
    )
    group.add_argument(
        "--token-file",
        type=Path,
        default=token,
        metavar="FILE",
        help=f"file with the token, read again at each reconnect; environment variable {FILE_VARIABLE}",
    )


def _add_addresses(parser: "_ActionsContainer", url: str, tcp: str) -> None:
    parser.add_argument(
        "--url",
        default=url,
        help=f"URL of the HTTP listener; environment variable PUSHCTL_URL (default: {_URL})",
    )
    parser.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        default=tcp,
        help=f"address of the TCP line listener; environment variable PUSHCTL_TCP (default: {_TCP})",
    )
