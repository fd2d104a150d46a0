"""One path for all transports: the client selects one by `Accept`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pushd.http.request import Request
from pushd.transports.negotiation import NegotiatingResource
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
async def test_accept_selects_a_stream(daemon, accept, transport, kind):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/sub/a", headers={"Accept": accept})))
    head = await client.head
    assert (head.status, head.headers["content-type"][: len(kind)]) == (200, kind)
    assert (await daemon.info("a"))["transports"] == {transport: 1}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/event-stream;q=0", ";;,=,q=1"])
async def test_the_default_is_a_long_poll(daemon, accept):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/sub/a", headers={"Accept": accept})))
    await until(lambda: daemon.subscribers("a"), "somebody waits")
    assert (await daemon.info("a"))["transports"] == {"longpoll": 1}
    await daemon.publish("a", "x")
    assert (await client.answer).json[0]["data"] == "x"


async def test_upgrade_selects_a_websocket(daemon):
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


async def test_an_invalid_topic_is_refused_for_any_accept(daemon):
    for accept in ("text/event-stream", "*/*", "multipart/mixed"):
        answer = await daemon.request("GET", "/sub/a*", headers={"Accept": accept})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-topic")


class Named:
    """A resource that answers with its name."""

    def __init__(self, name):
        self._name = name

    async def get(self, request):
        return self._name


KINDS = ("text/event-stream", "multipart/mixed", "application/x-ndjson")
NOTHING: Any = None
NAMED: Any = Named
DOOR = NegotiatingResource(NOTHING, {kind: NAMED(kind) for kind in KINDS}, NAMED("websocket"), NAMED("longpoll"))
WEIGHTS = st.integers(0, 1000)
BLANKS = st.sampled_from(["", " ", "\t"])
NO_WEIGHTS = st.sampled_from(["nan", "inf", "-1", "1e0", "1_0", "2", "", "x", "0x1", "1.0.0", "\u0661", " 1"])


def picked(accept):
    """Send a request with `Accept`; return the name of the resource."""
    request = Request(NOTHING, b"GET", b"/sub/a", {b"accept": accept})
    names: list[Any] = []
    answer: Any = DOOR.get(request)
    Deferred.fromCoroutine(answer).addCallback(names.append)
    return names[0]


@given(st.dictionaries(st.sampled_from([*KINDS, "*/*", "image/png"]), WEIGHTS), BLANKS, st.booleans())
def test_the_greatest_weight_wins_and_then_the_order_of_the_server(weights, blank, is_loud):
    entries = [f"{kind}{blank};{blank}q={weight / 1000:.3f}" for kind, weight in weights.items()]
    accept = f"{blank},{blank}".join(entries)
    best = max(KINDS, key=lambda kind: weights.get(kind, 0))
    wanted = best if weights.get(best, 0) > 0 else "longpoll"
    assert picked((accept.upper() if is_loud else accept).encode()) == wanted


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), NO_WEIGHTS)
def test_an_invalid_weight_counts_as_0(kind, other, weight):
    """RFC 9110, section 12.4.2."""
    accept = f"{kind};q={weight}, {other};q=0.001"
    assert picked(accept.encode("utf-8")) == other


@given(st.lists(st.sampled_from([b",", b";", b"q=", b"=", b"1", b"nan", KINDS[0].encode()]) | st.binary(max_size=3)))
def test_any_accept_selects_a_transport(words):
    assert picked(b"".join(words)) in (*KINDS, "longpoll")
