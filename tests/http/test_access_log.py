"""The access log has one line for each request that it picks, without queries and bodies."""

import re

import pytest

from pushd.http.access_log import AccessLog
from tests.transports.daemon import MovableReactor, until
from tests.transports.every_client import STREAMS, each_client
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.stream_client import Sse
from tests.transports.websocket_client import DataWebSocket


@pytest.fixture
def open_daemon(start_daemon):
    """Start a daemon that logs every request."""

    async def start(reactor=None):
        return await start_daemon({"log.access": 1}, reactor)

    return start


def lines(daemon):
    """Return the lines of the access log, without their durations."""
    lines = [line for line in daemon.log if line.endswith(" ms")]
    return [re.sub(r"[0-9.]+ ms$", "T", line) for line in lines]


async def test_nothing_is_logged_by_default(daemon):
    await daemon.publish("a")
    assert lines(daemon) == []


async def test_an_answer_is_logged_without_query_and_body(open_daemon):
    daemon = await open_daemon()
    await daemon.publish("a/b", "body", event="query")
    await daemon.request("GET", "/nowhere?token=x")
    published, not_found = lines(daemon)
    assert re.fullmatch(r"http 127\.0\.0\.1: POST /pub/a/b 202, [0-9]+ bytes, T", published)
    assert re.fullmatch(r"http 127\.0\.0\.1: GET /nowhere 404, [0-9]+ bytes, T", not_found)


async def test_the_size_is_that_of_the_whole_answer(open_daemon, monkeypatch):
    daemon = await open_daemon()
    client, received = HttpClient(encode_request("GET", "/health/live")), []
    receive = client.dataReceived

    def count(data):
        received.append(len(data))
        receive(data)

    monkeypatch.setattr(client, "dataReceived", count)
    daemon.connect("http", client)
    await client.answer
    assert lines(daemon) == [f"http 127.0.0.1: GET /health/live 200, {sum(received)} bytes, T"]


@each_client(STREAMS)
async def test_a_stream_is_logged_when_it_has_ended(open_daemon, client_class):
    reactor = MovableReactor()
    daemon = await open_daemon(reactor)
    peer = client_class(daemon)
    await peer.subscribe("a")
    name = str(daemon.subscribers("a")[0].peer)
    await reactor.pass_time(3)
    assert lines(daemon) == []
    peer.disconnect()
    await until(lambda: lines(daemon), "the line")
    assert "#" in name
    assert daemon.log[-1] == f"{name}: GET /{client_class.resource}/a 200, ended after 3000.0 ms"


async def test_a_stream_that_gives_its_connection_back_is_logged_once(open_daemon):
    daemon = await open_daemon()
    peer = Sse(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", end=1)
    peer.disconnect()
    await until(lambda: not daemon.open_connections, "the connection closed")
    assert sum("GET /sse/a 200, ended" in line for line in lines(daemon)) == 1
    assert len(lines(daemon)) == 2


async def test_a_websocket_is_logged_once_when_it_has_ended(open_daemon):
    daemon = await open_daemon()
    peer = DataWebSocket(daemon)
    await peer.subscribe("a")
    name = str(daemon.subscribers("a")[0].peer)
    peer.close()
    await until(lambda: not daemon.open_connections, "the connection closed")
    assert lines(daemon) == [f"{name}: GET /ws/a 101, ended after T"]


async def test_a_disconnect_before_the_answer_is_logged(open_daemon):
    daemon = await open_daemon()
    client = HttpClient(encode_request("GET", "/longpoll/a"))
    client.answer.addErrback(lambda failure: None)
    daemon.connect("http", client)
    await until(lambda: daemon.subscribers("a"), "the poll")
    client.transport.abortConnection()
    await until(lambda: lines(daemon), "the line")
    assert lines(daemon) == ["http 127.0.0.1: GET /longpoll/a 499, 0 bytes, T"]


@pytest.mark.parametrize(
    ("request_bytes", "start"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "http 127.0.0.1: GET / 400, "),
        (b"nonsense\r\n\r\n", "http 127.0.0.1: - - 400, "),
        (
            b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
            "http 127.0.0.1: POST /pub/a 413, ",
        ),
    ],
    ids=["no host", "nonsense", "too large"],
)
async def test_refused_requests_are_logged(open_daemon, request_bytes, start):
    daemon = await open_daemon()
    client = HttpClient(request_bytes)
    daemon.connect("http", client)
    await client.answer
    (line,) = lines(daemon)
    assert line.startswith(start)


async def test_a_long_path_is_truncated(open_daemon):
    daemon = await open_daemon()
    await daemon.request("GET", "/nowhere/" + "x" * 5000)
    assert f"GET /nowhere/{'x' * 191}… 404" in lines(daemon)[0]


def test_the_log_has_a_namespace_of_its_own():
    assert AccessLog().log.namespace == "pushd.access"


def test_a_share_of_requests_is_picked_at_random():
    numbers = iter([0.0, 0.24, 0.25, 0.99])
    access = AccessLog(0.25, chance=lambda: next(numbers))
    assert [access.picks() for _ in range(4)] == [True, True, False, False]


def test_share_zero_picks_none_and_share_one_picks_all():
    assert not AccessLog(0.0, chance=lambda: 0.0).picks()
    assert AccessLog(1.0, chance=lambda: 0.999999).picks()
