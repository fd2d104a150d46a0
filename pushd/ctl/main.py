"""The command line of `pushctl`: argument parser and entry point."""

import os
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pushd.ctl import commands
from pushd.ctl.bench import BENCH_TRANSPORTS
from pushd.ctl.bench_client import MARKER_BYTES
from pushd.ctl.clients import TRANSPORTS
from pushd.ctl.credential import add_credential_options
from pushd.ctl.doctor.probe_run import CHECKS
from pushd.ctl.errors import EXIT_USAGE, CtlError
from pushd.ctl.hooks import add_hooks_options, hooks
from pushd.ctl.output import escape_controls
from pushd.ctl.requests import add_request_options, add_respond_options, request, respond
from pushd.ctl.revocation import add_kick_options, add_revoke_options, kick, revoke
from pushd.ctl.sign import add_sign_options, sign_url
from pushd.ctl.token_explain import add_explain_command
from pushd.ctl.token_issue import add_issue_command
from pushd.ctl.tokens import add_token_commands
from pushd.ctl.who import add_who_options, who

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_INTERRUPTED = 130
"""Exit status after SIGINT, as shells report it."""
_MAX_IDLE_SECONDS = 86400.0
"""Maximum of ``doctor --idle``: a day."""
_STATUSES = "exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 daemon unreachable"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    command_line = build_parser()
    args, extra = command_line.parse_known_args(argv)
    if extra:
        _accept_trailing_text(command_line, args, extra)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except CtlError as error:
        print(f"pushctl: {escape_controls(str(error))}", file=sys.stderr)
        return error.status
    except ValueError as error:  # from an invalid --url
        print(f"pushctl: {escape_controls(str(error))}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        commands.discard_output()
        return 0


def _accept_trailing_text(command_line: ArgumentParser, args: Namespace, extra: Sequence[str]) -> None:
    """Accept the text of a message after options too, where argparse no longer looks for it."""
    is_text = len(extra) == 1 and not extra[0].startswith("-") and getattr(args, "text", "") is None
    if not is_text or args.file or args.lines:
        command_line.error(f"unrecognized arguments: {' '.join(extra)}")
    args.text = extra[0]


def build_parser() -> ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="pushctl", description="Publish to, subscribe to and inspect a running pushd.", epilog=_STATUSES
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("PUSHCTL_URL", "http://localhost:8080"),
        help="URL of the HTTP listener; environment variable PUSHCTL_URL (default: http://localhost:8080)",
    )
    parser.add_argument(
        "--tcp",
        default=os.environ.get("PUSHCTL_TCP", "localhost:8081"),
        help="HOST:PORT of the TCP line listener; environment variable PUSHCTL_TCP (default: localhost:8081)",
    )
    add_credential_options(parser)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    pub = _command(
        subparsers,
        "pub",
        commands.publish,
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
    pub.add_argument("--ttl", type=float, help="seconds to retain the message")
    pub.add_argument("--end", action="store_true", help="end the channel with this message")
    pub.add_argument(
        "--no-keep", action="store_true", help="only deliver it to connected subscribers, and do not keep it"
    )
    pub.add_argument("--except", dest="exclude", metavar="ID", help="do not deliver it to the connection with this id")

    sub = _command(
        subparsers,
        "sub",
        commands.subscribe,
        "print messages; reconnect and resume after a connection failure",
        "pushctl sub demo",
        "pushctl sub 'news/**' --since last:10 --json",
        "pushctl sub alarms --exec 'notify-send Alarm'",
    )
    sub.add_argument("topics", help="channels and patterns, separated by commas")
    sub.add_argument("--json", action="store_true", help="print messages, gaps and ends as JSON lines")
    sub.add_argument("--count", type=int, help="stop after this many messages")
    sub.add_argument(
        "--exec", metavar="COMMAND", help="run this program for each message, with the data on its standard input"
    )
    _add_subscribe_options(sub)

    add_request_options(
        _command(
            subparsers,
            "request",
            request,
            "send a request, and print the reply",
            "pushctl request clock 'What time is it?'",
            "pushctl request jobs/resize --file photo.png --timeout 30 > small.png",
        )
    )
    add_respond_options(
        _command(
            subparsers,
            "respond",
            respond,
            "answer requests: run a program for each, with the request on its standard input",
            "pushctl respond clock -- date -u",
            "pushctl respond 'jobs/*' --type image/png -- convert - -resize 50% -",
        )
    )

    tap = _command(subparsers, "tap", commands.tap, "print a summary line for each message", "pushctl tap 'news/**'")
    tap.add_argument("topics", nargs="?", default="**", help="channels and patterns (default: **)")
    _add_subscribe_options(tap)

    channels = _command(subparsers, "channels", commands.channels, "list the channels", "pushctl channels news/")
    channels.add_argument("prefix", nargs="?", default="", help="only channels that begin with this")

    info = _command(subparsers, "info", commands.info, "print the state of a channel", "pushctl info demo")
    info.add_argument("channel")
    info.add_argument("--json", action="store_true", help="print JSON")

    listing = _command(
        subparsers, "connections", commands.connections, "list the open connections", "pushctl connections"
    )
    listing.add_argument("--channel", help="only subscribers of this channel")
    listing.add_argument("--json", action="store_true", help="print one line of JSON per connection")

    add_who_options(
        _command(
            subparsers,
            "who",
            who,
            "list the members of a channel",
            "pushctl who chat/42",
            "pushctl who chat/42 --watch",
        )
    )

    kick_examples = "pushctl kick 9f2c41d07be83a6655d0c1e87f4b29aa", "pushctl kick --sub alice"
    add_kick_options(_command(subparsers, "kick", kick, "close a connection, or those of a subject", *kick_examples))

    add_revoke_options(
        _command(
            subparsers,
            "revoke",
            revoke,
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
            hooks,
            "list hooks, or send the dead letters of one again",
            "pushctl hooks",
            "pushctl hooks app --replay",
        )
    )

    bench = _command(
        subparsers,
        "bench",
        commands.bench,
        "run a load test: check every delivery and plot the latencies",
        "pushctl bench",
        "pushctl bench --subscribers 1000 --rate 50 --transport websocket",
        "pushctl --url https://push.example.org bench --seconds 60 --json",
    )
    bench.add_argument(
        "--transport", default="sse", choices=BENCH_TRANSPORTS, help="transport of the subscribers (default: sse)"
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
    bench.add_argument("--seconds", type=_whole_number(3600), default=10, metavar="N", help="duration (default: 10)")
    bench.add_argument(
        "--size",
        type=_whole_number(1 << 20, MARKER_BYTES),
        default=100,
        metavar="BYTES",
        help="message size (default: 100)",
    )
    bench.add_argument("--json", action="store_true", help="print one line of JSON; times are in seconds")

    doctor = _command(
        subparsers,
        "doctor",
        commands.doctor,
        "check what proxies in front of pushd break for each transport, and how to fix it",
        "pushctl doctor https://push.example.org",
        "pushctl doctor https://push.example.org --only sse,websocket --json",
        "pushctl --url http://10.0.0.5:8080 doctor https://push.example.org  # the proxy refuses publishing",
    )
    doctor.add_argument("target", metavar="URL", nargs="?", help="address that clients use (default: that of --url)")
    doctor.add_argument("--idle", type=_idle_seconds, default=70.0, help="seconds without messages (default: 70)")
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
        sign_url,
        "print a signed URL, which allows one request without a token",
        "pushctl sign https://push.example.org/sse/news --key web=web.key --expires 5m --until 2h",
        "pushctl sign /pub/chat/42 --method POST --key web --key-file web.key --sub alice",
    )
    add_sign_options(signing)

    _command(subparsers, "health", commands.health, "check whether the daemon is ready", "pushctl health && deploy")
    return parser


def _command(
    subparsers: "_SubParsersAction[ArgumentParser]",
    name: str,
    run: Callable[[Any], int] | None,
    summary: str,
    *examples: str,
) -> ArgumentParser:
    """Add a command.

    :param run: takes the parsed arguments and returns the exit status; None if the command has commands of its own.
    """
    epilog = "\n".join(["examples:", *(f"  {example}" for example in examples), "", _STATUSES])
    command = subparsers.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    add_credential_options(command, default=SUPPRESS)
    return command


def _whole_number(maximum: int, minimum: int = 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not minimum <= number <= maximum:
            raise ArgumentTypeError(f"must be a whole number from {minimum} to {maximum} (got {text!r})")
        return number

    return parse


def _add_subscribe_options(command: ArgumentParser) -> None:
    command.add_argument("--transport", default="stream", choices=list(TRANSPORTS))
    command.add_argument(
        "--since",
        help="start position: a message id, all, last:N, latest (the newest of each channel), a duration such as "
        "10m, or unix seconds",
    )
    command.add_argument("--slow", choices=["disconnect", "drop", "latest"], help="slow-consumer policy")


def _idle_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_IDLE_SECONDS:
        raise ArgumentTypeError(f"must be between 0 and {_MAX_IDLE_SECONDS:.0f} seconds (got {text!r})")
    return seconds


def _check_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names).difference(CHECKS):
        raise ArgumentTypeError(f"must be a list of {','.join(CHECKS)} (got {sorted(unknown)[0]!r})")
    return names


if __name__ == "__main__":
    sys.exit(main())
