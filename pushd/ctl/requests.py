"""`pushctl request` and `pushctl respond`: send a request, and answer requests with a program."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from http.client import HTTPException

from pushd.ctl.api_client import ApiClient, api_of, quote_path
from pushd.ctl.clients import Item, Target, subscribe_stream
from pushd.ctl.content_types import content_type_of_file
from pushd.ctl.durations import seconds_between
from pushd.ctl.errors import RequestRefused
from pushd.ctl.output import escape_controls, warn
from pushd.ctl.programs import run_program
from pushd.ctl.publish import read_body
from pushd.ctl.reconnect import subscribe_with_reconnect

_TIMEOUT_SECONDS, _MAX_TIMEOUT_SECONDS = 10.0, 60.0
_MORE_SECONDS = 10.0
"""How much longer than the daemon pushctl waits for an answer."""


def add_request_options(command: ArgumentParser) -> None:
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


def add_respond_options(command: ArgumentParser) -> None:
    """Add the options of `respond`."""
    command.add_argument("topics", help="channels and patterns, separated by commas")
    command.add_argument("--count", type=int, help="stop after this many requests")
    command.add_argument("--type", help="the content type of the replies (default: by the data)")
    command.add_argument("command", nargs="+", metavar="COMMAND", help="the program and its arguments")


def request(args: Namespace) -> int:
    """Send a request, and write the reply to standard output."""
    api = api_of(args)
    query = {"timeout": f"{args.timeout:g}", "event": args.event}
    body = read_body(args.text, args.file)
    content_type = args.type or (content_type_of_file(args.file, body) if args.file else None)
    headers = {"Content-Type": content_type} if content_type else {}
    path = f"/request/{quote_path(args.channel)}"
    response = api.open("POST", path, query, body, headers, seconds=max(args.timeout, 0) + _MORE_SECONDS)
    try:
        reply = response.read()
    except (OSError, HTTPException) as error:
        raise api.unreachable(error) from error
    out = sys.stdout.buffer
    if out.isatty():
        text = escape_controls(reply.decode("utf-8", "backslashreplace"))
        reply = (text if text.endswith("\n") else text + "\n").encode()
    out.write(reply)
    return 0


def respond(args: Namespace) -> int:
    """Run a program for each request, and send its output as the reply."""
    api = api_of(args)
    headers = {"Content-Type": args.type} if args.type else {}
    for number, item in enumerate(_requests(api, args.topics), 1):
        output = _run(args.command, item)
        if output is not None:
            _reply(api, item["reply_to"], output, headers)
        if number == args.count:
            break
    return 0


def _requests(api: ApiClient, topics: str) -> Iterator[Item]:
    """Yield the requests on some topics; other messages of these are ignored."""
    target = Target(api, ("", 0), topics, responder=True)
    for item in subscribe_with_reconnect(subscribe_stream, target, None, warn):
        if "reply_to" in item:
            yield item


def _run(command: list[str], item: Item) -> bytes | None:
    """Run a program with a request on its standard input; return its output, None if it has failed."""
    result = run_program(command, item, captures_output=True)
    if result.failure:
        warn(f"{command[0]} {result.failure}; the request is not answered")
        return None
    return result.output


def _reply(api: ApiClient, channel: str, data: bytes, headers: Mapping[str, str]) -> None:
    try:
        api.open("POST", f"/pub/{quote_path(channel)}", None, data, headers).read()
    except RequestRefused as refusal:  # its asker waits no longer
        warn(str(refusal))
