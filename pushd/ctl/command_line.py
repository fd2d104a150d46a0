"""The command line of `pushctl`: the argument parser.

A command is named as ``MODULE:FUNCTION`` of this package, which is imported only if it is run, so that no command waits
for the imports of another one.
"""

import shlex
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pushd import __version__
from pushd.ctl.connection_options import add_connection_options, add_connection_options_of_command
from pushd.ctl.doctor.checks import CHECKS
from pushd.ctl.durations import seconds_between
from pushd.ctl.health import add_health_options
from pushd.ctl.hooks import add_hooks_options
from pushd.ctl.parser import CommandParser
from pushd.ctl.requests import add_request_options, add_respond_options
from pushd.ctl.revocation import add_kick_options, add_revoke_options
from pushd.ctl.sign import add_sign_options
from pushd.ctl.token_explain import add_explain_command
from pushd.ctl.token_issue import add_issue_command
from pushd.ctl.tokens import add_token_commands
from pushd.ctl.who import add_who_options

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SHELLS = ("bash", "zsh", "tcsh")
"""The shells whose completion can be printed."""
_TRANSPORTS = ("stream", "sse", "mixed", "websocket", "longpoll", "tcp")
_BENCH_TRANSPORTS = ("sse", "stream", "mixed", "websocket", "tcp")
_MARKER_BYTES = 40
"""The shortest message of a load test, as in `pushd.ctl.bench_client`."""
_DAY = 86400.0
_MAX_TTL = 10 * 365 * _DAY
_STATUSES = "exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 daemon unreachable"


