"""`pushctl sub` and `pushctl tap`: print messages, or run a program for each."""

import sys
from argparse import Namespace
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import BinaryIO

from pushd.ctl.api_client import api_of
from pushd.ctl.clients import TRANSPORTS, Item, Target
from pushd.ctl.errors import CtlError
from pushd.ctl.output import is_message, warn, write_data, write_json, write_summary
from pushd.ctl.programs import run_program
from pushd.ctl.reconnect import subscribe_with_reconnect
from pushd.ctl.subscriber_counts import SubscriberCounts


def subscribe(args: Namespace) -> int:
    """Print each message, or run a program for it."""
    with_channel = "," in args.topics or "*" in args.topics
    count = 0
    for item in _items(args):
        if is_message(item):
            count += 1
            if args.exec:
                _run_program(args, item)
            elif not args.json:
                write_data(_stdout(), item, with_channel)
        elif not args.json:
            _report(item)
        if args.json and not args.exec and item.get("type") != "ping":
            write_json(_stdout(), item)
        if args.count and count >= args.count:
            break
    return 0


def tap(args: Namespace) -> int:
    """Print a summary line for each message."""
    counts = SubscriberCounts(api_of(args))
    for item in _items(args):
        if is_message(item):
            write_summary(_stdout(), item, counts.get(item["channel"]))
        else:
            _report(item)
    return 0


def tcp_address(args: Namespace) -> tuple[str, int]:
    """Return host and port of ``--tcp``.

    :raises CtlError: when it has another form.
    """
    host, _, port = args.tcp.rpartition(":")
    if not host or not port.isdigit():
        raise CtlError(f"--tcp must be HOST:PORT (got {args.tcp!r})")
    return host.strip("[]"), int(port)


def _items(args: Namespace) -> Iterable[Item]:
    target = Target(api_of(args), tcp_address(args), args.topics, args.slow)
    return subscribe_with_reconnect(TRANSPORTS[args.transport], target, args.since, warn)


def _report(item: Item) -> None:
    """Print a warning for a gap, a token that expires soon, or a topic that is not allowed any more."""
    if item.get("type") == "gap":
        warn(f"gap: {item['reason']} (from {item['from']} to {item['to']})")
    elif item.get("type") == "expiring":
        warn(f"the token expires at {datetime.fromtimestamp(item['at'], UTC):%H:%M:%S} UTC")
    elif "error" in item:
        warn(f"{item['error']['code']}: {item['error']['message']}")


def _run_program(args: Namespace, message: Item) -> None:
    """Run the program of ``--exec``; if it fails, log that, and end the command only with ``--exec-stop``.

    :raises CtlError: when it fails, with ``--exec-stop``.
    """
    if outcome := run_program(args.exec, message).failure:
        failure = f"{args.exec} {outcome} (message {message.get('id', 'without an id')} on {message['channel']})"
        if args.exec_stop:
            raise CtlError(failure)
        warn(failure)


def _stdout() -> BinaryIO:
    return sys.stdout.buffer
