"""HTTP/1.1: connections, framing, headers, and invalid requests (RFC 9112)."""

import json
import select
import time
from contextlib import ExitStack

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS, Client, Http
from tests.daemon.conftest import TIMEOUT
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON

pytestmark = pytest.mark.system

GET = b"GET /health/live HTTP/1.1\r\n"
POST = b"POST /pub/smuggled HTTP/1.1\r\nHost: localhost\r\n"
SMUGGLED = b"POST /pub/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"


def test_connection_serves_many_requests(http: Http, channel: str) -> None:
    for _ in range(3):
        assert http.request("POST", f"/pub/{channel}", {}, b"x").status == 202
        assert http.request("GET", "/health/live").status == 200
        assert http.request("GET", "/nope", {}, b"a body").status == 404
        assert http.request("PATCH", "/channels", {}, b"a body").status == 405
        assert http.request("HEAD", f"/sse/{channel}").status == 200
        assert http.request("OPTIONS", "/pub/a").status == 204
        assert http.request("POST", "/pub", {}, b"x").status == 415


def test_pipelined_requests_are_answered_in_order(http: Http, channel: str) -> None:
    batch = b"\n".join(json.dumps({"channel": channel, "data": number}).encode() for number in range(1000))
    http.send_request("POST", "/pub", NDJSON, batch)
    for number in range(50):
        http.send_request("POST", f"/pub/{channel}", {}, b"%d" % number)
        http.send_request("GET", f"/nope/{number}")
    http.send(b"GET / HTTP/9.9\r\n\r\n")
    ids = [json.loads(line)["id"] for line in http.response().body.splitlines()]
    for _ in range(50):
        response = http.response()
        assert response.status == 202
        ids.append(response.json()["id"])
        assert http.response().status == 404
    sequence = [int(id.partition("-")[2]) for id in ids]
    assert len(sequence) == 1050
    assert sequence == sorted(set(sequence))


def test_invalid_request_after_a_valid_one_is_refused(http: Http) -> None:
    http.send(GET + b"Host: localhost\r\n\r\n" + GET + b"Host: localhost\r\nContent-Length: x\r\n\r\n" + SMUGGLED)
    assert http.response().status == 200
    assert http.response().status == 400
    assert http.rest() == b""


def test_connection_is_reused_after_a_finite_stream(daemon: Daemon, http: Http, channel: str) -> None:
    last = daemon.publish(f"{channel}?end=1", b"only")["id"]
    for target in (f"/stream/{channel}?since=all", f"/sse/{channel}?since=all"):
        assert b"only" in http.request("GET", target).body
        assert http.request("GET", "/health/live").status == 200
    assert http.request("GET", f"/sse/{channel}", {"Last-Event-ID": last}).status == 204
    http.send_request("GET", f"/stream/{channel}/new")
    http.send_request("GET", "/health/live")
    assert http.head().status == 200
    daemon.publish(f"{channel}/new?end=1", b"new")
    assert [next(iter(json.loads(line))) for line in http.chunks()] == ["id", "type"]
    assert http.response().json() == {"live": True}


def test_half_closed_connection_is_answered(http: Http, channel: str) -> None:
    """`nc -N` and some scripts close their sending side after the request."""
    http.send_request("POST", f"/pub/{channel}", {}, b"x" * 20_000)
    http.send_request("GET", f"/pub/{channel}")
    http.half_close()
    assert http.response().status == 202
    assert http.response().json()["messages"] == 1
    assert http.rest() == b""


@pytest.mark.parametrize("route", ["sse", "longpoll"])
def test_half_close_ends_a_held_request(daemon: Daemon, http: Http, channel: str, route: str) -> None:
    """To the daemon this is the same as a browser that closes a stream."""
    http.send_request("GET", f"/{route}/{channel}")
    assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").status == 200)
    http.half_close()
    assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").status == 404)


@pytest.mark.parametrize(("version", "headers"), [("1.0", {}), ("1.1", {"Connection": "close"})])
def test_connection_closes_after_one_request(http: Http, version: str, headers: dict[str, str]) -> None:
    assert http.request("GET", "/health/live", headers, version=version).json() == {"live": True}
    assert http.rest() == b""


