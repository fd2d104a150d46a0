"""No token, query or message is logged, at any log level."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import InvalidStatus

from tests.daemon.conftest import run
from tests.daemon.real import Daemon

SECRET = "s3cret-0f-a-client"
BODY = "b0dy-0f-a-message"


@pytest.fixture(scope="module")
def verbose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with the most detailed logging."""
    yield from run(
        tmp_path_factory,
        *("--log-level", "debug"),
        *("--log-access", "1"),
        *("--limits-message", "1KiB"),
        *("--limits-channels", "1"),
    )


def test_neither_tokens_nor_messages_are_logged(verbose: Daemon) -> None:
    query, header = f"access_token={SECRET}&token={SECRET}", {"Authorization": f"Bearer {SECRET}"}
    for body in (BODY.encode(), BODY.encode() * 100):
        for target in (f"/pub/a?{query}", f"/pub/b?{query}", f"/nowhere?{query}", f"/a%3Ftoken={SECRET}"):
            verbose.request("POST", target, header, body)
        for channel in "ab":
            verbose.request("POST", f"/pub/{channel}", header, body)
    verbose.request("GET", f"/history/a?{query}&since={SECRET}", header)
    verbose.request("GET", f"http://user:{SECRET}@localhost/history/a", header)
    verbose.request("GET", "/history/a", header | {"Host": f"user:{SECRET}@localhost"})
    verbose.request(
        "POST", "/pub", header | {"Content-Type": "application/x-ndjson"}, json.dumps({"data": BODY}).encode()
    )
    with verbose.http() as http:
        http.open_stream(f"/sse/a?since=all&{query}", header)
    with verbose.lines() as lines:
        for line in (f"AUTH {SECRET}", f"PUB a {BODY}", f"PUB a {BODY * 60}", f"{BODY} {SECRET}"):
            lines.command(line.encode())
    with verbose.websocket(f"/ws?{query}", additional_headers=header) as socket:
        for command in ({"auth": SECRET}, {"publish": "a", "data": BODY}, {"publish": "a", "data": BODY * 100}):
            socket.send(json.dumps(command))
            socket.recv()
    with suppress(InvalidStatus):
        verbose.websocket(f"/ws/a%00?{query}", additional_headers=header).close()
    assert verbose.wait_for_log("GET /sse/a 200, ended") and verbose.wait_for_log("GET /ws 101, ended")
    for words in ("POST /pub/a 20", "/a%3Ftoken=***", "GET /history/a 400", "too-large", "too-many-channels"):
        assert words in verbose.log
    assert SECRET not in verbose.log
    assert BODY not in verbose.log
