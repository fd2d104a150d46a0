"""Channels, history, metrics, health, the icon; headers of streams, and binary data in text formats."""

import base64
import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.clients import SECONDS, Http, Lines
from tests.daemon.real import Daemon

pytestmark = pytest.mark.system

OCTETS = bytes(range(256))


# A channel


def test_channel_state(daemon: Daemon, http: Http, lines: Lines, channel: str) -> None:
    assert http.request("GET", f"/pub/{channel}").code == "unknown-channel"
    first, last = (daemon.publish(channel, data)["id"] for data in (b"12345", b"678"))
    http.open_stream(f"/sse/{channel}")
    lines.command(f"SUB {channel}".encode())
    with daemon.http() as stream, daemon.websocket(f"/ws/{channel}", v1=False), daemon.http() as pattern:
        stream.open_stream(f"/stream/{channel}")
        pattern.open_stream("/sse/test/*")
        facts = daemon.request("GET", f"/pub/{channel}").json()
        text = daemon.request("GET", f"/pub/{channel}", {"Accept": "text/plain"})
    assert (facts["channel"], facts["messages"], facts["bytes"], facts["ended"]) == (channel, 2, 8, False)
    assert (facts["first"], facts["last"]) == (first, last)
    assert abs(facts["time"] - time.time()) < 60
    assert facts["subscribers"] == 5
    assert facts["transports"] == {"sse": 2, "stream": 1, "websocket": 1, "tcp": 1}
    assert text.headers["content-type"].startswith("text/plain")
    shown = dict(line.split(": ", 1) for line in text.body.decode().splitlines())
    assert (shown["channel"], shown["messages"], shown["last"], shown["subscribers"]) == (channel, "2", last, "5")


def test_channel_without_messages_has_subscribers(daemon: Daemon, http: Http, channel: str) -> None:
    http.open_stream(f"/sse/{channel}")
    facts = daemon.request("GET", f"/pub/{channel}").json()
    assert (facts["messages"], facts["first"], facts["last"], facts["time"]) == (0, None, None, None)
    assert facts["subscribers"] == 1


def test_channel_is_deleted_once(daemon: Daemon, http: Http, channel: str) -> None:
    daemon.publish(channel)
    http.open_stream(f"/sse/{channel}")
    assert daemon.request("DELETE", f"/pub/{channel}").status == 200
    assert b"event: end" in b"".join(http.chunks())
    again = daemon.request("DELETE", f"/pub/{channel}")
    assert (again.status, again.code) == (404, "unknown-channel")
    assert daemon.request("GET", f"/pub/{channel}").status == 404


# Lists


def test_channels_are_paged(daemon: Daemon, channel: str) -> None:
    names = [f"{channel}/{number}" for number in range(5)] + [f"{channel}/é"]
    for name in reversed(names):
        daemon.publish(name.replace("é", "%C3%A9"))
    found, after = [], ""
    for _ in range(3):
        page = daemon.request("GET", f"/channels?prefix={channel}/&limit=2&after={after}").json()
        assert set(page) == {"channels", "next"}
        found += page["channels"]
        after = (page["next"] or "").replace("é", "%C3%A9")
    assert (found, page["next"]) == (names, None)
    assert daemon.request("GET", f"/channels?prefix={channel}/&limit=6").json() == {"channels": names, "next": None}
    assert daemon.request("GET", f"/channels?prefix={channel}/none").json() == {"channels": [], "next": None}
    assert set(names) <= set(daemon.request("GET", "/channels?limit=10000").json()["channels"])


def test_history(daemon: Daemon, channel: str) -> None:
    ids = [daemon.publish(f"{channel}/{'ab'[number % 2]}", b"%d" % number)["id"] for number in range(6)]

    def received(query: str, topics: str = f"{channel}/*") -> list[str]:
        response = daemon.request("GET", f"/history/{topics}{query}")
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        return [message["data"] for message in response.json()]

    assert received("") == received("?since=all") == list("012345")
    assert received("?limit=2") == list("45"), "without a place to begin the newest"
    assert received("?since=all&limit=2") == list("01")
    assert received(f"?since={ids[1]}&limit=2") == list("23")
    assert received(f"?since={ids[5]}") == []
    assert received("?since=last:3") == list("345")
    assert received("?since=1h") == list("012345")
    assert received("", f"{channel}/a,{channel}/b") == list("012345")
    assert received("?since=all", f"{channel}/b") == list("135")
    messages = daemon.history(f"{channel}/a")
    assert [message["prev"] for message in messages] == [None, ids[0], ids[2]]
    page = daemon.request("GET", f"/history/{channel}/*?since=all&limit=4")
    assert received(f"?since={page.headers['pushd-id']}") == list("45")


def test_history_reports_a_gap(daemon: Daemon, channel: str) -> None:
    daemon.publish(channel)
    response = daemon.request("GET", f"/history/{channel}?since=other-1")
    assert (response.headers["pushd-gap"], len(response.json())) == ("epoch", 1)
    assert "pushd-gap" not in daemon.request("GET", f"/history/{channel}").headers


# Monitoring


