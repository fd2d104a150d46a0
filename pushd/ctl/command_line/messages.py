"""The commands that publish, subscribe, send requests and answer them."""

import shlex
from argparse import ArgumentParser, ArgumentTypeError

from pushd.ctl.command_line.command import Commands, add_command
from pushd.ctl.durations import seconds_between

TRANSPORTS = ("stream", "sse", "mixed", "websocket", "longpoll", "tcp")
_TIMEOUT_SECONDS, _MAX_TIMEOUT_SECONDS = 10.0, 60.0
_MAX_TTL = 10 * 365 * 86400.0
_MAX_RETRY_SECONDS = 100.0
"""The longest time for which a publish is repeated; the daemon remembers an Idempotency-Key for 120 seconds."""


def add_message_commands(commands: Commands) -> None:
    """Add `pub`, `sub`, `tap`, `request` and `respond`."""
    _add_publish(commands)
    _add_subscribe(commands)
    _add_tap(commands)
    _add_request_options(
        add_command(
            commands,
            "request",
            "requests:request",
            "send a request, and print the reply",
            "pushctl request clock 'What time is it?'",
            "pushctl request jobs/resize --file photo.png --timeout 30 > small.png",
        )
    )
    _add_respond_options(
        add_command(
            commands,
            "respond",
            "requests:respond",
            "answer requests: run a program for each, with the request on its standard input",
            "pushctl respond clock -- date -u",
            "pushctl respond 'jobs/*' --type image/png -- convert - -resize 50% -",
        )
    )


def _add_publish(commands: Commands) -> None:
    pub = add_command(
        commands,
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
    pub.add_argument(
        "--retry",
        type=seconds_between(0, _MAX_RETRY_SECONDS),
        metavar="DURATION",
        help="for how long to repeat a publish that was not answered, without publishing it twice, at most 100s; "
        "unless it is 0, messages are kept, whatever the settings of the channel (default: 60s with --lines, else 0)",
    )


def _add_subscribe(commands: Commands) -> None:
    sub = add_command(
        commands,
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


def _add_tap(commands: Commands) -> None:
    tap = add_command(
        commands, "tap", "subscribe:tap", "print a summary line for each message", "pushctl tap 'news/**'"
    )
    tap.add_argument("topics", nargs="?", default="**", help="channels and patterns (default: **)")
    _add_subscribe_options(tap)


def _add_request_options(command: ArgumentParser) -> None:
    """Add the options of `request`."""
    command.add_argument("channel", help="a channel")
    source = command.add_mutually_exclusive_group()
    source.add_argument("text", nargs="?", help="the request (default: standard input)")
    source.add_argument("--file", help="send the contents of this file")
    command.add_argument("--type", help="the content type (default for --file: by its name)")
    command.add_argument("--event", help="the event type")
    command.add_argument(
        "--timeout",
        type=seconds_between(0, _MAX_TIMEOUT_SECONDS),
        default=_TIMEOUT_SECONDS,
        metavar="DURATION",
        help="how long to wait for the reply: 10s (default), at most 1m",
    )
    command.set_defaults(lines=False)


def _add_respond_options(command: ArgumentParser) -> None:
    """Add the options of `respond`."""
    command.add_argument("topics", help="channels and patterns, separated by commas")
    command.add_argument("--count", type=int, help="stop after this many requests")
    command.add_argument("--type", help="the content type of the replies (default: by the data)")
    command.add_argument("command", nargs="+", metavar="COMMAND", help="the program and its arguments")


def _add_subscribe_options(command: ArgumentParser) -> None:
    command.add_argument(
        "--transport", default="stream", choices=TRANSPORTS, help="transport of the subscription (default: stream)"
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
