"""`pushctl pub`: publish a message, a file, or each line of the input."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from pushd.ctl.api_client import api_of, quote_path
from pushd.ctl.content_types import content_type_of_file
from pushd.ctl.errors import CtlError, RequestRefused


def publish(args: Namespace) -> int:
    """Publish one message, or each line of the input; print the message ids."""
    api = api_of(args)
    query = {
        "event": args.event,
        "ttl": args.ttl,
        "end": 1 if args.end else None,
        "keep": 0 if args.no_keep else None,
        "except": args.exclude,
    }
    for body in _bodies(args):
        content_type = args.type or (content_type_of_file(args.file, body) if args.file else None)
        headers = {"Content-Type": content_type} if content_type else {}
        response = api.open("POST", f"/pub/{quote_path(args.channel)}", query, body, headers)
        receipts = json.loads(response.read())
        for receipt in receipts if isinstance(receipts, list) else [receipts]:
            if "error" in receipt:
                raise RequestRefused(f"{receipt['error']['code']}: {receipt['error']['message']}")
            print(receipt["id"] or "-", receipt["channel"], receipt["subscribers"])
    return 0


def _bodies(args: Namespace) -> Iterator[bytes]:
    if args.lines:
        for line in sys.stdin.buffer:
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    elif args.text is None and args.file is None and args.end and sys.stdin.isatty():
        yield b""
    else:
        yield read_body(args.text, args.file)


def read_body(text: str | None, file: str | None) -> bytes:
    """Return the text of the command line, else the contents of a file, else standard input.

    :raises CtlError: when the file cannot be read.
    """
    if text is not None:
        return text.encode("utf-8", "surrogateescape")
    if file is None:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error
