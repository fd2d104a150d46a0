"""Idle connections behind an nginx with a short timeout: keepalives keep them open."""

import email
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from typing import NamedTuple

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.daemon.clients import SECONDS, Http
from tests.daemon.real import Daemon
from tests.system.nginx import Nginx
from tests.system.stream_clients import NEGOTIATED, STREAMS, Stream, idle

pytestmark = pytest.mark.system

IDLE_SECONDS = 60.0
"""In which nginx closes what has no keepalives."""
PROXY_TIMEOUT = 6
"""Much more than the interval of keepalives: a busy machine may stop a process for some seconds."""
RAW, MIXED = (next(transport for transport in STREAMS if transport.name == name) for name in ("raw", "mixed"))
WITH_KEEPALIVE = {transport.name: transport for transport in [*STREAMS, *NEGOTIATED] if transport is not RAW}
"""The transports with keepalives."""
_FORWARD = """
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
location / {{ proxy_pass http://127.0.0.1:{port}; proxy_read_timeout {seconds}s; }}
"""
_MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"


class IdleConnections(NamedTuple):
    """The connections after a time without messages."""

    daemon: Daemon
    streams: dict[str, Stream]
    """By transport; each has received `before`, then only keepalives."""
    mail: Stream
    """The same stream, read by a parser of mail."""
    raw: Stream
    polls: tuple[Http, Http]
    """Long polls: one shorter than the timeout of nginx, one longer."""
    socket: ClientConnection


@pytest.fixture(scope="module")
def idle_connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdleConnections]:
    """Connections over all transports, idle at the same time, once for all tests."""
    keepalives = [*("--keepalive-sse", "1"), *("--keepalive-stream", "1"), *("--keepalive-ping", "1")]
    keepalives += ["--keepalive-pong", "30"]
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), *keepalives)
    servers = {"short": _FORWARD.format(port=daemon.http_port, seconds=PROXY_TIMEOUT)}
    with ExitStack() as stack:
        stack.callback(daemon.stop)
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers, _MAP)
        stack.callback(nginx.stop)
        yield _open_and_wait(daemon, nginx.ports, stack)
        daemon.assert_healthy()


def _open_and_wait(daemon: Daemon, ports: dict[str, int], stack: ExitStack) -> IdleConnections:
    def websocket(port: int) -> ClientConnection:
        uri = f"ws://127.0.0.1:{port}/ws/idle/socket"
        return stack.enter_context(connect(uri, compression=None, proxy=None, ping_interval=None))

    def poll(seconds: int) -> Http:
        http = stack.enter_context(Http(port))
        http.send_request("GET", f"/longpoll/idle/poll?timeout={seconds}")
        return http

    port = ports["short"]
    streams = {
        name: stack.enter_context(Stream(port, transport, f"idle/{name}")) for name, transport in WITH_KEEPALIVE.items()
    }
    raw = stack.enter_context(Stream(port, RAW, "idle/raw"))
    mail = stack.enter_context(Stream(port, MIXED, "idle/mail"))
    daemon.publish("idle/mail", b"before")
    for name in streams:
        daemon.publish(f"idle/{name}", b"before", Content_Type=WITH_KEEPALIVE[name].publish_as)
    for stream in (*streams.values(), mail):
        assert stream.wait_for_messages(1) == [b"before"]
    polls, socket = (poll(1), poll(3 * PROXY_TIMEOUT)), websocket(port)
    cut = stack.enter_context(Stream(port, RAW, "idle/last"))  # idle for less time than all others
    idle([*streams.values(), mail, raw, cut], IDLE_SECONDS, lambda: raw.is_closed and cut.is_closed)
    return IdleConnections(daemon, streams, mail, raw, polls, socket)


@pytest.mark.parametrize("name", WITH_KEEPALIVE)
def test_keepalives_keep_a_stream_open(idle_connections: IdleConnections, name: str):
    stream, kind = idle_connections.streams[name], WITH_KEEPALIVE[name].publish_as
    assert (once(stream.messages), stream.is_closed) == ([b"before"], False)
    for data in (b"after", b"later"):
        idle_connections.daemon.publish(f"idle/{name}", data, Content_Type=kind)
        stream.wait_for_messages(len(stream.messages) + 1)
    assert once(stream.messages) == [b"before", b"after", b"later"]


def once(messages: list[bytes]) -> list[bytes]:
    """Remove repetitions: the keepalive of an image stream is the same image."""
    return [data for data, _ in groupby(messages)]


def test_mail_parser_reads_parts_and_keepalives(idle_connections: IdleConnections):
    stream = idle_connections.mail
    idle_connections.daemon.publish("idle/mail", b"after")
    idle_connections.daemon.request("POST", "/pub/idle/mail?end=1")
    parsed = email.message_from_bytes(b"Content-Type: " + stream.kind.encode() + b"\r\n\r\n" + stream.read_to_end())
    _, before, *pings, after, closing = parsed.walk()
    assert not any(part.defects for part in parsed.walk())
    for part, text in ((before, b"before"), (after, b"after")):
        assert (part.get_payload(decode=True), part["Content-Length"]) == (text, str(len(text)))
        assert part["Pushd-Id"] and part["Pushd-Channel"] == "idle/mail"
    assert pings and all((ping["Pushd-Ping"], ping.get_payload()) == ("1", "") for ping in pings)
    assert "Pushd-Ping" not in before and "Pushd-Ping" not in after
    assert closing.get_payload() == ""


def test_data_only_stream_is_closed(idle_connections: IdleConnections):
    """A data-only stream has no keepalive: nginx closes it without the last chunk, which the client can detect."""
    assert (idle_connections.raw.is_closed, idle_connections.raw.is_complete, idle_connections.raw.body) == (
        True,
        False,
        b"",
    )


def test_pings_keep_a_websocket_open(idle_connections: IdleConnections):
    idle_connections.daemon.publish("idle/socket", b"after")
    assert idle_connections.socket.recv(SECONDS) == "after"


def test_long_poll_must_be_shorter_than_the_proxy_timeout(idle_connections: IdleConnections):
    assert [poll.response().status for poll in idle_connections.polls] == [204, 504]
