"""Silence behind an nginx that cuts after two seconds of it: what signs of life keep open, and what they do not."""

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
from tests.system.techniques import NEGOTIATED, STREAMS, Stream, idle

pytestmark = pytest.mark.system

IDLE_SECONDS = 6.0
CUT = 2
RAW, MIXED = (next(technique for technique in STREAMS if technique.name == name) for name in ("raw", "mixed"))
KEPT = {technique.name: technique for technique in [*STREAMS, *NEGOTIATED] if technique is not RAW}
"""The techniques with signs of life."""
_HAND_ON = """
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
location / {{ proxy_pass http://127.0.0.1:{port}; proxy_read_timeout {seconds}s; }}
"""
_MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"


class Silence(NamedTuple):
    """What there is after a time in which nobody said anything."""

    daemon: Daemon
    streams: dict[str, Stream]
    """By technique; each heard `before`, then nothing but signs of life."""
    mail: Stream
    """The same, for a program that reads it as it would a mail."""
    raw: Stream
    polls: tuple[Http, Http]
    """Long polls, one shorter than the server waits and one longer."""
    socket: ClientConnection


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """Let all techniques be idle at the same time, once for all tests."""
    signs = [*("--keepalive-sse", "1"), *("--keepalive-stream", "1"), *("--keepalive-ping", "1")]
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), *signs)
    servers = {"short": _HAND_ON.format(port=daemon.http_port, seconds=CUT)}
    with ExitStack() as stack:
        stack.callback(daemon.stop)
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers, _MAP)
        stack.callback(nginx.stop)
        yield _keep_silent(daemon, nginx.ports, stack)
        daemon.assert_healthy()


def _keep_silent(daemon: Daemon, ports: dict[str, int], stack: ExitStack) -> Silence:
    def websocket(port: int) -> ClientConnection:
        uri = f"ws://127.0.0.1:{port}/ws/idle/socket"
        return stack.enter_context(connect(uri, compression=None, proxy=None, ping_interval=None))

    def poll(seconds: int) -> Http:
        http = stack.enter_context(Http(port))
        http.send_request("GET", f"/longpoll/idle/poll?timeout={seconds}")
        return http

    port = ports["short"]
    streams = {name: stack.enter_context(Stream(port, way, f"idle/{name}")) for name, way in KEPT.items()}
    raw = stack.enter_context(Stream(port, RAW, "idle/raw"))
    mail = stack.enter_context(Stream(port, MIXED, "idle/mail"))
    daemon.publish("idle/mail", b"before")
    for name in streams:
        daemon.publish(f"idle/{name}", b"before", Content_Type=KEPT[name].publish_as)
    for stream in (*streams.values(), mail):
        assert stream.deliver_result(1) == [b"before"]
    polls, socket = (poll(CUT // 2), poll(2 * CUT)), websocket(port)
    idle([*streams.values(), mail, raw], IDLE_SECONDS)
    return Silence(daemon, streams, mail, raw, polls, socket)


@pytest.mark.parametrize("name", KEPT)
def test_signs_of_life_keep_a_stream_open(silence: Silence, name: str):
    stream, kind = silence.streams[name], KEPT[name].publish_as
    assert (once(stream.messages), stream.is_closed) == ([b"before"], False)
    for data in (b"after", b"later"):
        silence.daemon.publish(f"idle/{name}", data, Content_Type=kind)
        stream.deliver_result(len(stream.messages) + 1)
    assert once(stream.messages) == [b"before", b"after", b"later"]


def once(messages: list[bytes]) -> list[bytes]:
    """Leave out what repeats what came before: an image is sent again as a sign of life."""
    return [data for data, _ in groupby(messages)]


def test_a_mail_parser_reads_parts_with_signs_of_life(silence: Silence):
    stream = silence.mail
    silence.daemon.publish("idle/mail", b"after")
    silence.daemon.request("POST", "/pub/idle/mail?end=1")
    parsed = email.message_from_bytes(b"Content-Type: " + stream.kind.encode() + b"\r\n\r\n" + stream.to_the_end())
    _, before, *signs, after, closing = parsed.walk()
    assert not any(part.defects for part in parsed.walk())
    for part, text in ((before, b"before"), (after, b"after")):
        assert (part.get_payload(decode=True), part["Content-Length"]) == (text, str(len(text)))
        assert part["Pushd-Id"] and part["Pushd-Channel"] == "idle/mail"
    assert signs and all((sign["Pushd-Ping"], sign.get_payload()) == ("1", "") for sign in signs)
    assert "Pushd-Ping" not in before and "Pushd-Ping" not in after
    assert closing.get_payload() == ""


def test_nothing_keeps_bare_data_open(silence: Silence):
    """There is nothing that it could be sent: the proxy closes, and in no good order, so that the client knows."""
    assert (silence.raw.is_closed, silence.raw.is_complete, silence.raw.body) == (True, False, b"")


def test_pings_keep_a_websocket_open(silence: Silence):
    silence.daemon.publish("idle/socket", b"after")
    assert silence.socket.recv(SECONDS) == "after"


def test_a_long_poll_has_to_be_shorter_than_the_proxy_waits(silence: Silence):
    assert [poll.response().status for poll in silence.polls] == [204, 504]
