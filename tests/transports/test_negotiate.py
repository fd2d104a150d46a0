"""One address for all: the technique is what the client accepts."""

import pytest

from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, encode_request


@pytest.mark.parametrize(
    ("accept", "transport", "kind"),
    [
        ("text/event-stream", "sse", "text/event-stream"),
        ("multipart/x-mixed-replace", "multipart", "multipart/x-mixed-replace;boundary="),
        ("multipart/mixed", "mixed", "multipart/mixed;boundary="),
        ("application/x-ndjson", "stream", "application/x-ndjson"),
        ("text/html, application/x-ndjson;q=0.5, Text/Event-Stream;q=0.9", "sse", "text/event-stream"),
        ("text/event-stream;q=0, application/x-ndjson;q=0.1", "stream", "application/x-ndjson"),
        ("text/event-stream;q=x, application/x-ndjson;q=0.1", "stream", "application/x-ndjson"),
    ],
)
async def test_accept_picks_a_stream(daemon, accept, transport, kind):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/sub/a", headers={"Accept": accept})))
    head = await client.head
    assert (head.status, head.headers["content-type"][: len(kind)]) == (200, kind)
    assert (await daemon.info("a"))["transports"] == {transport: 1}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/event-stream;q=0", ";;,=,q=1"])
async def test_all_else_is_a_long_poll(daemon, accept):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/sub/a", headers={"Accept": accept})))
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    assert (await daemon.info("a"))["transports"] == {"longpoll": 1}
    await daemon.publish("a", "x")
    assert (await client.answer).json[0]["data"] == "x"


async def test_upgrade_picks_a_websocket(daemon):
    headers = {
        "Upgrade": "WebSocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Accept": "text/event-stream",
    }
    client = daemon.connect("http", HttpClient(encode_request("GET", "/sub/a", headers=headers)))
    assert (await client.head).status == 101
    assert (await daemon.info("a"))["transports"] == {"websocket": 1}


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
async def test_head_subscribes_to_nothing(daemon, accept):
    answer = await daemon.request("HEAD", "/sub/a", headers={"Accept": accept})
    assert answer.status in (200, 204)
    assert daemon.subscribers("a") == []


async def test_a_wrong_name_is_refused_whatever_is_accepted(daemon):
    for accept in ("text/event-stream", "*/*", "multipart/mixed"):
        answer = await daemon.request("GET", "/sub/a*", headers={"Accept": accept})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-topic")
