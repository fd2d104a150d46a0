"""No cache, in a client or between, delivers an old state or delays a stream."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.clients import Http, Response
from tests.daemon.real import Daemon, eventually
from tests.system.caches import Cache, RequestsCache, SharedCache, Undici, start_nginx, start_varnish
from tests.system.stream_clients import STREAMS, Stream

pytestmark = pytest.mark.system

CACHES: dict[str, Callable[[Path, int], Cache]] = {
    "requests-cache": lambda _, port: RequestsCache(port),
    "undici": lambda _, port: Undici(port),
    "varnish": start_varnish,
    "nginx": start_nginx,
}
CARELESS: dict[str, Callable[[Path, int], Cache]] = {
    "requests-cache": lambda _, port: RequestsCache(port, ignores_headers=True),
    "varnish": lambda directory, port: start_varnish(directory, port, ignores_headers=True),
}
"""Caches that store responses in spite of `no-store`, and revalidate them with their `ETag`."""
_numbers = count(1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon behind the caches."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture(scope="module", params=CACHES)
def cache(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cache]:
    """Each of the caches, with its default rules."""
    yield from run(CACHES[request.param], daemon, tmp_path_factory)


@pytest.fixture(scope="module", params=CARELESS)
def careless(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Cache]:
    """Each of the caches that store everything."""
    yield from run(CARELESS[request.param], daemon, tmp_path_factory)


@pytest.fixture(scope="module", params=["varnish", "nginx"])
def proxy(
    daemon: Daemon, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[SharedCache]:
    """Each of the caches between client and daemon."""
    for cache in run(CACHES[request.param], daemon, tmp_path_factory):
        assert isinstance(cache, SharedCache)
        yield cache


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"cached/{next(_numbers)}"


class Counting(ThreadingHTTPServer):
    """A server without `Cache-Control`, whose responses are the numbers of the requests."""

    daemon_threads = True
    requests = 0


class CountedRequest(BaseHTTPRequestHandler):
    """A request to it."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Counting)
        self.server.requests += 1
        body = str(self.server.requests).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def run(start: Callable[[Path, int], Cache], daemon: Daemon, factory: pytest.TempPathFactory) -> Iterator[Cache]:
    cache = start(factory.mktemp("cache"), daemon.http_port)
    try:
        yield cache
    finally:
        cache.stop()


def texts(response: Response) -> list[Any]:
    """Return the data of the messages in a response."""
    return [message["data"] for message in response.json()] if response.status == 200 else []


@pytest.mark.parametrize("start", CACHES.values(), ids=CACHES)
def test_cache_stores_what_does_not_forbid_it(tmp_path: Path, start: Callable[[Path, int], Cache]):
    """Otherwise the other tests would prove nothing."""
    with Counting(("127.0.0.1", 0), CountedRequest) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        cache = start(tmp_path, origin.server_port)
        try:
            assert [cache.get("/a").body for _ in range(2)] == [b"1", b"1"]
        finally:
            cache.stop()
            origin.shutdown()


def test_repeated_poll_returns_the_same_messages_and_new_ones(cache: Cache, daemon: Daemon, channel: str):
    target, published = f"/poll/{channel}?since=all", list[str]()
    for text in ("1", "2", "3"):
        assert texts(cache.get(target)) == published
        daemon.publish(channel, text.encode())
        published.append(text)
    assert texts(cache.get(target)) == published
    assert texts(cache.get(target)) == published


def test_repeated_poll_is_complete_although_a_cache_stores_and_revalidates(
    careless: Cache, daemon: Daemon, channel: str
):
    target = f"/poll/{channel}?since=all"
    daemon.publish(channel, b"1")
    assert texts(careless.get(target)) == ["1"]
    assert texts(careless.get(target)) == ["1"]
    daemon.publish(channel, b"2")
    # Until the time is over for which the cache keeps an answer without asking.
    assert eventually(lambda: texts(careless.get(target)) == ["1", "2"])


@pytest.mark.parametrize("resource", ["poll", "longpoll"])
@pytest.mark.parametrize("place", ["query", "header"])
def test_polling_client_receives_each_message_once(
    cache: Cache, daemon: Daemon, channel: str, resource: str, place: str
):
    since = cache.get(f"/cursor/{channel}").json()["cursor"]
    received, polled = list[str](), list[list[str]]()
    for text in ("1", "2", "2", "3"):
        daemon.publish(channel, text.encode())
        target = f"/{resource}/{channel}"
        for _ in range(2):
            query = f"since={since}&" if place == "query" else ""
            headers = {"Last-Event-ID": since} if place == "header" else None
            wait = "timeout=0" if resource == "longpoll" else ""
            response = cache.get(f"{target}?{query}{wait}", headers)
            polled.append(texts(response))
            received += polled[-1]
            since = response.headers["pushd-cursor"]
    assert received == ["1", "2", "2", "3"]
    assert polled[1::2] == [[]] * 4


