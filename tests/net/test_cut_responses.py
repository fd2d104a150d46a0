"""Responses to outgoing requests (hooks, callbacks, JWK sets) that are cut, at each byte: none counts as complete."""

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from pushd.auth.callback_question import InvalidAnswer, parse_answer
from pushd.net.outgoing_requests import OutgoingRequest, RequestFailed, send_request

BODY = b'{"allow":true,"grant":{"subscribe":["a","b"]},"ttl":600}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
RESPONSES = {
    "a length": OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n10\r\n%b\r\n028\r\n%b\r\n0\r\n\r\n" % (BODY[:16], BODY[16:]),
}
NOTICES = {
    "no content": (b"HTTP/1.1 204 No Content\r\nServer: receiver\r\n\r\n", 204),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nthank you\r\n", 200),
    "gone": (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 410),
    "a pause": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 3600\r\n\r\n", 503),
}


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Answering:
    """An endpoint in memory: each connection receives some bytes after the request, and is closed."""

    def __init__(self, clock: Clock, answer: bytes) -> None:
        self._clock = clock
        self._answer = answer
        self.connections = 0

    def endpointForURI(self, uri: object) -> "Answering":
        """See `IAgentEndpointFactory`."""
        return self

    def connect(self, protocolFactory: Any) -> "Deferred[Any]":
        """See `IStreamClientEndpoint`."""
        self.connections += 1
        protocol = protocolFactory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        self._clock.callLater(0.1, self._receive, protocol)
        return succeed(protocol)

    def _receive(self, protocol: Any) -> None:
        if self._answer:
            protocol.dataReceived(self._answer)
        protocol.connectionLost(Failure(ConnectionDone()))


class Outcome:
    """What became of a request that is answered with some bytes and the end of the connection."""

    def __init__(self, answer: bytes, *, is_notice: bool = False) -> None:
        clock = Clock()
        untyped: Any = clock
        endpoint = Answering(clock, answer)
        agent = Agent.usingEndpointFactory(untyped, endpoint, HTTPConnectionPool(untyped, persistent=False))
        request = OutgoingRequest("POST", "http://app.example.org/", is_notice=is_notice)
        self.body: bytes | None = None
        self.failure: RequestFailed | None = None
        sending = Deferred.fromCoroutine(send_request(agent, request, untyped))
        sending.addCallbacks(self._receive, self._fail)
        clock.pump([0.1] * 3)
        assert (self.body is None) != (self.failure is None)
        self.connections = endpoint.connections

    def _receive(self, body: bytes) -> None:
        self.body = body

    def _fail(self, failure: Failure) -> None:
        assert isinstance(failure.value, RequestFailed)
        self.failure = failure.value


def cut(answer: bytes) -> Iterator[bytes]:
    """Yield all proper beginnings of an answer."""
    return (answer[:size] for size in range(len(answer)))


@pytest.mark.parametrize("kind", RESPONSES)
def test_response_that_is_cut_at_any_byte_fails(kind: str) -> None:
    assert Outcome(RESPONSES[kind]).body == BODY
    for answer in cut(RESPONSES[kind]):
        outcome = Outcome(answer)
        assert outcome.failure is not None, answer
        assert outcome.connections == (1 if answer else 2)


@pytest.mark.parametrize("kind", NOTICES)
def test_response_to_a_notice_that_is_cut_at_any_byte_neither_confirms_nor_refuses_it(kind: str) -> None:
    whole, status = NOTICES[kind]
    failure = Outcome(whole, is_notice=True).failure
    assert (failure.status if failure else None) == (None if status < 300 else status)
    for answer in cut(whole):
        outcome = Outcome(answer, is_notice=True)
        assert outcome.failure is not None, answer
        assert (outcome.failure.status, outcome.failure.retry_after) == (None, None)
        assert outcome.connections == 1


def test_answer_without_a_length_that_is_cut_at_any_byte_is_invalid() -> None:
    """Its end is that of the connection, so that the request itself does not fail."""
    head = OK + b"\r\n"
    assert parse_answer(Outcome(head + BODY).body or b"", None).is_allowed
    for answer in cut(head):
        assert Outcome(answer).failure is not None, answer
    for body in cut(BODY):
        outcome = Outcome(head + body)
        assert outcome.body == body
        with pytest.raises(InvalidAnswer):
            parse_answer(body, None)
