"""`pushctl request` and `pushctl respond`: send a request, and answer requests with a program."""

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from http.client import HTTPException

from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.clients import Item, Target, subscribe_stream
from pushd.ctl.credential import choose_credential
from pushd.ctl.errors import CtlError, RequestRefused
from pushd.ctl.output import escape_controls, message_data
from pushd.ctl.reconnect import subscribe_with_reconnect

_TIMEOUT_SECONDS = 10.0
_MORE_SECONDS = 10.0
"""How much longer than the daemon pushctl waits for an answer."""


def add_request_options(command: ArgumentParser) -> None:
    """Add the options of `request`."""
    command.add_argument("channel")
    source = command.add_mutually_exclusive_group()
    source.add_argument("text", nargs="?", help="the request (default: standard input)")
    source.add_argument("--file", help="send the contents of this file")
    command.add_argument("--type", help="the content type")
    command.add_argument("--event", help="the event type")
    command.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT_SECONDS,
        help="seconds to wait for the reply, at most 60 (default: 10)",
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
    api = ApiClient(args.url, choose_credential(args))
    query = {"timeout": f"{args.timeout:g}", "event": args.event}
    headers = {"Content-Type": args.type} if args.type else {}
    path = f"/request/{quote_path(args.channel)}"
    response = api.open("POST", path, query, _body(args), headers, seconds=max(args.timeout, 0) + _MORE_SECONDS)
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
    api = ApiClient(args.url, choose_credential(args))
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
    for item in subscribe_with_reconnect(subscribe_stream, target, None, _warn):
        if "reply_to" in item:
            yield item


def _run(command: list[str], item: Item) -> bytes | None:
    """Run a program with a request on its standard input; return its output, None if it has failed."""
    names = {
        "channel": "PUSHD_CHANNEL",
        "event": "PUSHD_EVENT",
        "content_type": "PUSHD_CONTENT_TYPE",
        "from": "PUSHD_FROM",
    }
    variables = {variable: str(item[name]) for name, variable in names.items() if name in item}
    environ: Mapping[str, str] = {**os.environ, **variables}
    try:
        done = subprocess.run(command, input=message_data(item), env=environ, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise CtlError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        _warn(f"{command[0]} exited with status {done.returncode}; the request is not answered")
        return None
    return done.stdout


def _reply(api: ApiClient, channel: str, data: bytes, headers: Mapping[str, str]) -> None:
    try:
        api.open("POST", f"/pub/{quote_path(channel)}", None, data, headers).read()
    except RequestRefused as refusal:  # its asker waits no longer
        _warn(str(refusal))


def _body(args: Namespace) -> bytes:
    if args.text is not None:
        body: bytes = args.text.encode("utf-8", "surrogateescape")
        return body
    if args.file is None:
        return sys.stdin.buffer.read()
    try:
        with open(args.file, "rb") as file:
            return file.read()
    except OSError as error:
        raise CtlError(f"{args.file}: {error.strerror}") from error


def _warn(sentence: str) -> None:
    print(f"pushctl: {escape_controls(sentence)}", file=sys.stderr, flush=True)