def test_metrics(daemon: Daemon, http: Http, channel: str) -> None:
    http.open_stream(f"/sse/{channel}")
    daemon.publish(channel, b"12345")
    http.chunk(), http.chunk()
    daemon.request("GET", "/sse/a*")
    response = daemon.request("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.body.decode())}
    kinds = {name: family.type for name, family in families.items()}
    counters = ("published", "published_bytes", "delivered", "replayed", "dropped", "gaps", "refusals")
    gauges = ("connections", "history_messages", "history_bytes", "channels")
    assert kinds.items() >= {f"pushd_{name}": "counter" for name in counters}.items()
    assert kinds.items() >= {f"pushd_{name}": "gauge" for name in gauges}.items()
    assert all(family.documentation for family in families.values())
    values = {(sample.name, *sample.labels.values()): sample.value for f in families.values() for sample in f.samples}
    assert values["pushd_refusals_total", "bad-topic"] >= 1
    assert values["pushd_connections", "sse"] == 1
    assert values["pushd_connections", "http"] >= 1
    for name in ("published_total", "published_bytes_total", "delivered_total", "history_bytes", "channels"):
        assert values[(f"pushd_{name}",)] >= 1


@pytest.mark.parametrize("name", ["published_total", "published_bytes_total", "delivered_total"])
def test_publish_and_delivery_are_counted(daemon: Daemon, http: Http, channel: str, name: str) -> None:
    http.open_stream(f"/sse/{channel}")
    http.chunk()
    before = daemon.counter(f"pushd_{name}")
    for _ in range(3):
        daemon.publish(channel, b"1234")
    assert b"1234" in http.chunk()
    assert daemon.counter(f"pushd_{name}") - before == (12 if "bytes" in name else 3)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("address", "key"), [("/health/live", "live"), ("/health/ready", "ready")])
def test_health(http: Http, address: str, key: str, method: str) -> None:
    response = http.request(method, address)
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert "no-store" in response.headers["cache-control"]
    assert method == "HEAD" or response.json() == {key: True}


def test_icon(http: Http) -> None:
    head, get = http.request("HEAD", "/favicon.ico"), http.request("GET", "/favicon.ico?1763751574")
    assert (head.status, get.status) == (200, 200)
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert get.headers["content-type"] in ("image/x-icon", "image/vnd.microsoft.icon")
    assert get.body.startswith(b"\0\0\1\0")


def test_index_page(http: Http) -> None:
    response = http.request("GET", "/")
    assert response.headers["content-type"].startswith("text/html")
    for route in ("/pub/", "/sse/", "/ws/", "/stream/", "/metrics", "/health/ready"):
        assert route in response.body.decode()


# Streams


@pytest.mark.parametrize(
    ("target", "content_type"),
    [
        ("/sse/a", "text/event-stream"),
        ("/sse/a?format=json", "text/event-stream"),
        ("/stream/a", "application/x-ndjson"),
        ("/stream/a?format=raw", None),
        ("/multipart/a", "multipart/x-mixed-replace;boundary="),
        ("/mixed/a", "multipart/mixed;boundary="),
    ],
)
def test_headers_of_a_stream(http: Http, target: str, content_type: str | None) -> None:
    headers = http.open_stream(target).headers
    assert headers["content-type"].startswith(content_type or "")
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers
    if target.startswith("/sse"):
        assert http.chunk().startswith(b":\nretry: 3000\nevent: begin\nid: ")


def test_binary_data_in_text_formats(daemon: Daemon, http: Http, lines: Lines, channel: str) -> None:
    encoded = base64.b64encode(OCTETS)
    http.open_stream(f"/sse/{channel}")
    http.chunk()
    with daemon.http() as stream, daemon.lines() as objects, daemon.websocket() as websocket:
        stream.open_stream(f"/stream/{channel}")
        lines.command(f"SUB {channel}".encode())
        objects.command(b"FORMAT json")
        objects.command(f"SUB {channel}".encode())
        websocket.send(json.dumps({"subscribe": channel}))
        assert json.loads(websocket.recv(SECONDS))["ok"]
        id = daemon.publish(channel, OCTETS)["id"]
        messages = [json.loads(text) for text in (stream.chunk(), objects.reply(), websocket.recv(SECONDS))]
    assert http.chunk() == b"id: %b\ndata: %b\n\n" % (id.encode(), encoded)
    for message in messages:
        assert (message["data_base64"], "data" in message) == (encoded.decode(), False)
        assert message["content_type"] == "application/octet-stream"
    head, text = lines.reply().split(id.encode() + b" ")
    assert head == f"MSG {channel} ".encode()
    assert rb"\x00\x01" in text and rb"\xff" in text and rb"\n" in text and rb"\\" in text
    assert text.decode("utf-8").isprintable() or b"\t" in text
    assert lines.command(b"PUB " + f"{channel}/again ".encode() + text).startswith(b"+OK ")
    (message,) = daemon.history(f"{channel}/again")
    assert base64.b64decode(message["data_base64"]) == OCTETS


def test_data_cannot_forge_an_event(daemon: Daemon, http: Http, channel: str) -> None:
    http.open_stream(f"/sse/{channel}")
    http.chunk()
    daemon.publish(channel, b"a\rid: 1\nb\r\n\r\nevent: gap\n\ndata: c")
    lines = http.chunk().decode().split("\n")
    assert lines[0].startswith("id: ") and lines[-2:] == ["", ""]
    assert all(line.startswith("data: ") for line in lines[1:-2])
