"""After all other tests of this folder, the daemon works as after its start."""

import json
import time

import pytest

from tests.daemon.clients import SECONDS
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system


def test_publish_reaches_every_transport_at_once(daemon: Daemon, channel: str) -> None:
    with (
        daemon.http() as sse,
        daemon.http() as stream,
        daemon.http() as raw,
        daemon.http() as replace,
        daemon.http() as mixed,
        daemon.http() as poll,
        daemon.lines() as lines,
        daemon.websocket() as v1,
        daemon.websocket(f"/ws/{channel}", v1=False) as bare,
    ):
        sse.open_stream(f"/sse/{channel}")
        sse.chunk()
        stream.open_stream(f"/stream/{channel}")
        raw.open_stream(f"/stream/{channel}?format=raw")
        replace.open_stream(f"/multipart/{channel}")
        mixed.open_stream(f"/mixed/{channel}")
        poll.send_request("GET", f"/longpoll/{channel}")
        assert lines.command(f"SUB {channel}".encode()).startswith(b"+OK ")
        v1.send(json.dumps({"subscribe": channel}))
        assert json.loads(v1.recv(SECONDS))["ok"]
        assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").json()["subscribers"] == 9)
        start_time = time.monotonic()
        receipt = daemon.publish(channel, b"still here")
        assert receipt["subscribers"] == 9
        assert b"data: still here\n" in sse.chunk()
        assert json.loads(stream.chunk())["id"] == receipt["id"]
        assert raw.chunk() == b"still here\n"
        for parts in (replace, mixed):
            assert b"still here" in parts.chunk() + parts.chunk()
        assert [message["id"] for message in poll.response().json()] == [receipt["id"]]
        assert lines.reply() == f"MSG {channel} {receipt['id']} still here".encode()
        assert json.loads(v1.recv(SECONDS))["data"] == "still here"
        assert bare.recv(SECONDS) == "still here"
        assert time.monotonic() - start_time < 10, "not only with the next heartbeat"
    assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").json()["subscribers"] == 0)


@pytest.mark.parametrize("transport", ["sse", "stream", "websocket", "tcp", "multipart", "mixed", "longpoll"])
def test_no_connection_is_left(daemon: Daemon, transport: str) -> None:
    assert eventually(lambda: daemon.counter(f'pushd_connections{{transport="{transport}"}}') == 0)


def test_no_internal_error_was_logged(daemon: Daemon, limited: Daemon) -> None:
    daemon.assert_healthy()
    limited.assert_healthy()
    assert daemon.counter('pushd_refusals_total{code="internal"}') == 0
