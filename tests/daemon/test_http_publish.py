"""Publishing by HTTP: data is stored byte by byte, and the response says who received it."""

import base64
import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS, Http
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON

pytestmark = pytest.mark.system

BODIES = {
    "all bytes": bytes(range(256)),
    "64 KiB of noise": random.Random(1).randbytes(64 << 10),
    "nothing": b"",
    "line ends": b"\r\n\n\r\r\n",
    "NUL": b"\0",
    "text": "naïve – 🙂\u2028".encode(),
    "a boundary": b"--x\r\nContent-Length: 0\r\n\r\n",
    "an event": b"data: x\n\nid: y\n\n",
}


def data_of(message: dict[str, Any]) -> bytes:
    """Return the data of a JSON message."""
    if "data_base64" in message:
        return base64.b64decode(message["data_base64"], validate=True)
    return str(message["data"]).encode()


def by_post(daemon: Daemon, channel: str, body: bytes) -> None:
    daemon.publish(channel, body)


def by_put(daemon: Daemon, channel: str, body: bytes) -> None:
    assert daemon.request("PUT", f"/pub/{channel}", {}, body).status == 201


def by_chunks(daemon: Daemon, channel: str, body: bytes) -> None:
    with daemon.http() as http:
        http.send(f"POST /pub/{channel} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for start in range(0, len(body), 5000):
            piece = body[start : start + 5000]
            http.send(b"%X;x=y\r\n%b\r\n" % (len(piece), piece))
        http.send(b"0\r\nTrailer: x\r\n\r\n")
        assert http.response().status == 201


def by_line(daemon: Daemon, channel: str, body: bytes) -> None:
    escaped = "".join(f"\\x{byte:02X}" for byte in body) if len(body) < 1000 else None
    text = escaped or json.dumps({"channel": channel, "data_base64": base64.b64encode(body).decode()})
    with daemon.lines() as lines:
        assert lines.command(f"PUB {channel} {text}".encode() if escaped else b"PUBJ " + text.encode()).startswith(
            b"+OK "
        )


def by_websocket(daemon: Daemon, channel: str, body: bytes) -> None:
    with daemon.websocket() as websocket:
        websocket.send(json.dumps({"publish": channel, "data_base64": base64.b64encode(body).decode()}))
        assert json.loads(websocket.recv(SECONDS))["ok"]


@pytest.mark.parametrize("publish", [by_post, by_put, by_chunks, by_line, by_websocket])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_is_stored_unchanged(
    daemon: Daemon, channel: str, body: bytes, publish: Callable[[Daemon, str, bytes], None]
) -> None:
    with daemon.http() as http, daemon.websocket(f"/ws/{channel}", v1=False) as websocket:
        http.open_stream(f"/stream/{channel}?format=raw")
        publish(daemon, channel, body)
        assert b"".join(http.chunk() for _ in range(1)) == body + b"\n"
        received = websocket.recv(SECONDS)
        assert (received.encode() if isinstance(received, str) else received) == body
    (message,) = daemon.history(channel)
    assert data_of(message) == body


@pytest.mark.parametrize(
    ("given", "kept", "key"),
    [
        (None, "text/plain; charset=utf-8", "data"),
        ("application/x-www-form-urlencoded", "text/plain; charset=utf-8", "data"),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", "text/plain; charset=utf-8", "data"),
        ("text/html", "text/html", "data"),
        ("text/plain; charset=iso-8859-1", "text/plain; charset=utf-8", "data"),
        ("image/png", "image/png", "data_base64"),
        ("application/octet-stream", "application/octet-stream", "data_base64"),
        ('Multipart/Mixed; boundary="a b"', 'Multipart/Mixed; boundary="a b"', "data_base64"),
    ],
)
def test_content_type_is_stored(daemon: Daemon, channel: str, given: str | None, kept: str, key: str) -> None:
    daemon.publish(channel, b"a=1&b=2", **({"Content-Type": given} if given else {}))
    (message,) = daemon.history(channel)
    assert (message["content_type"], key in message, data_of(message)) == (kept, True, b"a=1&b=2")


def test_body_that_is_not_utf_8_is_binary(daemon: Daemon, channel: str) -> None:
    daemon.publish(channel, b"\xff", **{"Content-Type": "application/x-www-form-urlencoded"})
    daemon.publish(channel, b"\xff")
    daemon.publish(channel, b"\xff", **{"Content-Type": "text/plain"})
    kinds = [message["content_type"] for message in daemon.history(channel)]
    assert kinds == ["application/octet-stream", "application/octet-stream", "text/plain"]
    assert [data_of(message) for message in daemon.history(channel)] == [b"\xff"] * 3


def test_json_is_embedded_as_a_value(daemon: Daemon, channel: str) -> None:
    daemon.publish(channel, b' {"a":\r\n [1, 2.50, null]}', **{"Content-Type": "application/json"})
    assert daemon.history(channel)[0]["data"] == {"a": [1, 2.5, None]}


def test_event_ttl_and_end(daemon: Daemon, channel: str) -> None:
    daemon.publish(f"{channel}?event=tick%20%C3%A9", b"1")
    daemon.publish(f"{channel}?ttl=0.1", b"2")
    daemon.publish(f"{channel}?event=", b"3")
    assert daemon.history(channel)[0]["event"] == "tick é"
    assert eventually(lambda: [message["data"] for message in daemon.history(channel)] == ["1", "3"])
    assert "event" not in daemon.history(channel)[1]
    daemon.publish(f"{channel}?end=1")
    assert daemon.request("GET", f"/pub/{channel}").json()["ended"] is True


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_status_says_whether_a_subscriber_was_reached(daemon: Daemon, http: Http, channel: str, method: str) -> None:
    response = http.request(method, f"/pub/{channel}", {}, b"x")
    assert response.status == 202
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"id", "channel", "subscribers"}
    assert (response.json()["channel"], response.json()["subscribers"]) == (channel, 0)
    with ExitStack() as stack:
        for number, target in enumerate((f"/sse/{channel}", f"/stream/{channel}", "/sse/test/*", "/sse/**"), 1):
            stack.enter_context(daemon.http()).open_stream(target)
            response = http.request(method, f"/pub/{channel}", {}, b"x")
            assert (response.status, response.json()["subscribers"]) == (201, number)
        assert stack.enter_context(daemon.lines()).command(f"SUB {channel},test/*".encode()).startswith(b"+OK")
        stack.enter_context(daemon.websocket(f"/ws/{channel}"))
        assert eventually(lambda: http.request(method, f"/pub/{channel}").json()["subscribers"] == 6)
    assert eventually(lambda: http.request(method, f"/pub/{channel}").status == 202)


