"""The access log: one line for each request that is picked, when it is over; without what nobody else may read."""

import re

import pytest

from pushd.http.access_log import AccessLog
from tests.transports.daemon import MovableReactor, until
from tests.transports.each import STREAMS, each
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.sockets import BareSocket
from tests.transports.streams import Sse


@pytest.fixture
def open_daemon(start_daemon):
    """Start a daemon that logs every request."""

    async def start(reactor=None):
        return await start_daemon({"log.access": 1}, reactor)

    return start


def told(daemon):
    """Give the lines of the access log, without their times."""
    lines = [line for line in daemon.log if line.endswith(" ms")]
    return [re.sub(r"[0-9.]+ ms$", "T", line) for line in lines]


async def test_nothing_is_told_unless_it_is_asked_for(daemon):
    await daemon.publish("a")
    assert told(daemon) == []


async def test_an_answer_is_told_without_query_and_body(open_daemon):
    daemon = await open_daemon()
    await daemon.publish("a/b", "body", event="query")
    await daemon.request("GET", "/nowhere?token=x")
    published, missed = told(daemon)
    assert re.fullmatch(r"http 127\.0\.0\.1: POST /pub/a/b 202, [0-9]+ bytes, T", published)
    assert re.fullmatch(r"http 127\.0\.0\.1: GET /nowhere 404, [0-9]+ bytes, T", missed)


async def test_the_size_is_that_of_the_whole_answer(open_daemon, monkeypatch):
    daemon = await open_daemon()
    client, received = HttpClient(encode_request("GET", "/health/live")), []
    take = client.dataReceived

    def count(data):
        received.append(len(data))
        take(data)

    monkeypatch.setattr(client, "dataReceived", count)
    daemon.connect("http", client)
    await client.answer
    assert told(daemon) == [f"http 127.0.0.1: GET /health/live 200, {sum(received)} bytes, T"]


@each(STREAMS)
async def test_a_stream_is_told_when_it_has_ended(open_daemon, way):
    reactor = MovableReactor()
    daemon = await open_daemon(reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    name = str(daemon.subscribers("a")[0].peer)
    await reactor.pass_time(3)
    assert told(daemon) == []
    peer.disconnect()
    await until(lambda: told(daemon), "the line")
    assert "#" in name
    assert daemon.log[-1] == f"{name}: GET /{way.door}/a 200, ended after 3000.0 ms"


async def test_a_stream_that_gives_its_connection_back_is_told_once(open_daemon):
    daemon = await open_daemon()
    peer = Sse(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", end=1)
    peer.disconnect()
    await until(lambda: not daemon.open_connections, "the connection closed")
    assert sum("GET /sse/a 200, ended" in line for line in told(daemon)) == 1
    assert len(told(daemon)) == 2


async def test_a_websocket_is_told_once_when_it_has_ended(open_daemon):
    daemon = await open_daemon()
    peer = BareSocket(daemon)
    await peer.subscribe("a")
    name = str(daemon.subscribers("a")[0].peer)
    peer.close()
    await until(lambda: not daemon.open_connections, "the connection closed")
    assert told(daemon) == [f"{name}: GET /ws/a 101, ended after T"]


async def test_one_who_leaves_before_the_answer_is_told(open_daemon):
    daemon = await open_daemon()
    client = HttpClient(encode_request("GET", "/longpoll/a"))
    client.answer.addErrback(lambda failure: None)
    daemon.connect("http", client)
    await until(lambda: daemon.subscribers("a"), "the poll")
    client.transport.abortConnection()
    await until(lambda: told(daemon), "the line")
    assert told(daemon) == ["http 127.0.0.1: GET /longpoll/a 499, 0 bytes, T"]


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
async def test_what_is_no_request_is_told_too(open_daemon, request_bytes, start):
    daemon = await open_daemon()
    client = HttpClient(request_bytes)
    daemon.connect("http", client)
    await client.answer
    (line,) = told(daemon)
    assert line.startswith(start)


async def test_a_long_path_is_cut(open_daemon):
    daemon = await open_daemon()
    await daemon.request("GET", "/nowhere/" + "x" * 5000)
    assert f"GET /nowhere/{'x' * 191}… 404" in told(daemon)[0]


def test_it_has_a_name_of_its_own_for_levels():
    assert AccessLog().log.namespace == "pushd.access"


def test_a_share_is_picked_by_chance():
    numbers = iter([0.0, 0.24, 0.25, 0.99])
    access = AccessLog(0.25, chance=lambda: next(numbers))
    assert [access.picks() for _ in range(4)] == [True, True, False, False]


def test_none_is_picked_without_a_share_and_all_with_the_whole():
    assert not AccessLog(0.0, chance=lambda: 0.0).picks()
    assert AccessLog(1.0, chance=lambda: 0.999999).picks()
