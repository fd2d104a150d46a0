"""What a daemon advises clients of Bayeux: other servers, polling instead of waiting, and to go."""

import json
import re

import pytest
import pytest_twisted

from tests.dialects.bayeux.client import Bayeux
from tests.transports.daemon import MovableReactor, until
from tests.transports.http_client import HttpClient, encode_request

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}
WAIT = 3000


@pytest.fixture
def start(start_daemon, tmp_path):
    """Return what starts a daemon with settings of the dialect."""

    async def start(lines, reactor=None):
        file = tmp_path / "pushd.toml"
        file.write_text(f"[dialects.bayeux]\n{lines}\n")
        return await start_daemon(SETTINGS, reactor, file)

    return start


@pytest_twisted.ensureDeferred
async def test_handshake_advises_the_hosts(start):
    daemon = await start('hosts = ["a.example.org", "B.example.org", "192.0.2.7"]')
    reply = await Bayeux(daemon).handshake()
    assert reply["advice"]["hosts"] == ["a.example.org", "b.example.org", "192.0.2.7"]


class Browser(Bayeux):
    """A client that keeps the cookie."""

    cookie = ""

    async def handshake(self, **fields):
        """Begin a session, and keep the cookie that is set."""
        body = json.dumps([self.message("/meta/handshake", supportedConnectionTypes=["long-polling"], **fields)])
        answer = await self.request(body.encode())
        self.cookie = answer.headers.get("set-cookie", "")
        if self.cookie:
            self.headers["Cookie"] = "a=b; " + self.cookie.partition(";")[0]
        self.id = answer.json[0]["clientId"]
        await self.connect(0)
        return answer.json[0]

    async def tab(self):
        """Return another client in the same browser."""
        other = Browser(self.daemon, self.headers)
        await other.handshake()
        assert not other.cookie
        return other


POLLING = {"reconnect": "retry", "interval": 2000, "timeout": 30000, "maxInterval": 10000, "multiple-clients": True}


async def holding(daemon, client, channel):
    """Hold a connect of a client that is subscribed to a channel; return its connection and its answer."""
    await client.subscribe(f"/{channel}")
    started = client.start(client.connect_message(WAIT))
    await until(lambda: daemon.subscribers(channel), "the connect is held")
    return started


@pytest_twisted.ensureDeferred
async def test_one_session_of_a_browser_holds_a_connect_and_others_poll(start):
    daemon = await start("")
    one = Browser(daemon)
    await one.handshake()
    two = await one.tab()
    assert re.fullmatch("BAYEUX_BROWSER=[0-9a-f]{32}; Path=/; HttpOnly; SameSite=Lax", one.cookie)
    _, held = await holding(daemon, one, "a")
    await two.subscribe("/b")
    await daemon.publish("b", "1")
    reply, message = await two.connect(WAIT)
    assert (reply["successful"], reply["advice"], message["data"]) == (True, POLLING, "1")
    assert (await two.connect())[0]["advice"] == POLLING
    other = Browser(daemon)
    await other.handshake()
    assert other.cookie != one.cookie
    client, _ = await holding(daemon, other, "c")
    client.transport.abortConnection()
    _, again = await holding(daemon, one, "a")  # of the same session: it replaces the one before
    assert "multiple-clients" not in (await held).json[0].get("advice", {})
    await daemon.publish("a", "2")
    await again
    _, held = await holding(daemon, two, "b")
    await daemon.publish("b", "3")
    assert (await held).json[0]["advice"]["interval"] == 0
    client, held = two.start(two.message("/meta/connect", connectionType="long-polling"))
    await until(lambda: daemon.subscribers("b"), "the connect is held")
    await daemon.publish("b", "4")
    assert "advice" not in (await held).json[0]


@pytest_twisted.ensureDeferred
async def test_connect_whose_client_has_disconnected_does_not_count(start):
    daemon = await start("")
    one = Browser(daemon)
    await one.handshake()
    two = await one.tab()
    client, _ = await holding(daemon, one, "a")
    client.transport.abortConnection()
    await until(lambda: not daemon.subscribers("a"), "the connect is gone")
    await holding(daemon, two, "b")
    assert (await one.connect(WAIT))[0]["advice"] == POLLING


