"""The commands that show the state of the daemon."""

from argparse import ArgumentParser

from pushd.ctl.command_line.command import Commands, add_command
from pushd.ctl.durations import seconds_between

_DAY = 86400.0


def add_inspection_commands(commands: Commands) -> None:
    """Add `health`, `channels`, `info`, `connections`, `top` and `who`."""
    _add_health_options(
        add_command(
            commands,
            "health",
            "health:health",
            "check whether the daemon is ready, and print why it is not",
            "pushctl health && deploy",
            "pushctl health --strict",
        )
    )
    _add_lists(commands)
    _add_top(commands)
    _add_who_options(
        add_command(
            commands,
            "who",
            "who:who",
            "list the members of a channel",
            "pushctl who chat/42",
            "pushctl who chat/42 --watch",
        )
    )


def _add_lists(commands: Commands) -> None:
    channels = add_command(commands, "channels", "inspection:channels", "list the channels", "pushctl channels news/")
    channels.add_argument("prefix", nargs="?", default="", help="only channels that begin with this")

    info = add_command(commands, "info", "inspection:info", "print the state of a channel", "pushctl info demo")
    info.add_argument("channel", help="a channel")
    info.add_argument("--json", action="store_true", help="print JSON")

    listing = add_command(
        commands,
        "connections",
        "inspection:connections",
        "list the open connections",
        "pushctl connections",
    )
    listing.add_argument("--channel", help="only subscribers of this channel")
    listing.add_argument("--json", action="store_true", help="print one line of JSON per connection")


def _add_top(commands: Commands) -> None:
    top = add_command(
        commands,
        "top",
        "top.command:top",
        "show a live table of channels: rates, subscribers, connections, queues",
        "pushctl top",
        "pushctl top chat/ --interval 500ms",
        "pushctl top --once",
    )
    top.add_argument("prefix", nargs="?", default="", help="only channels that begin with this")
    top.add_argument("--once", action="store_true", help="print the table once, after one interval")
    top.add_argument(
        "--interval",
        type=seconds_between(0.1, _DAY),
        default=2.0,
        metavar="DURATION",
        help="time between two tables, such as 500ms or 5s (default: 2s)",
    )


def _add_who_options(command: ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("channel", help="a channel")
    command.add_argument("--watch", action="store_true", help="then print each change as it happens")
    command.add_argument("--json", action="store_true", help="print one line of JSON per member or change")


def _add_health_options(command: ArgumentParser) -> None:
    """Add the options of `health`."""
    command.add_argument("--strict", action="store_true", help="exit with status 1 if something is degraded, too")
    command.add_argument("--json", action="store_true", help="print the answer of the daemon as JSON")
