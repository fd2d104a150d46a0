"""A body is never parsed as a request, and no request is processed twice (RFC 9112, sections 6 and 9.3)."""

import re
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pushd.http.limits import HttpLimits
from tests.transports.daemon import turns, until
from tests.transports.in_memory import CONTINUE, Asked, InMemory

SMUGGLED = b"DELETE /pub/b HTTP/1.1\r\nHost: localhost\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "unknown": b"Connection: upgrade\r\nUpgrade: x, y/2\r\n",
    "Proxy-Connection": b"Proxy-Connection: upgrade\r\nUpgrade: h2c\r\n",
    "two lines": b"Upgrade: h2c\r\nConnection: keep-alive\r\nConnection: upgrade\r\n",
}
FRAMINGS = ("length", "chunked")
KNOWN = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"REPORT", b"PROPFIND", b"M-SEARCH")
UNKNOWN = (b"XYZZY", b"get", b"BREW-1", b"GETX", b"P", b"REPORTS")
HANDSHAKE = (
    b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def framed(body: bytes, framing: str, pieces: int = 2) -> bytes:
    """Return the header that frames a body, the end of the head, and the body."""
    if framing == "length":
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    size = max(1, -(-len(body) // pieces))
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % coded


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# Upgrade


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"GET", b"OPTIONS", b"PATCH"])
def test_the_body_of_a_refused_upgrade_belongs_to_its_request(method, upgrade, framing, size):
    client = InMemory()
    one = method + b" /pub/a HTTP/1.1\r\nHost: localhost\r\n" + UPGRADES[upgrade] + framed(SMUGGLED, framing)
    client.send(split(one + one + NEXT, size))
    asked = Asked(method, b"/pub/a", SMUGGLED)
    assert client.asked == [asked, asked, Asked(b"GET", b"/next", b"")]
    assert client.statuses == [200, 200, 200]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_requests_after_an_upgrade_without_a_body_are_answered_in_order(method, upgrade, size):
    client = InMemory()
    client.send(split((method + b" /a HTTP/1.1\r\nHost: localhost\r\n" + UPGRADES[upgrade] + b"\r\n" + NEXT) * 3, size))
    assert client.asked == [Asked(method, b"/a", b""), Asked(b"GET", b"/next", b"")] * 3
    assert client.statuses == [200] * 6


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_body_of_a_refused_upgrade_is_limited(framing):
    client = InMemory(HttpLimits(message=100))
    head = b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n" + UPGRADES["h2c"]
    client.send([head + framed(b"x" * 101, framing, pieces=1) + NEXT])
    assert (client.asked, client.statuses, client.is_closed) == ([], [413], True)


def test_an_upgrade_of_http_1_0_is_ignored_and_the_connection_closes():
    client = InMemory()
    head = b"POST /pub/a HTTP/1.0\r\nHost: localhost\r\n" + UPGRADES["h2c"]
    client.send([head + framed(SMUGGLED, "length") + NEXT])
    assert client.asked == [Asked(b"POST", b"/pub/a", SMUGGLED)]
    assert (client.statuses, client.is_closed) == ([200], True)


# Methods


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("crlf", [b"", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("method", UNKNOWN)
def test_an_unknown_method_closes_the_connection_and_nothing_is_processed_twice(method, crlf, size):
    client = InMemory()
    first = b"POST /pub/dup HTTP/1.1\r\nHost: localhost\r\n" + framed(b"hello", "length")
    unknown = crlf + method + b" /x HTTP/1.1\r\nHost: localhost\r\n" + UPGRADES["h2c"] + framed(NEXT, "length")
    client.send(split(first + unknown + NEXT, size))
    assert client.asked == [Asked(b"POST", b"/pub/dup", b"hello")]
    assert (client.statuses, client.is_closed) == ([200, 501], True)
    assert b"Connection: close" in client.answers[-1].head


@pytest.mark.parametrize("target", [b"example.org:443", b"/pub/a"])
def test_connect_is_refused_and_nothing_is_read_after_it(target):
    client = InMemory()
    client.send([NEXT + b"CONNECT " + target + b" HTTP/1.1\r\nHost: example.org:443\r\n\r\n" + NEXT])
    assert (len(client.asked), client.statuses, client.is_closed) == (1, [200, 405], True)
    assert b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, POST, PUT" in client.answers[-1].head


@pytest.mark.parametrize(
    "last",
    [
        b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: localhost\r\nProxy-Connection: close\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 0\r\n\r\n",
    ],
)
def test_nothing_is_processed_after_the_last_request(last):
    client = InMemory()
    client.send([last + NEXT + NEXT])
    assert ([asked.path for asked in client.asked], client.statuses, client.is_closed) == ([b"/a"], [200], True)


# Targets, Host and Expect


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://a/pub/x", b"a", b"/pub/x"),
        (b"HTTP://A/pub/x", b"a", b"/pub/x"),
        (b"http://a:80/pub/x", b"a", b"/pub/x"),
        (b"http://a/pub/x", b"a:80", b"/pub/x"),
        (b"https://a:443/pub/x", b"a", b"/pub/x"),
        (b"http://[::1]:8080/pub/x", b"[::1]:8080", b"/pub/x"),
        (b"http://a", b"a", b"/"),
        (b"http://a?q=1", b"a", b"/"),
    ],
)
def test_a_target_in_absolute_form_is_accepted_if_it_names_the_host(target, host, path):
    client = InMemory()
    client.send([b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + NEXT])
    assert [asked.path for asked in client.asked] == [path, b"/next"]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b/pub/x", b"a"),
        (b"http://a:8080/pub/x", b"a"),
        (b"http://a/pub/x", b"a:8080"),
        (b"https://a:80/pub/x", b"a"),
        (b"http://user@a/pub/x", b"a"),
        (b"http:///pub/x", b"a"),
        (b"http://a/pub/x", b""),
        (b"ftp://a/pub/x", b"a"),
    ],
)
def test_a_target_that_names_another_host_is_refused(target, host):
    client = InMemory()
    client.send([b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + NEXT])
    assert (client.asked, client.statuses, client.is_closed) == ([], [400], True)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"A : b\r\n\r\n",
        b"A: b\r\n" * 4000,
        b"Transfer-Encoding: chunked\r\n\r\nnone\r\n",
        b"Expect: x\r\n\r\n",
    ],
    ids=["head", "header", "size", "body", "expectation"],
)
@pytest.mark.parametrize("size", [7, 10_000])
def test_the_refusal_of_a_head_request_has_no_body(rest, size):
    client = InMemory()
    client.send(split(b"HEAD /a HTTP/1.1\r\nHost: localhost\r\n" + rest + NEXT, size))
    head, end, body = client.transport.value().partition(b"\r\n\r\n")
    assert head[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 417")
    assert (end, body, client.is_closed) == (b"\r\n\r\n", b"", True)


def test_options_of_the_whole_server():
    client = InMemory()
    client.send([b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n" + NEXT])
    assert client.statuses == [200, 200]


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"100-continue=1"])
def test_an_unknown_expectation_is_refused(value):
    client = InMemory()
    client.send([b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nExpect: " + value + b"\r\n" + framed(NEXT, "length")])
    assert (client.asked, client.statuses, client.is_closed) == ([], [417], True)


@pytest.mark.parametrize("first", [b"", NEXT, b"GET /a?later HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("upgrade", [b"", UPGRADES["h2c"]])
def test_100_continue_is_sent_once_all_earlier_requests_are_answered(first, upgrade):
    client = InMemory()
    expecting = (
        b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\n" + upgrade + b"Content-Length: 2\r\n\r\n"
    )
    client.connection.dataReceived(first + expecting)
    if b"later" in first:
        assert client.transport.value() == b""
        client.recorder.answer()
    assert client.transport.value().endswith(CONTINUE)
    assert client.transport.value().count(CONTINUE) == 1
    client.connection.dataReceived(b"xy" + NEXT)
    assert client.asked[-2:] == [Asked(b"POST", b"/pub/a", b"xy"), Asked(b"GET", b"/next", b"")]
    assert client.transport.value().count(CONTINUE) == 1


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"/%70ub/x", b"/pub/x"),
        (b"/%70%75%62", b"/pub"),
        (b"/%50ub%2Dx%2e%5F%7e%39", b"/Pub-x._~9"),
        (b"/pub/a%2Fb%2c%20", b"/pub/a%2Fb%2c%20"),
        (b"/pub/%252F%zz%", b"/pub/%252F%zz%"),
        (b"/pub/", b"/pub/"),
        (b"//pub//", b"//pub//"),
    ],
)
def test_unreserved_characters_of_a_path_are_decoded(sent, path):
    client = InMemory()
    client.send([b"GET " + sent + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert [asked.path for asked in client.asked] == [path]


# Requests after a held one


def test_bytes_after_a_held_request_are_read_up_to_the_limit():
    client = InMemory()
    client.connection.dataReceived(b"GET /a?held HTTP/1.1\r\nHost: localhost\r\n\r\n" + NEXT)
    assert client.transport.is_reading
    client.connection.dataReceived(NEXT[:20])
    client.connection.dataReceived(NEXT[20:])
    assert (client.statuses, client.transport.is_reading) == ([], True)
    client.recorder.answer()
    assert client.statuses == [200, 200, 200]


@pytest.mark.parametrize("early", [0, 20, 60, 1000])
@pytest.mark.parametrize("between", [b"", NEXT])
def test_a_held_request_is_answered_when_too_many_bytes_follow_it(between, early):
    client = InMemory()
    behind = between + b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n" + framed(b"x" * 12_000, "length") + NEXT
    segments = [b"GET /a?held HTTP/1.1\r\nHost: localhost\r\n\r\n" + behind[:early], *split(behind[early:], 1000)]
    for segment in segments[:8]:
        client.connection.dataReceived(segment)
    assert (client.statuses, client.transport.is_reading) == ([], True)
    for segment in segments[8:]:
        assert client.transport.is_reading
        client.connection.dataReceived(segment)
    assert client.statuses == [200] * len(client.asked)
    assert client.asked[-2:] == [Asked(b"POST", b"/pub/a", b"x" * 12_000), Asked(b"GET", b"/next", b"")]


def test_a_disconnect_is_detected_during_a_held_request():
    client = InMemory()
    client.connection.dataReceived(b"GET /a?held HTTP/1.1\r\nHost: localhost\r\n\r\n" + NEXT)
    client.connection.readConnectionLost()
    assert client.is_closed
    client.connection.connectionLost(Failure(ConnectionDone()))
    assert (client.recorder.gone, len(client.asked), client.statuses) == (1, 1, [])


def test_a_client_that_sends_nothing_more_is_answered():
    client = InMemory()
    client.connection.dataReceived(b"GET /a?later HTTP/1.1\r\nHost: localhost\r\n\r\n" + NEXT[:10])
    client.connection.readConnectionLost()
    assert not client.is_closed
    client.recorder.answer()
    assert (client.statuses, client.is_closed) == ([200], True)


# Any requests, in any segments


class Piece(NamedTuple):
    """A request, and its expected result."""

    wire: bytes
    asked: Asked | None
    """The processed request; None if it is refused."""
    status: int
    is_last: bool


@st.composite
def pieces(draw: st.DrawFn, number: int, queries: tuple[bytes, ...] = (b"", b"?later", b"?held")) -> Piece:
    method = draw(st.one_of(st.sampled_from(KNOWN), st.sampled_from((*KNOWN, *UNKNOWN, b"CONNECT"))))
    body = draw(st.sampled_from([b"", b"x", SMUGGLED, NEXT * 2, b"\r\n", b"0\r\n\r\n" + NEXT]) | st.binary(max_size=50))
    framing = draw(st.sampled_from([*FRAMINGS, "none"]))
    upgrade = draw(st.sampled_from([b"", b"", *UPGRADES.values()]))
    expect = draw(st.sampled_from([b"", b"", b"", b"100-continue", b"x"]))
    close = draw(st.sampled_from([b""] * 6 + [b"Connection: close\r\n", b"Proxy-Connection: close\r\n"]))
    query = draw(st.sampled_from(queries))
    crlf = draw(st.sampled_from([b"", b"", b"\r\n", b"\r\n\r\n"]))
    path = b"/%d" % number
    headers = b"Host: localhost\r\n" + close + upgrade + (b"Expect: %b\r\n" % expect if expect else b"")
    body = b"" if framing == "none" else body
    end = b"\r\n" if framing == "none" else framed(body, framing, draw(st.integers(1, 4)))
    wire = crlf + method + b" " + path + query + b" HTTP/1.1\r\n" + headers + end
    if method in UNKNOWN or method == b"CONNECT" or expect == b"x":
        return Piece(wire, None, 501 if method in UNKNOWN else 405 if method == b"CONNECT" else 417, is_last=True)
    return Piece(wire, Asked(method, path, body), 200, is_last=bool(close))


@st.composite
def streams(draw: st.DrawFn, *queries: bytes) -> tuple[list[Piece], list[bytes]]:
    requests = [draw(pieces(number, queries)) for number in range(draw(st.integers(1, 6)))]
    data = b"".join(request.wire for request in requests)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    segments = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return requests, [segment for segment in segments if segment]


@given(stream=streams(b"", b"?later", b"?held"), is_eager=st.booleans())
@settings(max_examples=250)
def test_each_request_is_processed_once_and_answered_once(stream, is_eager):
    requests, segments = stream
    client = InMemory()
    client.send(segments, is_eager=is_eager)
    end = next((number for number, request in enumerate(requests, 1) if request.is_last), len(requests))
    expected = requests[:end]
    assert client.asked == [request.asked for request in expected if request.asked is not None]
    assert client.statuses == [request.status for request in expected]
    assert client.is_closed == expected[-1].is_last
    numbers = [answer.body for answer in client.answers if answer.status == 200]
    heads = [asked.method == b"HEAD" for asked in client.asked]
    assert numbers == [b"" if is_head else b"%d" % number for number, is_head in enumerate(heads)]


@given(stream=streams(b"", b"?stream", b"?held"), is_eager=st.booleans())
@settings(max_examples=250)
def test_no_request_is_lost_or_processed_twice_around_streams(stream, is_eager):
    """Only a stream after which part of a request was read may be the last answer too early."""
    requests, segments = stream
    client = InMemory()
    client.send(segments, is_eager=is_eager)
    end = next((number for number, request in enumerate(requests, 1) if request.is_last), len(requests))
    answers = client.answers
    if len(answers) < end:
        assert b"\r\nConnection: close" in answers[-1].head and b"?stream" in requests[len(answers) - 1].wire
        end = len(answers)
    assert client.asked == [request.asked for request in requests[:end] if request.asked is not None]
    assert client.statuses == [request.status for request in requests[:end]]
    assert client.is_closed == (b"\r\nConnection: close" in answers[-1].head)


def test_bytes_after_a_handshake_that_is_queued_behind_a_stream_are_not_parsed():
    client = InMemory()
    handshake = b"GET /ws?later HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"
    client.connection.dataReceived(b"GET /s?stream HTTP/1.1\r\nHost: localhost\r\n\r\n" + handshake)
    client.recorder.answer()
    client.connection.dataReceived(NEXT[:10])
    assert not client.connection.is_mid_request
    client.recorder.answer()
    client.connection.dataReceived(NEXT[10:])
    assert client.statuses == [200, 200, 200]


WORDS = (
    *(b"\r\n", b"\n", b"\r", b" ", b":", b"0", b"\0", b"x", b"\xff", b",", b"%", b";", b"\t"),
    *(b"\r\n\r\n", b"0\r\n\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n"),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"GET ",
        b"CONNECT ",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"XYZZY ",
        SMUGGLED,
    ),
)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Return requests in which words replace some bytes, and the ends of the segments."""
    data = b"".join(draw(pieces(number)).wire for number in range(draw(st.integers(1, 4))))
    for word in draw(st.lists(st.sampled_from((*WORDS, b"")), min_size=1, max_size=4)):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + word + data[start + draw(st.sampled_from([0, 0, 1, 2, len(word)])) :]
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))


@given(mutation=mutations())
@settings(max_examples=250)
def test_requests_are_the_same_however_they_are_segmented(mutation):
    data, cuts = mutation
    outcomes = []
    for segments in ([data], [data[s:e] for s, e in zip([0, *cuts], [*cuts, len(data)], strict=True)], split(data, 1)):
        client = InMemory()
        client.send([segment for segment in segments if segment])
        statuses = client.statuses
        assert statuses[: len(client.asked)] == [200] * len(client.asked)
        assert len(statuses) - len(client.asked) <= 1
        assert not client.is_closed or statuses
        outcomes.append((client.asked, len(statuses), client.is_closed))
    assert outcomes[0] == outcomes[1] == outcomes[2]


# With a daemon


class Raw(Protocol):
    """A client that sends segments and collects what it receives."""

    def __init__(self, *segments: bytes) -> None:
        self.segments = segments
        self.received = b""
        self.is_closed = False

    def connectionMade(self) -> None:
        """Send the segments."""
        assert self.transport is not None
        for segment in self.segments:
            self.transport.write(segment)

    def dataReceived(self, data: bytes) -> None:
        """Collect received bytes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called when the daemon closes."""
        self.is_closed = True

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers so far."""
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 ([0-9]{3}) ", self.received, re.MULTILINE)]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_a_published_body_is_stored_whole(daemon, upgrade, framing):
    await daemon.publish("b", "kept")
    head = b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n" + UPGRADES[upgrade]
    client = daemon.connect(
        "http", Raw(head + framed(SMUGGLED, framing) + b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n")
    )
    await until(lambda: len(client.statuses) == 2, "both answers")
    assert client.statuses == [202, 404]
    stored = (await daemon.request("GET", "/history/**?since=all")).json
    assert [(message["channel"], message["data"]) for message in stored] == [("b", "kept"), ("a", SMUGGLED.decode())]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("target", [b"/ws/a", b"/ws", b"/sub/a"])
async def test_a_handshake_with_a_body_is_refused(daemon, target, framing):
    handshake = b"GET " + target + b" HTTP/1.1\r\n" + HANDSHAKE + framed(SMUGGLED, framing)
    client = daemon.connect("http", Raw(handshake + b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    await until(lambda: len(client.statuses) == 2, "both answers")
    assert client.statuses == [400, 404]
    assert b'"code":"bad-request"' in client.received


@pytest.mark.parametrize(("target", "status"), [(b"/ws/a*", 400), (b"/nope", 404), (b"/poll/a", 204)])
async def test_requests_after_a_refused_handshake_are_answered(daemon, target, status):
    handshake = b"GET " + target + b" HTTP/1.1\r\n" + HANDSHAKE + b"\r\n"
    client = daemon.connect("http", Raw((handshake + b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n") * 3))
    await until(lambda: len(client.statuses) == 6, "all answers")
    assert client.statuses == [status, 200] * 3


@pytest.mark.parametrize("target", [b"/ws/a", b"/sub/a"])
async def test_bytes_after_a_handshake_are_not_parsed_as_http(daemon, target):
    handshake = b"GET " + target + b" HTTP/1.1\r\n" + HANDSHAKE + b"Content-Length: 0\r\n\r\n"
    ping = b"\x89\x81\0\0\0\0x"
    client = daemon.connect("http", Raw(handshake + ping))
    await until(lambda: client.received.endswith(b"\x8a\x01x"), "the pong")
    assert client.statuses == [101]


HALVES = {
    "in the head": b"POST /pub/half HTTP/1.1\r\nHost: localhost\r\nConte",
    "at the body": b"POST /pub/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (10 + len(SMUGGLED)),
    "in the body": b"POST /pub/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n0123456789"
    % (10 + len(SMUGGLED)),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("client_class", ["sse", "stream", "multipart", "mixed", "sub"])
async def test_a_stream_closes_the_connection_if_part_of_the_next_request_was_read(daemon, client_class, half):
    await daemon.publish("b", "kept")
    get = b"GET /%b/s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % client_class.encode()
    client = daemon.connect("http", Raw(get + HALVES[half]))
    await until(lambda: client.statuses == [200], "the stream")
    assert b"\r\nConnection: close\r\n" in client.received
    client.transport.write(SMUGGLED)
    await turns()
    await daemon.publish("s", "last", end=1)
    await until(lambda: client.is_closed, "the end of the stream")
    assert len(client.statuses) == 1
    assert await daemon.info("half") is None
    assert await daemon.history("b")


async def test_complete_requests_after_a_stream_are_answered_when_it_ends(daemon):
    post = b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n" + framed(SMUGGLED, "length")
    client = daemon.connect("http", Raw(b"GET /sse/s HTTP/1.1\r\nHost: localhost\r\n\r\n" + post))
    await until(lambda: client.statuses == [200], "the stream")
    assert b"Connection: close" not in client.received
    client.transport.write(post[:50])
    await turns()
    client.transport.write(post[50:])
    await daemon.publish("s", "last", end=1)
    await until(lambda: len(client.statuses) == 3, "all answers")
    assert client.statuses == [200, 202, 202]
    assert len(await daemon.history("a")) == 2


async def test_bytes_received_during_a_stream_are_kept_when_another_stream_follows(daemon):
    stream = b"GET /sse/%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n" + framed(SMUGGLED, "length")
    client = daemon.connect("http", Raw(stream % b"s" + stream % b"t"))
    await until(lambda: client.statuses == [200], "the first stream")
    client.transport.write(post[:-20])
    await turns()
    await daemon.publish("s", "last", end=1)
    await until(lambda: client.statuses == [200, 200], "the second stream")
    client.transport.write(post[-20:])
    await turns()
    await daemon.publish("t", "last", end=1)
    await until(lambda: len(client.statuses) == 3, "the answer to the publish")
    assert client.statuses == [200, 200, 202]
    stored = (await daemon.request("GET", "/history/**?since=all")).json
    assert [message["data"] for message in stored] == ["last", "last", SMUGGLED.decode()]


HELD = {
    "longpoll": b"GET /longpoll/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "sub": b"GET /sub/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "pull": b"GET /pull/a?interval=0&since=%b HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("leave", ["half-close", "reset"])
@pytest.mark.parametrize("behind", [b"", NEXT, NEXT * 3, NEXT[:20], b"XYZZY / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("client_class", HELD)
async def test_a_disconnect_from_a_held_request_is_detected_at_once(daemon, client_class, behind, leave):
    first = await daemon.publish("a", "x")
    held = HELD[client_class] % first.encode() if client_class == "pull" else HELD[client_class]
    client = daemon.connect("http", Raw(held + behind))
    await until(lambda: daemon.subscribers("a"), "the held request")
    client.transport.write(behind)
    await turns()
    if leave == "reset":
        client.transport.abortConnection()
    else:
        client.transport.loseWriteConnection()
    await until(lambda: not daemon.subscribers("a"), "the request ended", 2.0)
    await until(lambda: not daemon.open_connections, "the connection closed", 2.0)


@pytest.mark.parametrize("client_class", HELD)
async def test_a_held_request_is_answered_at_once_when_many_bytes_follow_it(daemon, client_class):
    first = await daemon.publish("a", "x")
    held = HELD[client_class] % first.encode() if client_class == "pull" else HELD[client_class]
    post = b"POST /pub/b HTTP/1.1\r\nHost: localhost\r\n" + framed(b"x" * 20_000, "length")
    client = daemon.connect("http", Raw(held + post + post))
    await until(lambda: len(client.statuses) == 3, "all answers")
    assert client.statuses == [200 if client_class == "pull" else 204, 202, 202]
    assert len(await daemon.history("b")) == 2


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("target", "status"),
    [(b"/pub", 415), (b"/%70ub", 415), (b"http://localhost/p%75b", 415), (b"/pub?", 415)]
    + [(target, 413) for target in (b"/pub/", b"/pub/a", b"//pub", b"/pub%2F", b"/./pub", b"/PUB", b"/", b"/sse/a")],
)
async def test_the_limit_of_a_body_is_that_of_its_resource(start_daemon, target, status, framing):
    daemon = await start_daemon({"limits.message": 10, "limits.batch": 100})
    post = b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\n"
    client = daemon.connect("http", Raw(post + framed(b"x" * 11, framing, pieces=1)))
    await until(lambda: client.statuses, "the answer")
    assert client.statuses == [status]
