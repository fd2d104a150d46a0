"""Nothing that a client keeps to itself comes into the log, however loud that is: no token, no query, no message."""

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
def loud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that logs all it can."""
    yield from run(
        tmp_path_factory,
        *("--log-level", "debug"),
        *("--log-access", "1"),
        *("--limits-message", "1KiB"),
        *("--limits-channels", "1"),
    )


def test_neither_tokens_nor_messages_are_logged(loud: Daemon) -> None:
    query, header = f"access_token={SECRET}&token={SECRET}", {"Authorization": f"Bearer {SECRET}"}
    for body in (BODY.encode(), BODY.encode() * 100):
        for target in (f"/pub/a?{query}", f"/pub/b?{query}", f"/nowhere?{query}", f"/a%3Ftoken={SECRET}"):
            loud.ask("POST", target, header, body)
        for channel in "ab":
            loud.ask("POST", f"/pub/{channel}", header, body)
    loud.ask("GET", f"/history/a?{query}&since={SECRET}", header)
    loud.ask("GET", f"http://user:{SECRET}@localhost/history/a", header)
    loud.ask("GET", "/history/a", header | {"Host": f"user:{SECRET}@localhost"})
    loud.ask("POST", "/pub", header | {"Content-Type": "application/x-ndjson"}, json.dumps({"data": BODY}).encode())
    with loud.http() as http:
        http.listen(f"/sse/a?since=all&{query}", header)
    with loud.lines() as lines:
        for line in (f"AUTH {SECRET}", f"PUB a {BODY}", f"PUB a {BODY * 60}", f"{BODY} {SECRET}"):
            lines.ask(line.encode())
    with loud.websocket(f"/ws?{query}", additional_headers=header) as socket:
        for command in ({"auth": SECRET}, {"publish": "a", "data": BODY}, {"publish": "a", "data": BODY * 100}):
            socket.send(json.dumps(command))
            socket.recv()
    with suppress(InvalidStatus):
        loud.websocket(f"/ws/a%00?{query}", additional_headers=header).close()
    assert loud.logs("GET /sse/a 200, ended") and loud.logs("GET /ws 101, ended")
    for told in ("POST /pub/a 20", "/a%3Ftoken=***", "GET /history/a 400", "too-large", "too-many-channels"):
        assert told in loud.log
    assert SECRET not in loud.log
    assert BODY not in loud.log