@pytest_twisted.ensureDeferred
async def test_other_sessions_of_a_browser_end_without_an_interval(start):
    daemon = await start("multi_session_interval = 0")
    one = Browser(daemon)
    await one.handshake()
    two = await one.tab()
    await holding(daemon, one, "a")
    (reply,) = await two.connect(WAIT)
    assert (reply["successful"], reply["error"]) == (False, "403::multiple_clients")
    assert reply["advice"] == {"reconnect": "none"}
    assert (await two.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_event_stream_of_a_browser_counts(start):
    daemon = await start("")
    one = Browser(daemon)
    await one.handshake()
    await one.subscribe("/a")
    two = await one.tab()
    head = {"Accept": "text/event-stream", "Cookie": one.headers["Cookie"]}
    stream = daemon.connect("http", HttpClient(encode_request("GET", f"/bayeux/{one.id}", None, head)))
    await until(lambda: daemon.subscribers("a"), "the stream waits")
    answer = await daemon.request("GET", f"/bayeux/{two.id}", None, head)
    assert (answer.status, answer.json["error"]["code"]) == (429, "too-many-connections")
    assert (await two.connect(WAIT))[0]["advice"] == POLLING
    stream.transport.abortConnection()
    await until(lambda: not daemon.subscribers("a"), "the stream is gone")
    await holding(daemon, two, "b")


@pytest_twisted.ensureDeferred
async def test_browsers_are_not_limited_by_choice_or_without_cookies(start):
    daemon = await start("max_sessions_per_browser = 0")
    one = Browser(daemon, {"Cookie": "BAYEUX_BROWSER=0123456789abcdef"})
    await one.handshake()
    assert not one.cookie
    await holding(daemon, one, "a")
    await holding(daemon, await one.tab(), "b")


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ({"Origin": "https://app.example"}, True),
        ({"X-Forwarded-Proto": "https, http"}, True),
        ({"Origin": "http://app.example"}, False),
        ({"X-Forwarded-Proto": "http"}, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_cookie_of_a_browser_is_secure_over_tls(start_daemon, headers, is_secure):
    origins = {"http.allow_origins": "https://app.example,http://app.example"}
    client = Browser(await start_daemon(SETTINGS | origins), headers)
    await client.handshake()
    assert client.cookie.endswith("; Secure") == is_secure


@pytest_twisted.ensureDeferred
async def test_page_that_is_only_accepted_since_all_are_receives_no_cookie(start_daemon):
    client = Browser(await start_daemon(SETTINGS | {"http.allow_origins": "*"}), {"Origin": "https://app.example"})
    await client.handshake()
    assert not client.cookie


GONE = ("402::session_inactive", {"reconnect": "none"})


async def passed(client, reactor, seconds):
    """Let time pass while a client connects; return the error and the advice of its last connect."""
    reply: dict[str, object] = {}
    for _ in range(seconds // 4):
        await reactor.pass_time(4)
        reply, *_ = await client.connect(0)
    return reply.get("error"), reply.get("advice")


@pytest.mark.parametrize("activity", ["client", "client_server"])
@pytest_twisted.ensureDeferred
async def test_session_that_only_connects_ends(start, activity):
    reactor = MovableReactor()
    daemon = await start(f'activity = "{activity}"\nmax_inactive = 32', reactor)
    client = Bayeux(daemon)
    await client.handshake()
    await client.subscribe("/a")
    for act in (client.subscribe("/b"), client.publish("/c", 1)):
        assert (await passed(client, reactor, 28))[0] is None
        assert (await act)["successful"]
    assert (await passed(client, reactor, 28))[0] is None
    await daemon.publish("a", "1")
    assert (await client.connect(0))[1]["data"] == "1"
    error, _ = await passed(client, reactor, 8)
    assert (error == GONE[0]) == (activity == "client")
    if error is None:
        assert await passed(client, reactor, 28) == GONE
    assert (await client.connect(0))[0]["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_event_stream_of_an_inactive_session_ends(start):
    reactor = MovableReactor()
    daemon = await start("max_inactive = 8", reactor)
    client = Bayeux(daemon)
    await client.handshake()
    await client.subscribe("/a")
    stream = daemon.connect(
        "http", HttpClient(encode_request("GET", f"/bayeux/{client.id}", None, {"Accept": "text/event-stream"}))
    )
    await until(lambda: daemon.subscribers("a"), "the stream waits")
    assert await passed(client, reactor, 12) == GONE
    await stream.answer
    assert not daemon.subscribers("a")


@pytest_twisted.ensureDeferred
async def test_activity_survives_a_restart(start_daemon, tmp_path):
    reactor = MovableReactor()
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.bayeux]\nmax_inactive = 32\nmax_interval = 600\n")
    settings = SETTINGS | {"backend.data_dir": tmp_path / "data"}
    before = await start_daemon(settings, reactor, file)
    client = Bayeux(before)
    await client.handshake(ext={"ack": True})
    await client.subscribe("/a")
    await before.stop()
    client.daemon = await start_daemon(settings, reactor, file)
    await reactor.pass_time(36)
    assert await passed(client, reactor, 4) == GONE