@pytest.mark.parametrize(
    "target",
    ["/pub/{}", "/history/{}", "/channels?prefix={}", "/cursor/{}", "/poll/{}", "/poll/{}?format=raw", "/pull/{}"],
)
def test_state_is_never_served_from_a_cache(cache: Cache, daemon: Daemon, channel: str, target: str):
    address = target.format(channel)
    bodies = [cache.get(address).body]
    for text in ("1", "2"):
        daemon.publish(channel, text.encode())
        if text == "2" and target.startswith("/channels"):
            daemon.publish(f"{channel}/other")
        bodies.append(cache.get(address).body)
        assert bodies[-1] == daemon.request("GET", address).body
    assert len(set(bodies)) == 3


def test_refusal_is_never_served_from_a_cache(cache: Cache, daemon: Daemon, channel: str):
    refusals = 'pushd_refusals_total{code="bad-since"}'
    before = daemon.counter(refusals)
    for target, status in ((f"/pub/{channel}", 404), (f"/poll/{channel}?since=wrong", 400)):
        assert [cache.get(target).status for _ in range(2)] == [status] * 2
    assert daemon.counter(refusals) == before + 2
    daemon.publish(channel)
    assert cache.get(f"/pub/{channel}").status == 200


@pytest.mark.parametrize("resource", ["sse", "stream"])
def test_response_of_an_ended_channel_is_never_served_from_a_cache(
    cache: Cache, daemon: Daemon, channel: str, resource: str
):
    daemon.request("POST", f"/pub/{channel}?end=1", None, b"first")
    last = cache.get(f"/poll/{channel}").headers["pushd-id"]
    target = f"/{resource}/{channel}?lastEventId={last}"
    assert [cache.get(target).status for _ in range(2)] == [204, 204]
    daemon.request("POST", f"/pub/{channel}?end=1", None, b"second")
    for _ in range(2):
        response = cache.get(target)
        assert (response.status, b"second" in response.body, b"first" in response.body) == (200, True, False)


@pytest.mark.parametrize("transport", STREAMS, ids=lambda transport: transport.name)
def test_stream_passes_a_shared_cache(proxy: SharedCache, daemon: Daemon, channel: str, transport: Any):
    with Stream(proxy.port, transport, channel) as first, Stream(proxy.port, transport, channel) as second:
        assert daemon.request("GET", f"/pub/{channel}").json()["subscribers"] == 2
        daemon.publish(channel, b"live", Content_Type=transport.publish_as)
        assert [each.wait_for_messages(1) for each in (first, second)] == [[b"live"]] * 2


def test_event_stream_that_is_cut_resumes_through_a_shared_cache(proxy: SharedCache, daemon: Daemon, channel: str):
    sse = STREAMS[0]
    with Stream(proxy.port, sse, channel) as stream:
        (connection,) = daemon.request("GET", f"/connections?channel={channel}").json()
        assert daemon.request("DELETE", f"/connections/{connection['id']}").status == 200
        stream.read_to_end()
    daemon.publish(channel, b"missed")
    cursor = next(line for line in stream.body.decode().splitlines() if line.startswith("id: ")).removeprefix("id: ")
    with Stream(proxy.port, sse, channel, {"Last-Event-ID": cursor}) as stream:
        daemon.publish(channel, b"live")
        assert stream.wait_for_messages(2) == [b"missed", b"live"]


def test_held_polls_of_one_address_pass_a_shared_cache(proxy: SharedCache, daemon: Daemon, channel: str):
    since = daemon.publish(channel, b"before")["id"]
    with Http(proxy.port) as first, Http(proxy.port) as second:
        for http in (first, second):
            http.send_request("GET", f"/longpoll/{channel}?since={since}")
        assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").json()["subscribers"] > 0)
        daemon.publish(channel, b"live")
        answers = [json.loads(http.response().body) for http in (first, second)]
    assert [[message["data"] for message in answer] for answer in answers] == [["live"]] * 2
