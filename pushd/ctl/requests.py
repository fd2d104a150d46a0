"""`pushctl request` and `pushctl respond`: send a request, and answer requests with a program."""

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Iterator

from pushd.client import Message, Publication, Refused, Reply
from pushd.client.core import calls
from pushd.client.core.call import Call
from pushd.ctl.api_client import ApiClient, api_of
from pushd.ctl.content_types import content_type_of_file
from pushd.ctl.programs import run_program
from pushd.ctl.publish import read_body
from pushd.ctl.subscriptions import subscribe
from pushd.ctl.terminal import escape_controls, warn

_TIMEOUT_SECONDS, _MAX_TIMEOUT_SECONDS = 10.0, 60.0


def request(args: Namespace) -> int:
    """Send a request, and write the reply to standard output."""
    api = api_of(args)
    body = read_body(args.text, args.file)
    content_type = args.type or (content_type_of_file(args.file, body) if args.file else None)
    call = calls.request(Publication(args.channel, body, content_type, args.event), args.timeout)
    reply = api.perform(_as_it_is(call))
    out = sys.stdout.buffer
    if out.isatty():
        text = escape_controls(reply.decode("utf-8", "backslashreplace"))
        reply = (text if text.endswith("\n") else text + "\n").encode()
    out.write(reply)
    return 0


def respond(args: Namespace) -> int:
    """Run a program for each request, and send its output as the reply."""
    api = api_of(args)
    for number, message in enumerate(_requests(api, args.topics), 1):
        result = run_program(args.command, message, captures_output=True)
        if result.failure:
            warn(f"{args.command[0]} {result.failure}; the request is not answered")
        else:
            _reply(api, message, result.output, args.type)
        if number == args.count:
            break
    return 0


def _as_it_is(call: Call[Reply]) -> Call[bytes]:
    """Return a request whose reply is not decoded."""
    fields = {each.name: getattr(call, each.name) for each in dataclasses.fields(call)}
    return Call(**fields | {"parse": lambda response: response.body})


def _requests(api: ApiClient, topics: str) -> Iterator[Message]:
    """Yield the requests on some topics; other messages of these are ignored."""
    for item in subscribe(api, topics, responder=True):
        if isinstance(item, Message) and item.reply_to is not None:
            yield item


def _reply(api: ApiClient, message: Message, data: bytes, content_type: str | None) -> None:
    try:
        api.reply(message, data, content_type=content_type)
    except Refused as refused:  # its asker waits no longer
        warn(str(refused))
