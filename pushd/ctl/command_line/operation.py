"""The commands by which an operator intervenes."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime

from pushd.ctl.command_line.command import Commands, add_command


def add_operation_commands(commands: Commands) -> None:
    """Add `kick`, `revoke` and `hooks`."""
    kick_examples = "pushctl kick 9f2c41d07be83a6655d0c1e87f4b29aa", "pushctl kick --sub alice"
    _add_kick_options(
        add_command(commands, "kick", "revocation:kick", "close a connection, or those of a subject", *kick_examples)
    )

    _add_revoke_options(
        add_command(
            commands,
            "revoke",
            "revocation:revoke",
            "revoke tokens, and close the connections that use them",
            "pushctl revoke --sub alice --reason 'account closed'",
            "pushctl revoke --jti 5f1c9a",
            "pushctl revoke --tag mobile --before 2026-11-27T20:15:00Z",
        )
    )
    _add_hooks_options(
        add_command(
            commands,
            "hooks",
            "hooks:hooks",
            "list hooks, or send the dead letters of one again",
            "pushctl hooks",
            "pushctl hooks app --replay",
        )
    )


def _add_revoke_options(command: ArgumentParser) -> None:
    """Add the options of `revoke`."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--jti", metavar="ID", help="the token with this id (claim jti)")
    what.add_argument("--sub", metavar="SUBJECT", help="all tokens of this subject")
    what.add_argument("--tag", help="all tokens with this tag")
    command.add_argument(
        "--before",
        type=_time,
        metavar="TIME",
        help="only tokens issued before: unix seconds, or a time such as 2026-11-27T20:15:00Z (default: now)",
    )
    command.add_argument("--reason", default="", help="for the list of revocations; clients do not receive it")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_kick_options(command: ArgumentParser) -> None:
    """Add the arguments of `kick`."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("id", nargs="?", help="connection id, as printed by `pushctl connections`")
    what.add_argument("--sub", metavar="SUBJECT", help="all connections of this subject, at all nodes")


def _time(text: str) -> int:
    """Return unix seconds."""
    try:
        if text.isascii() and text.isdigit():
            return int(text)
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be unix seconds or a time such as 2026-11-27T20:15:00Z (got {text!r})") from None
    return int((time if time.tzinfo else time.astimezone()).timestamp())


def _add_hooks_options(command: ArgumentParser) -> None:
    """Add the options of `hooks`."""
    command.add_argument("name", nargs="?", help="only this hook")
    command.add_argument("--replay", action="store_true", help="send the dead letters of the hook again")
    command.add_argument("--since", metavar="CURSOR", help="with --replay: only those after this cursor")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(usage_of=command)
