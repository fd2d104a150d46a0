"""The rules for the responses to a request stream, and for the messages that it leaves in the history."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.system.conversations import Answer, Conversation
from tests.system.request_streams import ENDED
from tests.system.rfc9112 import Doubt, ParsedRequest

TOKEN: Final = re.compile("tk[a-z]+[0-9]+kt")
SECRET: Final = "SECRET-"
"""The beginning of the bystander's credentials, which no other client may receive."""

_FINE: Final = {Doubt.EXTENSION}
"""Doubts with which every recipient still processes a request."""
_FINE_DIRECTLY: Final = _FINE | {Doubt.HANDSHAKE, Doubt.HOP_BY_HOP}
_REFUSED_DIRECTLY: Final = {
    *(Doubt.VERSION, Doubt.NO_HOST, Doubt.HOSTS, Doubt.BAD_HOST, Doubt.AUTHORITY),
    *(Doubt.CONNECT, Doubt.METHOD, Doubt.EXPECT, Doubt.OLD_CODING, Doubt.SPACES, Doubt.CONTROL, Doubt.BARE_LF),
    *(Doubt.LENGTHS, Doubt.TWO_FRAMINGS, Doubt.CODING, Doubt.CHUNK_SPACE, Doubt.TRAILER, Doubt.FOLD),
}
_ANY: Final = frozenset(range(200, 500))


def faults(conversation: Conversation, *, is_direct: bool) -> Iterator[str]:
    """Yield what is wrong with the responses to a stream.

    :param is_direct: whether no proxy is between the client and pushd.
    """
    if conversation.failure:
        yield conversation.failure
    if conversation.is_incomplete and (is_direct or not conversation.stream.is_half_closed):
        yield "the last answer breaks off"
    text = conversation.received.decode("latin-1")
    if others := set(TOKEN.findall(text)) - {conversation.stream.token}:
        yield f"a response contains data of other streams: {', '.join(sorted(others)[:3])}"
    if SECRET in text:
        yield "a response contains credentials of another client"
    if not conversation.stream.is_aborted:
        yield from _faults_of_answers(conversation, is_direct)


def _faults_of_answers(conversation: Conversation, is_direct: bool) -> Iterator[str]:
    requests, tail, is_over = conversation.reading.requests, conversation.reading.tail, False
    for number, answer in enumerate(conversation.answers):
        if is_over:
            yield f"answer {number} comes after the end of the connection"
        if number < len(requests):
            # If the client has half-closed, the response to its last request closes the connection.
            is_final = conversation.stream.is_half_closed and number == len(requests) - 1
            yield from _faults_of_answer(number, requests[number], answer, is_direct, is_final)
            is_over = answer.is_last or requests[number].is_last
        elif number > len(requests) or not tail:
            yield f"answer {number} is to no request"
        elif answer.status < 400:
            yield f"what is not readable ({tail}) is answered with {answer.status}"
    if not is_over and len(conversation.answers) < len(requests):
        if not (
            _has_client_left(conversation)
            if is_direct
            else conversation.stream.is_half_closed or _may_break_off(conversation)
        ):
            yield f"request {len(conversation.answers)} has no answer"
    elif is_direct and not is_over and tail and "incomplete" not in tail and len(conversation.answers) == len(requests):
        yield f"what is not readable ({tail}) is not refused"


def _faults_of_answer(
    number: int, request: ParsedRequest, answer: Answer, is_direct: bool, is_final: bool
) -> Iterator[str]:
    doubts = request.doubts - (_FINE_DIRECTLY if is_direct else _FINE)
    is_refused, expected = answer.status >= 400, _expected(request)
    if not (is_refused and doubts) and answer.status not in expected:
        yield f"request {number} is answered with {answer.status}"
    if is_direct and not is_refused and request.doubts & _REFUSED_DIRECTLY:
        yield f"request {number} is accepted, in spite of {request.doubts}"
    is_stream = ENDED in request.path  # its response is the last one if an incomplete request follows
    may_end = is_final or is_refused or answer.status == 101 or request.may_be_last or is_stream
    if is_direct and answer.is_last and not may_end:
        yield f"the connection ends with request {number}, which is right"
    if answer.status == 101 and request.body:
        yield f"request {number} has a body, and is accepted as a handshake"
    if is_direct and answer.has_needless_body and Doubt.TARGET not in request.doubts:
        yield f"request {number} is a HEAD and answered with a body"
    if 100 in answer.interim and not request.values("expect"):
        yield f"request {number} gets 100 Continue, which it did not expect"
    channel = _channel_of(request)
    if channel and not is_refused and answer.body and channel not in answer.body.decode("latin-1"):
        yield f"the answer to request {number} is not about its channel"