def test_several_channels(daemon: Daemon, channel: str) -> None:
    names = [f"{channel}/{letter}" for letter in "abc"]
    response = daemon.request("POST", f"/pub/{','.join(names)}", {}, b"x")
    assert (response.status, [receipt["channel"] for receipt in response.json()]) == (202, names)
    assert len({receipt["id"] for receipt in response.json()}) == 3
    with daemon.http() as http:
        http.open_stream(f"/sse/{names[2]}")
        response = daemon.request("POST", f"/pub/{','.join(names)}", {}, b"x")
    assert (response.status, [receipt["subscribers"] for receipt in response.json()]) == (201, [0, 0, 1])
    for name in names:
        assert [message["data"] for message in daemon.history(name)] == ["x", "x"]


@pytest.mark.parametrize("name", ["é/ü", "a%b", "a+b", "a&b=c;d", "a:b@c", "🙂", "a" * 255, "...", "a/.b"])
def test_channel_name_is_percent_decoded(daemon: Daemon, name: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    receipt = daemon.publish(encoded, b"x")
    assert receipt["channel"] == name
    with daemon.lines() as lines:
        assert lines.command(b"HIST " + name.encode() + b" 1").split(b" ")[:2] == [b"MSG", name.encode()]
    assert daemon.request("DELETE", f"/pub/{encoded}").status == 200


@pytest.mark.parametrize("name", [".", "..", "a/../b", "a/."])
@pytest.mark.parametrize("address", ["pub", "sse", "longpoll", "history", "ws"])
def test_no_address_accepts_dot_segments(daemon: Daemon, address: str, name: str) -> None:
    encoded = name.replace(".", "%2e")
    method = "POST" if address == "pub" else "GET"
    for path in (f"/{address}/{name}", f"/{address}/{encoded}"):
        response = daemon.request(
            method, path, {"Accept": "application/json"} | (HANDSHAKE if address == "ws" else {}), b""
        )
        assert response.status == 400
        assert response.json()["error"]["code"] in ("bad-channel", "bad-topic")


# Batches


def batch(daemon: Daemon, *lines: bytes, end: bytes = b"\n", **headers: str) -> list[Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = daemon.request("POST", "/pub", NDJSON | named, end.join(lines))
    assert (response.status, response.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in response.body.splitlines()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n \r\n"], ids=["LF", "CRLF", "blank lines"])
def test_batch_has_a_response_line_for_each_line(daemon: Daemon, channel: str, end: bytes) -> None:
    name = channel.encode()
    answers = batch(
        daemon,
        b'{"channel":"%b","data":"text"}' % name,
        b"broken",
        b'{"channel":"%b","data":{"a":1},"event":"e"}' % name,
        b'{"channel":"a*","data":1}',
        b'{"channel":"$sys/a","data":1}',
        b'{"channel":"%b","data_base64":"/w==","content_type":"image/png","ttl":60}' % name,
        b'{"channel":"%b","end":true}' % name,
        end=end,
    )
    codes = [response.get("error", {}).get("code") for response in answers]
    assert codes == [None, "bad-json", None, "bad-channel", "forbidden", None, None]
    assert all(response["id"] for response in answers if "error" not in response)
    text, value, image = daemon.history(channel)
    assert (text["data"], text["content_type"]) == ("text", "text/plain; charset=utf-8")
    assert (value["data"], value["content_type"], value["event"]) == ({"a": 1}, "application/json", "e")
    assert (image["data_base64"], image["content_type"]) == ("/w==", "image/png")
    assert [text["id"], value["id"], image["id"]] == [answers[0]["id"], answers[2]["id"], answers[5]["id"]]


def test_empty_batch(daemon: Daemon) -> None:
    assert batch(daemon) == []
    assert batch(daemon, b"", b" ") == []


# Idempotency keys


def test_repeated_key_publishes_once(daemon: Daemon, channel: str) -> None:
    first = daemon.request("POST", f"/pub/{channel}", {"Idempotency-Key": channel}, b"1")
    with daemon.http() as http:
        http.open_stream(f"/sse/{channel}")
        again = daemon.request("POST", f"/pub/{channel}", {"Idempotency-Key": channel}, b"1")
    assert (again.status, again.body) == (first.status, first.body) == (202, first.body)
    other = daemon.publish(channel, b"3", Idempotency_Key=f"{channel}-other")
    elsewhere = daemon.publish(f"{channel}/x", b"4", Idempotency_Key=channel)
    assert len({first.json()["id"], other["id"], elsewhere["id"]}) == 3
    assert [message["data"] for message in daemon.history(channel)] == ["1", "3"]


@pytest.mark.parametrize("target", ["/pub/{}", "/pub/{}/a,{}/b", "/pub"])
def test_repeated_key_with_another_body_is_refused(daemon: Daemon, channel: str, target: str) -> None:
    one, other = (b'{"channel":"%b","data":%d}' % (channel.encode(), number) for number in range(2))
    headers = NDJSON | {"Idempotency-Key": channel}
    first = daemon.request("POST", target.replace("{}", channel), headers, one)
    refused = daemon.request("POST", target.replace("{}", channel), headers, other)
    assert (refused.status, refused.json()["error"]["code"]) == (422, "idempotency-mismatch")
    again = daemon.request("POST", target.replace("{}", channel), headers, one)
    assert (again.status, again.body) == (first.status, first.body)


def test_repeated_key_for_several_channels(daemon: Daemon, channel: str) -> None:
    names = f"{channel}/a,{channel}/b"
    first, again = (daemon.publish(names, b"x", Idempotency_Key="k") for _ in range(2))
    assert first == again
    assert len(daemon.history(f"{channel}/a")) == 1


def test_refused_request_does_not_use_its_key(daemon: Daemon, channel: str) -> None:
    assert daemon.request("POST", f"/pub/{channel}?ttl=0", {"Idempotency-Key": channel}, b"1").status == 400
    assert daemon.request("POST", f"/pub/{channel}", {"Idempotency-Key": channel}, b"1").status == 202


def test_repeated_key_for_a_batch(daemon: Daemon, channel: str) -> None:
    line = b'{"channel":"%b","data":1}' % channel.encode()
    first, again = (batch(daemon, line, b"x", line, Idempotency_Key=channel) for _ in range(2))
    assert [response.get("id") for response in first] == [response.get("id") for response in again]
    assert len(daemon.history(channel)) == 2


def test_repeated_key_during_the_first_publish(daemon: Daemon, channel: str) -> None:
    lines = b"\n".join(b'{"channel":"%b","data":1}' % channel.encode() for _ in range(900))
    with ExitStack() as stack:
        clients = [stack.enter_context(daemon.http()) for _ in range(5)]
        for client in clients:
            client.send_request("POST", "/pub", NDJSON | {"Idempotency-Key": channel}, lines)
        answers = [client.response().body for client in clients]
    assert len(set(answers)) == 1
    assert daemon.request("GET", f"/pub/{channel}").json()["messages"] == 900