@pytest.mark.parametrize("route", ["sse", "stream"])
def test_stream_over_http_1_0_is_not_chunked(daemon: Daemon, http: Http, channel: str, route: str) -> None:
    http.send_request("GET", f"/{route}/{channel}", version="1.0")
    response = http.head()
    assert (response.status, "transfer-encoding" in response.headers, "content-length" in response.headers) == (
        200,
        0,
        0,
    )
    daemon.publish(f"{channel}?end=1", b"last")
    body = http.rest()
    if route == "sse":
        assert body.startswith(b":\nretry: ") and body.count(b"\n\n") == 3
    else:
        assert [next(iter(json.loads(line))) for line in body.splitlines()] == ["id", "type"]


# Headers


@pytest.mark.parametrize(
    "head",
    [
        GET + b"Host: localhost\r\nX: " + b"x" * 9000,
        GET + b"Host: localhost\r\n" + (b"X: " + b"x" * 3000 + b"\r\n") * 3,
        GET + b"Host: localhost\r\n" + b"a:\r\n" * 3000,
        b"GET /" + b"x" * 9000,
        b"x" * 9000,
    ],
    ids=["long header", "long headers", "many headers", "long target", "no request"],
)
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["incomplete", "complete"])
def test_too_large_headers_are_refused(http: Http, head: bytes, end: bytes) -> None:
    http.send(head + end)
    response = http.response()
    assert (response.status, response.code) in ((431, "headers-too-large"), (400, "bad-request"))
    assert response.status == 431 or head[:1] in b"xG", "invalid requests are refused as such"
    assert http.rest() == b""


def test_headers_within_the_limit_are_accepted(http: Http) -> None:
    assert http.request("GET", "/health/live", {"X": "x" * 7900}).status == 200
    assert http.request("GET", f"/history/{','.join('a' * 250 for _ in range(20))}").status == 200


