"""`pushctl sub` and `pushctl tap`: print messages, or run a program for each."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import BinaryIO

from pushd.client.messages import Gap, Item, Message
from pushd.ctl import subscriptions
from pushd.ctl.api_client import api_of
from pushd.ctl.errors import CtlError
from pushd.ctl.output import write_data, write_json, write_summary
from pushd.ctl.programs import run_program
from pushd.ctl.subscriber_counts import SubscriberCounts
from pushd.ctl.terminal import warn


def subscribe(args: Namespace) -> int:
    """Print each message, or run a program for it."""
    with_channel = "," in args.topics or "*" in args.topics
    count = 0
    for item in _items(args):
        if isinstance(item, Message):
            count += 1
            if args.exec:
                _run_program(args, item)
            elif not args.json:
                write_data(_stdout(), item, with_channel)
        elif not args.json:
            _report(item)
        if args.json and not args.exec:
            write_json(_stdout(), item)
        if args.count and count >= args.count:
            break
    return 0


def tap(args: Namespace) -> int:
    """Print a summary line for each message."""
    counts = SubscriberCounts(api_of(args))
    for item in _items(args):
        if isinstance(item, Message):
            write_summary(_stdout(), item, counts.get(item.channel))
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


def _items(args: Namespace) -> Iterator[Item]:
    api, tcp = api_of(args), tcp_address(args)
    return subscriptions.subscribe(
        api, args.topics, transport=args.transport, since=args.since, slow=args.slow, tcp=tcp
    )


def _report(item: Item) -> None:
    """Print a warning for a gap."""
    if isinstance(item, Gap):
        warn(f"gap: {item.reason} (from {item.start} to {item.end})")


def _run_program(args: Namespace, message: Message) -> None:
    """Run the program of ``--exec``; if it fails, log that, and end the command only with ``--exec-stop``.

    :raises CtlError: when it fails, with ``--exec-stop``.
    """
    if outcome := run_program(args.exec, message).failure:
        failure = f"{args.exec} {outcome} (message {message.id or 'without an id'} on {message.channel})"
        if args.exec_stop:
            raise CtlError(failure)
        warn(failure)


def _stdout() -> BinaryIO:
    return sys.stdout.buffer