def _has_client_left(conversation: Conversation) -> bool:
    """Return whether the client ended a long poll, and all that follows, by its half-close."""
    near = conversation.reading.requests[max(0, len(conversation.answers) - 1) : len(conversation.answers) + 1]
    return conversation.stream.is_half_closed and any(request.path.startswith("/longpoll/") for request in near)


def _may_break_off(conversation: Conversation) -> bool:
    """Return whether a proxy may close without another response: it refused, or drops, what it did not understand."""
    near = conversation.reading.requests[max(0, len(conversation.answers) - 1) : len(conversation.answers) + 1]
    return any(request.doubts - _FINE or request.may_be_last for request in near)


def _channel_of(request: ParsedRequest) -> str:
    """Return the channel that the response to a request must name; empty if that is uncertain."""
    found = re.match("/(?:pub|poll|longpoll)/(.*)", request.path)
    return found[1] if found and not request.doubts & {Doubt.TARGET, Doubt.ENCODED_PATH} else ""


def _expected(request: ParsedRequest) -> frozenset[int]:
    """Return the permitted statuses of the response to a request."""
    method, place = request.method, request.path.split("/", 2)[1:2]
    if request.doubts & {Doubt.METHOD, Doubt.CONNECT}:
        return frozenset()
    if request.doubts & {Doubt.TARGET, Doubt.ENCODED_PATH, Doubt.AUTHORITY, Doubt.HOSTS}:
        return _ANY
    if method == "OPTIONS":
        return frozenset({204})
    if place == ["ws"]:
        return frozenset({101, 400, 405, 426})
    if place == ["pub"]:
        return frozenset({201, 202} if method in ("POST", "PUT") else {200, 404})
    if method not in ("GET", "HEAD"):
        return frozenset({404, 405})
    return frozenset({404} if place == ["nowhere"] else {200, 204, 304})


@dataclass
class Kept:
    """The expected content of a channel."""

    certain: dict[str, bytes] = field(default_factory=dict)
    """Data by id of the messages that were accepted."""
    possible: list[bytes] = field(default_factory=list)
    """Data of requests without a response: each is stored once, or not at all."""

    def faults(self, stored: dict[str, bytes]) -> Iterator[str]:
        """Yield what is wrong with the messages of the channel, data by id."""
        for id_, data in self.certain.items():
            if stored.get(id_) != data:
                yield f"{id_} was accepted with {data!r} and is kept as {stored.get(id_)!r}"
        others = Counter(data for id_, data in stored.items() if id_ not in self.certain)
        for data in (others - Counter(self.possible)).elements():
            yield f"{data!r} is kept, and nobody published it"


def expect(conversation: Conversation, channels: dict[str, Kept]) -> None:
    """Apply the answered requests of a stream to the expected channels."""
    is_over = False
    for number, request in enumerate(conversation.reading.requests):
        answer = conversation.answers[number] if number < len(conversation.answers) else None
        if is_over:
            break
        if answer is None or answer.status in (502, 503, 504):
            _expect_perhaps(request, channels)
        elif answer.status < 300:
            _expect_surely(request, answer, channels)
        if answer is not None:
            is_over = answer.is_last or request.is_last


def _expect_surely(request: ParsedRequest, answer: Answer, channels: dict[str, Kept]) -> None:
    try:
        receipt = json.loads(answer.body)
    except ValueError:
        return  # reported as a fault of the response
    if request.method in ("POST", "PUT") and "id" in receipt:
        channels.setdefault(receipt["channel"], Kept()).certain[receipt["id"]] = request.body
    elif request.method == "DELETE" and "deleted" in receipt:
        channels.setdefault(receipt["deleted"], Kept()).certain.clear()


def _expect_perhaps(request: ParsedRequest, channels: dict[str, Kept]) -> None:
    _, found, rest = request.path.partition("/pub/")
    if not found or request.method not in ("POST", "PUT", "DELETE"):
        return
    kept = channels.setdefault(rest.partition("#")[0], Kept())
    if request.method == "DELETE":
        kept.possible += kept.certain.values()
        kept.certain.clear()
    else:
        kept.possible.append(request.body)
