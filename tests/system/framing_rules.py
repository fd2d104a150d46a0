"""What has to hold of the answers to a stream of requests, and of the messages that it leaves in the history."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.system.conversations import Answer, Conversation
from tests.system.request_streams import ENDED
from tests.system.rfc9112 import Asked, Doubt

TOKEN: Final = re.compile("tk[a-z]+[0-9]+kt")
SECRET: Final = "SECRET-"
"""Begins the credentials of the bystander, which nobody may see."""

_FINE: Final = {Doubt.EXTENSION}
"""Doubts with which requests are processed all the same, whoever reads them."""
_FINE_DIRECTLY: Final = _FINE | {Doubt.HANDSHAKE, Doubt.HOP_BY_HOP}
_REFUSED_DIRECTLY: Final = {
    *(Doubt.VERSION, Doubt.NO_HOST, Doubt.HOSTS, Doubt.BAD_HOST, Doubt.AUTHORITY),
    *(Doubt.CONNECT, Doubt.METHOD, Doubt.EXPECT, Doubt.OLD_CODING, Doubt.SPACES, Doubt.CONTROL, Doubt.BARE_LF),
    *(Doubt.LENGTHS, Doubt.TWO_FRAMINGS, Doubt.CODING, Doubt.CHUNK_SPACE, Doubt.TRAILER, Doubt.FOLD),
}
_ANY: Final = frozenset(range(200, 500))


def faults(talk: Conversation, *, is_direct: bool) -> Iterator[str]:
    """Say what is wrong with the answers to a stream.

    :param is_direct: nothing stands between the client and pushd.
    """
    if talk.failure:
        yield talk.failure
    if talk.is_incomplete and (is_direct or not talk.stream.is_half_closed):
        yield "the last answer breaks off"
    text = talk.received.decode("latin-1")
    if others := set(TOKEN.findall(text)) - {talk.stream.token}:
        yield f"an answer tells of other streams: {', '.join(sorted(others)[:3])}"
    if SECRET in text:
        yield "an answer tells of the credentials of somebody else"
    if not talk.stream.is_aborted:
        yield from _faults_of_answers(talk, is_direct)


def _faults_of_answers(talk: Conversation, is_direct: bool) -> Iterator[str]:
    requests, tail, is_over = talk.reading.requests, talk.reading.tail, False
    for number, answer in enumerate(talk.answers):
        if is_over:
            yield f"answer {number} comes after the end of the connection"
        if number < len(requests):
            # Where the client has sent all it will send, the answer to its last request ends the connection.
            is_final = talk.stream.is_half_closed and number == len(requests) - 1
            yield from _faults_of_answer(number, requests[number], answer, is_direct, is_final)
            is_over = answer.is_last or requests[number].is_last
        elif number > len(requests) or not tail:
            yield f"answer {number} is to no request"
        elif answer.status < 400:
            yield f"what is not readable ({tail}) is answered with {answer.status}"
    if not is_over and len(talk.answers) < len(requests):
        if not (_is_left(talk) if is_direct else talk.stream.is_half_closed or _may_break_off(talk)):
            yield f"request {len(talk.answers)} has no answer"
    elif is_direct and not is_over and tail and "incomplete" not in tail and len(talk.answers) == len(requests):
        yield f"what is not readable ({tail}) is not refused"


def _faults_of_answer(number: int, request: Asked, answer: Answer, is_direct: bool, is_final: bool) -> Iterator[str]:
    doubts = request.doubts - (_FINE_DIRECTLY if is_direct else _FINE)
    is_refused, expected = answer.status >= 400, _expected(request)
    if not (is_refused and doubts) and answer.status not in expected:
        yield f"request {number} is answered with {answer.status}"
    if is_direct and not is_refused and request.doubts & _REFUSED_DIRECTLY:
        yield f"request {number} is accepted, in spite of {request.doubts}"
    is_stream = ENDED in request.path  # its answer is the last one if half a request follows
    may_end = is_final or is_refused or answer.status == 101 or request.may_be_last or is_stream
    if is_direct and answer.is_last and not may_end:
        yield f"the connection ends with request {number}, which is right"
    if answer.status == 101 and request.body:
        yield f"request {number} has a body, and is accepted as a handshake"
    if is_direct and answer.has_needless_body and Doubt.TARGET not in request.doubts:
        yield f"request {number} is a HEAD and answered with a body"
    if 100 in answer.interim and not request.values("expect"):
        yield f"request {number} is told to continue, which it did not ask for"
    channel = _channel_of(request)
    if channel and not is_refused and answer.body and channel not in answer.body.decode("latin-1"):
        yield f"the answer to request {number} is not about its channel"


def _is_left(talk: Conversation) -> bool:
    """Return whether the client left a long poll by its half-close, and with it what follows."""
    near = talk.reading.requests[max(0, len(talk.answers) - 1) : len(talk.answers) + 1]
    return talk.stream.is_half_closed and any(request.path.startswith("/longpoll/") for request in near)


def _may_break_off(talk: Conversation) -> bool:
    """Return whether a proxy may close without another answer: what it did not understand it has refused, or drops."""
    near = talk.reading.requests[max(0, len(talk.answers) - 1) : len(talk.answers) + 1]
    return any(request.doubts - _FINE or request.may_be_last for request in near)


def _channel_of(request: Asked) -> str:
    """Return the channel of which the answer to a request has to tell; empty where that is not sure."""
    found = re.match("/(?:pub|poll|longpoll)/(.*)", request.path)
    return found[1] if found and not request.doubts & {Doubt.TARGET, Doubt.ENCODED_PATH} else ""


def _expected(request: Asked) -> frozenset[int]:
    """Return the statuses with which a request may be answered."""
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
    """What a channel has to hold in the end."""

    certain: dict[str, bytes] = field(default_factory=dict)
    """Data by id of the messages that were accepted."""
    possible: list[bytes] = field(default_factory=list)
    """Data of what was sent and not answered: each is there once, or not."""

    def faults(self, stored: dict[str, bytes]) -> Iterator[str]:
        """Say what is wrong with the messages of the channel, data by id."""
        for id_, data in self.certain.items():
            if stored.get(id_) != data:
                yield f"{id_} was accepted with {data!r} and is kept as {stored.get(id_)!r}"
        others = Counter(data for id_, data in stored.items() if id_ not in self.certain)
        for data in (others - Counter(self.possible)).elements():
            yield f"{data!r} is kept, and nobody published it"


def expect(talk: Conversation, channels: dict[str, Kept]) -> None:
    """Apply to some channels what the requests of a stream did, as far as they were answered."""
    is_over = False
    for number, request in enumerate(talk.reading.requests):
        answer = talk.answers[number] if number < len(talk.answers) else None
        if is_over:
            break
        if answer is None or answer.status in (502, 503, 504):
            _expect_perhaps(request, channels)
        elif answer.status < 300:
            _expect_surely(request, answer, channels)
        if answer is not None:
            is_over = answer.is_last or request.is_last


def _expect_surely(request: Asked, answer: Answer, channels: dict[str, Kept]) -> None:
    try:
        receipt = json.loads(answer.body)
    except ValueError:
        return  # that is a fault of the answer
    if request.method in ("POST", "PUT") and "id" in receipt:
        channels.setdefault(receipt["channel"], Kept()).certain[receipt["id"]] = request.body
    elif request.method == "DELETE" and "deleted" in receipt:
        channels.setdefault(receipt["deleted"], Kept()).certain.clear()


def _expect_perhaps(request: Asked, channels: dict[str, Kept]) -> None:
    _, found, rest = request.path.partition("/pub/")
    if not found or request.method not in ("POST", "PUT", "DELETE"):
        return
    kept = channels.setdefault(rest.partition("#")[0], Kept())
    if request.method == "DELETE":
        kept.possible += kept.certain.values()
        kept.certain.clear()
    else:
        kept.possible.append(request.body)
