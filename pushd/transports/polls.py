"""Polling: ``GET /longpoll/TOPICS`` waits for the next messages, ``GET /poll/TOPICS`` answers at once.

The id of the last message in an answer is its ``ETag``. So a client continues by a conditional request (RFC 9110,
section 13.1.2), by ``Last-Event-ID`` or by ``since=``.
"""

from functools import partial
from typing import NamedTuple

from twisted.python.failure import Failure

from pushd.core.cursor import Last, Now, Since
from pushd.core.errors import BadParameter
from pushd.core.message import Message, main_reason
from pushd.core.names import parse_topics
from pushd.core.poll import PollResult
from pushd.core.presence import AsMember
from pushd.http.answers import JSON, json_array, sandbox
from pushd.http.query import (
    CURSOR_PARAMETERS,
    SUBSCRIPTION_PARAMETERS,
    decimal,
    member_of,
    name_in_path,
    parameter,
    responder_of,
    since_of,
    validator_of,
)
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.authorization import actions_of
from pushd.hub.hub import Hub
from pushd.transports.held_requests import ANSWER, HeldRequests
from pushd.wire.json_messages import encode_message
from pushd.wire.multipart import percent_encoded

_TIMEOUT = 25.0
_MOST_SECONDS = 300.0


class _PollRequest(NamedTuple):
    topics: tuple[str, ...]
    since: Since
    is_raw: bool
    is_conditional: bool
    """Whether the cursor is from ``If-None-Match``, so that nothing new is answered by 304."""


class PollResource(HttpResource):
    """Answers at once with the messages after the cursor, or with the newest message when there is no cursor."""

    parameters = frozenset({"format", *CURSOR_PARAMETERS})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def head(self, request: Request) -> Answer:
        """Answer at once, without reading the history."""
        poll = _parse_request(request, self.context)
        await self._hub.callbacks.check_read(request.peer, poll.topics, "history")
        _answer_head(request, poll)
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with messages."""
        poll = _parse_request(request, self.context)
        since = Last(1) if isinstance(poll.since, Now) else poll.since
        page = await self._hub.queries.history(request.peer, poll.topics, since, ANSWER.messages, ANSWER.bytes)
        return _answer(request, poll, PollResult(page.messages, page.gaps, str(page.position)))


class LongPollResource(HttpResource):
    """Holds a request until there are messages, or until its timeout."""

    parameters = frozenset({"format", "responder", "timeout", *SUBSCRIPTION_PARAMETERS})
    transport_name = "longpoll"

    def __init__(self, context: HttpContext, held_requests: HeldRequests) -> None:
        super().__init__(context)
        self._held_requests = held_requests

    async def head(self, request: Request) -> Answer:
        """Answer at once, without a subscription."""
        poll = _parse_request(request, self.context)
        hub = self._held_requests.hub
        await hub.callbacks.check_read(request.peer, poll.topics, *actions_of(poll.since))
        hub.presence.check(request.peer, poll.topics, _member_of(request))
        _answer_head(request, poll)
        return None

    async def get(self, request: Request) -> Answer:
        """Hold the request until there are messages."""
        poll, seconds = _parse_request(request, self.context), _timeout(request)
        responder = responder_of(request, has_reply_to=not poll.is_raw)
        deliver = partial(self._deliver, request, poll)
        hold, member = self._held_requests.hold, _member_of(request)
        await hold(request, self.transport_name, poll.topics, poll.since, seconds, deliver, member, responder=responder)
        request.release()
        return None

    def _deliver(self, request: Request, poll: _PollRequest, result: PollResult | None) -> None:
        """Answer a held request. Called outside of any coroutine."""
        try:
            if result is not None:
                request.answer(_answer(request, poll, result))
        except Exception:
            self._on_error(Failure(), request)


def _parse_request(request: Request, context: HttpContext) -> _PollRequest:
    topics = parse_topics(name_in_path(request), context.limits.topics)
    format_name = parameter(request, b"format")
    if format_name not in (None, "json", "raw"):
        raise BadParameter("unknown format of a poll: must be json or raw")
    # A cache revalidates by If-None-Match of its own accord, so it must not overrule a cursor that the client gave.
    since, validator = since_of(request), validator_of(request)
    if validator is not None and isinstance(since, Now):
        return _PollRequest(topics, validator, format_name == "raw", is_conditional=True)
    return _PollRequest(topics, since, format_name == "raw", is_conditional=False)


def _member_of(request: Request) -> AsMember | None:
    """Return as whom a poll enters its channels; None if it does not.

    :raises BadParameter: when each poll would be another member.
    """
    member = member_of(request)
    if member is not None and member.id is None and request.peer.grant.subject is None:
        raise BadParameter("presence=self of a long poll needs a subject: give presence_id, or use a stream")
    return member


def _answer_head(request: Request, poll: _PollRequest) -> None:
    """Answer HEAD with the headers that do not depend on the messages."""
    if not poll.is_raw:
        request.setHeader(b"Content-Type", JSON)
    request.answer_head()


def _timeout(request: Request) -> float:
    seconds = decimal(request, b"timeout")
    if seconds is None:
        return _TIMEOUT
    if seconds > _MOST_SECONDS:
        raise BadParameter(f"timeout must be between 0 and {_MOST_SECONDS:g} seconds (got {seconds:g})")
    return seconds


def _answer(request: Request, poll: _PollRequest, result: PollResult) -> bytes:
    """Set the headers and return the body: all messages as a JSON array, or the data of the oldest."""
    messages = result.messages
    if poll.is_raw:  # ephemeral ones are skipped, since the cursor of the answer has to be that of the kept one
        messages = [message for message in messages if message.is_kept][:1] or messages[:1]
    last = next((message.id for message in reversed(messages) if message.is_kept), result.position)
    for name in (b"Pushd-Id", b"Pushd-Cursor", b"Last-Event-ID"):
        request.setHeader(name, last.encode("ascii"))
    request.setHeader(b"ETag", f'"{last}"'.encode("ascii"))
    if result.has_ended:
        request.setHeader(b"Pushd-End", b"all")
    if result.gaps:
        request.setHeader(b"Pushd-Gap", main_reason(result.gaps).encode("ascii"))
    if not messages and (poll.is_raw or not result.gaps):
        return _empty_answer(request, poll)
    if poll.is_raw:
        return _raw_answer(request, messages[0])
    return json_array(request, [encode_message(message) for message in messages])


def _empty_answer(request: Request, poll: _PollRequest) -> bytes:
    if poll.is_conditional:
        request.setResponseCode(304)
    else:
        request.setResponseCode(204)
    return b""


def _raw_answer(request: Request, message: Message) -> bytes:
    request.setHeader(b"Content-Type", message.content_type.encode("latin-1"))
    sandbox(request)
    request.setHeader(b"Pushd-Channel", percent_encoded(message.channel))
    if message.event is not None:
        request.setHeader(b"Pushd-Event", percent_encoded(message.event))
    return message.data
