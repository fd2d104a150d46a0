"""`pushctl pub`: publish a message, a file, or each line of the input."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pushd.client import ConnectionFailed, Publication, Receipt, Refused, TemporarilyRefused
from pushd.client.core import calls
from pushd.client.core.call import Call
from pushd.ctl.api_client import ApiClient, api_of
from pushd.ctl.content_types import content_type_of_file
from pushd.ctl.errors import CtlError

_RETRY_SECONDS = 60.0
"""For how long lines are repeated, unless ``--retry`` says otherwise."""
_MAYBE = "it may have been published"


def publish(args: Namespace) -> int:
    """Publish one message, or each line of the input; print the message ids."""
    retry = args.retry if args.retry is not None else _RETRY_SECONDS if args.lines else 0.0
    publisher = Publisher(api_of(args), retry)
    for number, body in enumerate(_bodies(args), 1):
        content_type = args.type or (content_type_of_file(args.file, body) if args.file else None)
        keep = False if args.no_keep else None
        message = Publication(args.channel, body, content_type, args.event, args.ttl, args.end, keep, args.exclude)
        try:
            outcomes = publisher.publish(message)
        except ConnectionFailed as error:
            if not error.is_sent:
                raise
            what = f"line {number} may have been published, later lines were not" if args.lines else _MAYBE
            raise ConnectionFailed(f"{error}; {what}") from error
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                raise outcome
            print(outcome.id or "-", outcome.channel, outcome.subscribers, flush=True)
    return 0


class Publisher:
    """Publishes messages once each, although the daemon may be restarted meanwhile.

    A repeat needs an Idempotency-Key, and a message that has one is kept. An address at which nothing answers is an
    error at once, unless something was published before.

    :param retry_seconds: for how long to repeat a publish that failed; 0: never, and messages are kept as configured.
    """

    def __init__(self, api: ApiClient, retry_seconds: float) -> None:
        self._first = api
        self._later = api.with_retries(retry_seconds)
        self._repeats = retry_seconds > 0
        self._has_published = False

    def publish(self, message: Publication) -> list[Receipt | Refused]:
        """Publish a message; return what became of it at each channel, whose names are separated by commas.

        :raises ConnectionFailed: when the daemon does not answer for too long.
        :raises Refused: when it refuses the message.
        """
        if self._repeats and message.keep is None:
            message = replace(message, keep=True)
        call = calls.publish_to(message.channel, message)
        outcomes = self._later.perform(call) if self._has_published else self._publish_first(call)
        self._has_published = True
        return outcomes

    def _publish_first(self, call: Call[list[Receipt | Refused]]) -> list[Receipt | Refused]:
        try:
            return self._first.perform(call)
        except (ConnectionFailed, TemporarilyRefused) as error:
            is_unreachable = isinstance(error, ConnectionFailed) and not error.is_sent
            if is_unreachable or not self._repeats or not call.repeat.allows(error):
                raise
            return self._later.perform(call)


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
