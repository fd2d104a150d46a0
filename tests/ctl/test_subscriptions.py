"""Subscriptions over the transports of pushctl: the start cursor, and refusals for a while."""

import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from pushd.client import Message
from pushd.client.core.subscription_options import subscription_options
from pushd.ctl.api_client import ApiClient, NetworkFactory
from pushd.ctl.credential import Credential
from pushd.ctl.subscriptions import TRANSPORTS, subscribe
from pushd.ctl.wires.tcp import TcpNetwork
from tests.daemon.real import Daemon

IMMEDIATE_SECONDS = 10.0
"""Less than a long poll waits, even on a busy machine."""


@pytest.mark.system
@pytest.mark.parametrize("since", [None, "last:1", "10s"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_start_cursor_stays_valid(daemon: Daemon, transport: str, since: str | None) -> None:
    """`last:1` and times mean something else at a reconnect, after more messages were published."""
    channel = f"first/{transport}/{since}"
    api, tcp = ApiClient(f"http://127.0.0.1:{daemon.http_port}"), ("127.0.0.1", daemon.tcp_port)
    network: NetworkFactory = partial(TcpNetwork, endpoint=tcp) if transport == "tcp" else TRANSPORTS[transport]
    options = subscription_options(channel, since=since, transport="websocket" if transport == "websocket" else "sse")
    started = time.monotonic()
    with api.subscription(options, network) as subscription:
        cursor = subscription.cursor
    assert cursor is not None
    assert time.monotonic() - started < IMMEDIATE_SECONDS
    texts = ["missed", "missed, too"]
    for text in texts:
        daemon.publish(channel, text.encode(), Content_Type="text/plain")
    items = subscribe(api, channel, transport=transport, since=cursor, tcp=tcp)
    received = (item for item in items if isinstance(item, Message))
    assert [next(received).data for _ in texts] == texts


class Server:
    """Answers one connection after the other, each with some bytes."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread: Thread | None = None

    def start(self, *answers: str) -> None:
        """Answer as many connections as there are answers."""
        self._thread = Thread(target=self._answer, args=(answers,))
        self._thread.start()

    def stop(self) -> None:
        """Wait until all are answered."""
        if self._thread is not None:
            self._thread.join(10)
        self._listener.close()

    def _answer(self, answers: tuple[str, ...]) -> None:
        for answer in answers:
            peer, _ = self._listener.accept()
            with peer:
                self.requests.append(peer.recv(65536).decode())
                peer.sendall(answer.encode())


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of answers."""
    server = Server()
    yield server
    server.stop()


def stream(*objects: object) -> str:
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(lines)}\r\nConnection: close\r\n\r\n{lines}"


def refusal(status: str, code: str) -> str:
    body = json.dumps({"error": {"code": code, "message": "no"}})
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"


BEGIN = {"type": "begin", "cursor": "e-0", "connection": "c"}
END = {"type": "end", "channel": "a"}
MESSAGE = {"id": "e-1", "channel": "a", "time": 1.0, "content_type": "text/plain", "data": "one"}


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    monkeypatch.setattr("pushd.client.core.backoff.Backoff.uniform", staticmethod(lambda low, high: 0.0))


def test_refusal_for_a_while_is_repeated(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.start(refusal("503 x", "overloaded"), stream(BEGIN, MESSAGE, END))
    assert len(list(subscribe(ApiClient(server.url), "a"))) == 2
    assert "pushctl: overloaded: no: reconnecting" in capfd.readouterr().err


def test_reconnect_resumes_and_is_reported(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    server.start(stream(BEGIN, MESSAGE), stream(BEGIN, END))
    assert len(list(subscribe(ApiClient(server.url), "a", since="all"))) == 2
    assert "since=all" in server.requests[0]
    assert "\r\nLast-Event-ID: e-1\r\n" in server.requests[1]
    assert "reconnecting" in capfd.readouterr().err


def test_refused_token_is_replaced_once_by_that_of_the_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    server.start(stream(BEGIN, MESSAGE), refusal("401 x", "token-expired"), stream(BEGIN, END))
    items = subscribe(ApiClient(server.url, Credential(file=file)), "a")
    next(items)
    file.write_text("new")
    list(items)
    tokens = [request.partition("Authorization: Bearer ")[2].partition("\r\n")[0] for request in server.requests]
    assert tokens == ["old", "old", "new"]