@pytest.mark.parametrize(
    "name",
    [
        *("Accept", "Content-Type", "Last-Event-ID", "If-None-Match", "Idempotency-Key", "Origin", "Authorization"),
        *("X-Forwarded-For", "Cookie", "Upgrade", "Connection", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version"),
    ],
)
def test_header_that_is_not_utf_8(daemon: Daemon, name: str) -> None:
    statuses = {}
    for target in ("/pub/a", "/sse/a", "/stream/a", "/history/a", "/ws/a"):
        usual = HANDSHAKE if target == "/ws/a" else {}
        with daemon.http() as http:
            http.send_request("POST" if target == "/pub/a" else "GET", target, usual | {name: "\xff\x85"})
            statuses[target] = http.head().status
    assert all(status < 500 for status in statuses.values()), statuses


SLOW = {
    "silence": (b"", b""),
    "a request line": (b"GET /", b"x"),
    "a header": (GET + b"Host: localhost\r\nX: ", b"x"),
    "headers": (GET + b"Host: localhost\r\n", b"X: x\r\n"),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first request", "second request"])
def test_slow_headers_time_out(hasty: Daemon, is_first: bool) -> None:
    slow = {name: parts for name, parts in SLOW.items() if is_first or name != "silence"}
    start_times, durations = dict[str, float](), dict[str, float]()
    with ExitStack() as stack:
        clients = {}
        for name, (head, _) in slow.items():
            start_times[name] = time.monotonic()
            client = clients[name] = stack.enter_context(hasty.http())
            assert is_first or client.request("GET", "/health/live").status == 200
            client.send(head)

        def are_closed() -> bool:
            for name in clients.keys() - durations.keys():
                if is_closed(clients[name], slow[name][1]):
                    durations[name] = time.monotonic() - start_times[name]
            return len(durations) == len(clients)

        assert eventually(are_closed), durations
    assert all(seconds > 0.8 * TIMEOUT for seconds in durations.values()), durations


UPLOADS = {
    "of a length": (POST + b"Content-Length: 5000\r\n\r\n", b"x"),
    "in chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("head_and_drip", UPLOADS.values(), ids=UPLOADS)
def test_slow_body_times_out(hasty: Daemon, head_and_drip: tuple[bytes, bytes]) -> None:
    """The deadline is for the whole body, however steadily its bytes arrive."""
    head, drip = head_and_drip
    with hasty.http() as client:
        start_time = time.monotonic()
        client.send(head)
        while not is_readable(client) and time.monotonic() < start_time + SECONDS:
            client.send(drip)
        assert 0.8 * TIMEOUT < time.monotonic() - start_time < SECONDS
        response = client.response()
        assert (response.status, response.code) == (408, "request-timeout")


def is_readable(client: Client) -> bool:
    return bool(select.select([client.socket], [], [], 0.02)[0])


def is_closed(client: Client, drip: bytes) -> bool:
    """Send a piece; return whether the daemon has closed the connection."""
    client.socket.settimeout(0.02)
    try:
        client.send(drip)
        return client.socket.recv(1000) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_handshake_deadline_ends_with_the_handshake(hasty: Daemon) -> None:
    with ExitStack() as stack:
        stream = stack.enter_context(hasty.http())
        stream.open_stream("/sse/a")
        idle = stack.enter_context(hasty.http())
        assert idle.request("GET", "/health/live").status == 200
        lines = stack.enter_context(hasty.lines())
        websocket = stack.enter_context(hasty.websocket())
        with hasty.http() as silent:
            silent.rest()  # It connected last: when it times out, the deadlines of the others are over.
        assert idle.request("GET", "/health/live").status == 200
        assert lines.command(b"PUB a x").endswith(b" 1")
        assert b"data: x" in stream.chunk() + stream.chunk()
        websocket.send('{"ping":1}')
        assert websocket.recv(SECONDS)


# Invalid requests


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: 1, 2\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: +1\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: -1\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: 0x1\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: 1_0\r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length: \r\n\r\nx" + SMUGGLED,
        POST + b"Content-Length : 1\r\n\r\nx" + SMUGGLED,
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 20_000,
        POST + b"X: a\nContent-Length: 5\r\n\r\n" + SMUGGLED,
        POST + b"X: a\rContent-Length: 5\r\n\r\n" + SMUGGLED,
        POST + b"X: a\0\r\n\r\n" + SMUGGLED,
        POST + b"X\0: a\r\n\r\n" + SMUGGLED,
        POST + b"no colon\r\n\r\n" + SMUGGLED,
        POST + b": no name\r\n\r\n" + SMUGGLED,
    ],
    ids=lambda request_: repr(request_[len(POST) :])[2:50],
)
def test_ambiguous_framing_is_refused(daemon: Daemon, http: Http, request_: bytes) -> None:
    http.send(request_)
    response = http.response()
    assert (response.status, response.code) == (400, "bad-request")
    assert http.rest() == b""
    assert daemon.request("GET", "/pub/smuggled").status == 404


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"GET /health/live",
        b"GET /health/live HTTP/2.0",
        b"GET /health/live HTTP/1",
        b"GET /health/live http/1.1",
        b"GET /health/live FTP/1.1",
        b"GET /health/live x HTTP/1.1",
        b"G(T /health/live HTTP/1.1",
        b"G\xe9T /health/live HTTP/1.1",
        b"GET /health\0live HTTP/1.1",
        b"GET /health/\x01 HTTP/1.1",
        b"GET",
        b" GET /health/live HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
    ids=repr,
)
def test_invalid_request_line_is_refused(daemon: Daemon, http: Http, line: bytes) -> None:
    start = len(daemon.log)
    http.send(line + b"\r\nHost: localhost\r\n\r\n")
    response = http.response()
    assert response.status in (400, 501, 505)
    assert http.rest() == b""
    assert "Traceback" not in daemon.log[start:]


@pytest.mark.parametrize(
    "headers",
    [b"", b"Host: localhost\r\nHost: b\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a, b\r\n"],
    ids=["none", "two", "white space", "a path", "a list"],
)
def test_invalid_host_is_refused(http: Http, headers: bytes) -> None:
    http.send(GET + headers + b"\r\n")
    assert http.response().status == 400


def test_chunks_over_http_1_0_are_refused(http: Http) -> None:
    http.send(POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert http.response().status == 400