def build_parser() -> ArgumentParser:
    """Return the parser of the command line."""
    parser = CommandParser(
        prog="pushctl", description="Publish to, subscribe to and inspect a running pushd.", epilog=_STATUSES
    )
    parser.add_argument("--version", action="version", version=f"pushctl {__version__}")
    add_connection_options(parser)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    pub = _command(
        subparsers,
        "pub",
        "publish:publish",
        "publish a message",
        "pushctl pub news/sports 'one all'",
        "tail -f access.log | pushctl pub log/web --lines",
        "pushctl pub cam --file frame.png",
    )
    pub.add_argument("channel", help="a channel, or several separated by commas")
    source = pub.add_mutually_exclusive_group()
    source.add_argument("text", nargs="?", help="the message (default: standard input)")
    source.add_argument("--file", help="publish the contents of this file")
    source.add_argument("--lines", action="store_true", help="publish each line of standard input as a message")
    pub.add_argument("--event", help="the event type")
    pub.add_argument("--type", help="the content type (default for --file: by its name)")
    pub.add_argument(
        "--ttl",
        type=seconds_between(0, _MAX_TTL),
        metavar="DURATION",
        help="how long to retain the message, such as 90, 30s or 5m",
    )
    pub.add_argument("--end", action="store_true", help="end the channel with this message")
    pub.add_argument(
        "--no-keep", action="store_true", help="only deliver it to connected subscribers, and do not keep it"
    )
    pub.add_argument("--except", dest="exclude", metavar="ID", help="do not deliver it to the connection with this id")

    sub = _command(
        subparsers,
        "sub",
        "subscribe:subscribe",
        "print messages; reconnect and resume after a connection failure",
        "pushctl sub demo",
        "pushctl sub 'news/**' --since last:10 --json",
        "pushctl sub alarms --exec 'notify-send Alarm'",
    )
    sub.add_argument("topics", help="channels and patterns, separated by commas")
    sub.add_argument("--json", action="store_true", help="print messages, gaps and ends as JSON lines")
    sub.add_argument("--count", type=int, help="stop after this many messages")
    sub.add_argument(
        "--exec",
        type=_program,
        metavar="COMMAND",
        help="run this program for each message, with the data on its standard input",
    )
    sub.add_argument("--exec-stop", action="store_true", help="with --exec: exit with status 1 when the program fails")
    _add_subscribe_options(sub)

    add_request_options(
        _command(
            subparsers,
            "request",
            "requests:request",
            "send a request, and print the reply",
            "pushctl request clock 'What time is it?'",
            "pushctl request jobs/resize --file photo.png --timeout 30 > small.png",
        )
    )
    add_respond_options(
        _command(
            subparsers,
            "respond",
            "requests:respond",
            "answer requests: run a program for each, with the request on its standard input",
            "pushctl respond clock -- date -u",
            "pushctl respond 'jobs/*' --type image/png -- convert - -resize 50% -",
        )
    )

    tap = _command(subparsers, "tap", "subscribe:tap", "print a summary line for each message", "pushctl tap 'news/**'")
    tap.add_argument("topics", nargs="?", default="**", help="channels and patterns (default: **)")
    _add_subscribe_options(tap)

    channels = _command(subparsers, "channels", "inspection:channels", "list the channels", "pushctl channels news/")
    channels.add_argument("prefix", nargs="?", default="", help="only channels that begin with this")

    info = _command(subparsers, "info", "inspection:info", "print the state of a channel", "pushctl info demo")
    info.add_argument("channel", help="a channel")
    info.add_argument("--json", action="store_true", help="print JSON")

    listing = _command(
        subparsers,
        "connections",
        "inspection:connections",
        "list the open connections",
        "pushctl connections",
    )
    listing.add_argument("--channel", help="only subscribers of this channel")
    listing.add_argument("--json", action="store_true", help="print one line of JSON per connection")

    add_who_options(
        _command(
            subparsers,
            "who",
            "who:who",
            "list the members of a channel",
            "pushctl who chat/42",
            "pushctl who chat/42 --watch",
        )
    )

    top = _command(
        subparsers,
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

    kick_examples = "pushctl kick 9f2c41d07be83a6655d0c1e87f4b29aa", "pushctl kick --sub alice"
    add_kick_options(
        _command(subparsers, "kick", "revocation:kick", "close a connection, or those of a subject", *kick_examples)
    )

    add_revoke_options(
        _command(
            subparsers,
            "revoke",
            "revocation:revoke",
            "revoke tokens, and close the connections that use them",
            "pushctl revoke --sub alice --reason 'account closed'",
            "pushctl revoke --jti 5f1c9a",
            "pushctl revoke --tag mobile --before 2026-11-27T20:15:00Z",
        )
    )

    add_hooks_options(
        _command(
            subparsers,
            "hooks",
            "hooks:hooks",
            "list hooks, or send the dead letters of one again",
            "pushctl hooks",
            "pushctl hooks app --replay",
        )
    )

    bench = _command(
        subparsers,
        "bench",
        "load_test:bench",
        "run a load test: check every delivery and plot the latencies",
        "pushctl bench",
        "pushctl bench --subscribers 1000 --rate 50 --transport websocket",
        "pushctl --url https://push.example.org bench --seconds 60 --json",
    )
    bench.add_argument(
        "--transport", default="sse", choices=_BENCH_TRANSPORTS, help="transport of the subscribers (default: sse)"
    )
    bench.add_argument(
        "--subscribers",
        type=_whole_number(60_000),
        default=100,
        metavar="N",
        help="number of subscribers (default: 100)",
    )
    bench.add_argument(
        "--channels", type=_whole_number(10_000), default=1, metavar="N", help="number of channels (default: 1)"
    )
    bench.add_argument(
        "--rate", type=_whole_number(100_000), default=100, metavar="N", help="messages per second (default: 100)"
    )
    bench.add_argument(
        "--seconds",
        type=seconds_between(1, 3600),
        default=10.0,
        metavar="DURATION",
        help="duration, such as 10, 30s or 5m (default: 10s)",
    )
    bench.add_argument(
        "--size",
        type=_whole_number(1 << 20, _MARKER_BYTES),
        default=100,
        metavar="BYTES",
        help="message size (default: 100)",
    )
    bench.add_argument("--json", action="store_true", help="print one line of JSON; times are in seconds")

    doctor = _command(
        subparsers,
        "doctor",
        "doctor.command:doctor",
        "check what proxies in front of pushd break for each transport, and how to fix it",
        "pushctl doctor https://push.example.org",
        "pushctl doctor https://push.example.org --only sse,websocket --json",
        "pushctl --url http://10.0.0.5:8080 doctor https://push.example.org  # the proxy refuses publishing",
    )
    doctor.add_argument("target", metavar="URL", nargs="?", help="address that clients use (default: that of --url)")
    doctor.add_argument(
        "--idle",
        type=seconds_between(0, _DAY),
        default=70.0,
        metavar="DURATION",
        help="time without messages, such as 70, 90s or 5m (default: 70s)",
    )
    doctor.add_argument("--only", type=_check_names, default=CHECKS, help=f"of {','.join(CHECKS)}; default: all")
    doctor.add_argument("--json", action="store_true", help="print one line of JSON per check")

    token = _command(
        subparsers,
        "token",
        None,
        "add, list and remove static tokens in the file of the daemon; issue and explain tokens",
        "pushctl token add phone --sub alice --subscribe 'users/{sub}/**' --publish chat/42 --file tokens.toml",
        "pushctl token list --file tokens.toml",
        "pushctl token remove phone --file tokens.toml && systemctl reload pushd",
        "pushctl token issue --help",
        "pushctl token explain --help",
    )
    token_commands = add_token_commands(token)
    add_issue_command(token_commands)
    add_explain_command(token_commands)

    signing = _command(
        subparsers,
        "sign",
        "sign:sign_url",
        "print a signed URL, which allows one request without a token",
        "pushctl sign https://push.example.org/sse/news --key web=web.key --expires 5m --until 2h",
        "pushctl sign /pub/chat/42 --method POST --key web --key-file web.key --sub alice",
    )
    add_sign_options(signing)

    add_health_options(
        _command(
            subparsers,
            "health",
            "health:health",
            "check whether the daemon is ready, and print why it is not",
            "pushctl health && deploy",
            "pushctl health --strict",
        )
    )
    completion = _command(
        subparsers,
        "completion",
        "completion:completion",
        "print the completion script of a shell",
        "pushctl completion bash > ~/.local/share/bash-completion/completions/pushctl",
        "pushctl completion zsh > ~/.zfunc/_pushctl  # a directory of $fpath",
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    return parser


def _command(
    subparsers: "_SubParsersAction[CommandParser]",
    name: str,
    run: str | None,
    summary: str,
    *examples: str,
) -> ArgumentParser:
    """Add a command.

    :param run: ``MODULE:FUNCTION`` of this package, which takes the parsed arguments and returns the exit status; None
        if the command has commands of its own.
    """
    epilog = "\n".join(["examples:", *(f"  {example}" for example in examples), "", _STATUSES])
    command = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    add_connection_options_of_command(command)
    return command


def _whole_number(maximum: int, minimum: int = 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not minimum <= number <= maximum:
            raise ArgumentTypeError(f"must be a whole number from {minimum} to {maximum} (got {text!r})")
        return number

    return parse


def _add_subscribe_options(command: ArgumentParser) -> None:
    command.add_argument(
        "--transport", default="stream", choices=_TRANSPORTS, help="transport of the subscription (default: stream)"
    )
    command.add_argument(
        "--since",
        help="start position: a message id, all, last:N, latest (the newest of each channel), a duration such as "
        "10m, or unix seconds",
    )
    command.add_argument("--slow", choices=["disconnect", "drop", "latest"], help="slow-consumer policy")


def _program(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be a command line: {error} (got {text!r})") from None
    if not words:
        raise ArgumentTypeError("must not be empty")
    return text


def _check_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names).difference(CHECKS):
        raise ArgumentTypeError(f"must be a list of {','.join(CHECKS)} (got {sorted(unknown)[0]!r})")
    return names
