"""Headers that keep caches, proxies and foreign pages from what depends on state."""

import pytest

STATE = (
    "/pub/a",
    "/history/a",
    "/channels",
    "/connections",
    "/metrics",
    "/health/ready",
    "/poll/a",
    "/longpoll/a?timeout=0",
    "/pull/a",
    "/nowhere",
    "/pub/",
    "/poll/a?since=wrong",
    "/sse/ended",
)
STREAMS = ("/sse/a", "/stream/a", "/mixed/a", "/multipart/a", "/sub/a")


async def start(start_daemon, **settings):
    daemon = await start_daemon({"http.allow_origins": "https://app.example", **settings})
    await daemon.publish("a", "1")
    await daemon.publish("ended", "1", end=1)
    return daemon


@pytest.mark.parametrize("path", STATE)
async def test_answers_that_depend_on_state_are_never_stored(start_daemon, path):
    running = await start(start_daemon)
    last = (await running.request("GET", "/poll/ended")).headers["pushd-id"]
    headers = {"Last-Event-ID": last} if path == "/sse/ended" else {}
    answer = await running.request("GET", path, headers=headers)
    assert path != "/sse/ended" or answer.status == 204
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"].startswith("Origin")


@pytest.mark.parametrize("path", [*STATE, *STREAMS, "/", "/demo/", "/pub", "/health/live", "/version"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH"])
async def test_no_answer_can_be_embedded_by_pages_of_other_origins(start_daemon, path, method):
    running = await start(start_daemon)
    answer = await running.request(method, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'self' https://app.example" in answer.headers["content-security-policy"]


async def test_answer_that_is_no_http_cannot_be_embedded_either(start_daemon):
    running = await start(start_daemon)
    answer = await running.request("GET", "/\xff bad")
    assert (answer.status, answer.headers["cross-origin-resource-policy"]) == (400, "same-origin")


@pytest.mark.parametrize("path", STREAMS)
async def test_streams_are_never_stored(start_daemon, path):
    running = await start(start_daemon)
    answer = await running.request("HEAD", path)
    assert answer.headers["cache-control"] in ("no-store, no-transform", "no-store")
    assert answer.headers["vary"].startswith("Origin")
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("path", ["/pull/a", "/longpoll/a", "/poll/a", "/sub/a", "/history/a", "/sse/a"])
async def test_head_does_not_claim_an_empty_body(start_daemon, path):
    running = await start(start_daemon)
    answer = await running.request("HEAD", path)
    assert (answer.status, "content-length" in answer.headers) == (200, False)
    assert answer.headers["content-type"]


@pytest.mark.parametrize("path", ["/sse/ended", "/stream/ended", "/mixed/ended"])
async def test_head_of_an_ended_channel_is_that_of_get(start_daemon, path):
    running = await start(start_daemon)
    last = (await running.request("GET", "/poll/ended")).headers["pushd-id"]
    for method in ("GET", "HEAD"):
        answer = await running.request(method, path, headers={"Last-Event-ID": last})
        assert answer.status == 204, method


async def test_vary_is_absent_where_no_origin_is_allowed(daemon):
    assert "vary" not in (await daemon.request("GET", "/poll/a")).headers


async def test_named_origin_may_send_credentials_and_read_the_headers(start_daemon):
    running = await start(start_daemon, **{"http.allow_credentials": True})
    headers = {"Origin": "https://app.example"}
    answer = await running.request("GET", "/poll/a", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"pushd-channel", "pushd-event", "pushd-id"} <= set(exposed)
    preflight = await running.request("OPTIONS", "/pub/a", headers=headers)
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert {"cache-control", "x-requested-with", "authorization"} <= set(allowed)
    assert preflight.headers["access-control-allow-credentials"] == "true"
    other = await running.request("GET", "/poll/a", headers={"Origin": "https://other.example"})
    assert not [name for name in other.headers if name.startswith("access-control-")]


async def test_named_origin_may_not_send_credentials_by_default(start_daemon):
    running = await start(start_daemon)
    answer = await running.request("GET", "/poll/a", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in answer.headers


async def test_any_origin_may_not_send_credentials(start_daemon):
    daemon = await start_daemon({"http.allow_origins": "*", "http.allow_credentials": True})
    answer = await daemon.request("GET", "/poll/a", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://localhost", "localhost:443", 202),
        ("http://localhost", "localhost:80", 202),
        ("http://localhost:80", "localhost", 202),
        ("https://localhost", "localhost:80", 403),
        ("https://localhost", "localhost:8443", 403),
    ],
)
async def test_default_port_is_part_of_the_same_origin(daemon, origin, host, status):
    headers = {"Origin": origin, "Host": host}
    assert (await daemon.request("POST", "/pub/a", b"x", headers)).status == status


async def test_refused_origin_is_logged(daemon):
    await daemon.request("POST", "/pub/a", b"x", {"Origin": "https://evil.example"})
    assert any("origin https://evil.example is not in http.allow_origins" in line for line in daemon.log)
