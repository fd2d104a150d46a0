"""Private notifications in the example with FastAPI: each user receives their own, and nobody else's by any means."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from playwright.sync_api import Browser, expect
from websockets.exceptions import ConnectionClosed

from tests.browser.notifications import COOKIE, Site, User, log_in
from tests.daemon.clients import HANDSHAKE, SECONDS, Lines, Response

pytestmark = pytest.mark.system

SECRET = "the cake is a lie"
"""What only Alice may read."""
CHANNEL = "users/alice/notifications"
ABSENT = "users/carol/notifications"
"""A channel that does not exist."""
STREAMS = ("sse", "stream", "multipart", "mixed", "sub")
READS = (*STREAMS, "longpoll", "poll", "pull", "history", "cursor", "pub")
"""The first segments of the addresses that read a channel."""
SPELLINGS = (CHANNEL, CHANNEL.replace("/", "%2F"), "%75sers/%61lice/%6Eotifications", f"{CHANNEL}%2C{CHANNEL}")
COVERING = (
    "users/alice/**",
    "users/*/notifications",
    "*/alice/notifications",
    "users/**",
    "*/**",
    "**",
    f"users/bob/notifications,{CHANNEL}",
    f"users/bob/**,users/bob/../alice/notifications,{CHANNEL}",
    f"$presence/{CHANNEL}",
)
"""Topics that include the channel, or come near it."""
FROM_PAGE = """async ([reads, channel]) => {
  const found = [];
  for (const read of reads) {
    const response = await fetch(`/push/${read}/${channel}?since=all`);
    found.push(response.status, await response.text());
  }
  await new Promise(resolve => {
    const events = new EventSource(`/push/sse/${channel}?since=all`);
    events.onmessage = event => { found.push(200, event.data); events.close(); resolve(); };
    events.onerror = () => { events.close(); resolve(); };
  });
  await new Promise(resolve => {
    const socket = new WebSocket(`wss://${location.host}/push/ws/${channel}?since=all`);
    socket.onmessage = event => { found.push(200, event.data); socket.close(); };
    socket.onclose = resolve;
  });
  return found;
}"""
"""Tries to read a channel from a page with `fetch`, EventSource and WebSocket, which send the cookies of its user."""
FROM_FOREIGN_PAGE = """async ([url, channel]) => {
  const found = [];
  for (const credentials of ["include", "omit"]) {
    await fetch(`${url}/push/history/${channel}`, { credentials }).then(
      async response => found.push(await response.text()), () => found.push("refused"));
  }
  await new Promise(resolve => {
    const events = new EventSource(`${url}/push/sse/${channel}?since=all`, { withCredentials: true });
    events.onmessage = event => { found.push(event.data); events.close(); resolve(); };
    events.onerror = () => { events.close(); found.push("refused"); resolve(); };
  });
  await new Promise(resolve => {
    const socket = new WebSocket(`${url.replace("https", "wss")}/push/ws/${channel}?since=all`);
    socket.onmessage = event => { found.push(event.data); socket.close(); };
    socket.onclose = () => { found.push("refused"); resolve(); };
  });
  return found;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The running example."""
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site
        site.daemon.assert_healthy()


@pytest.fixture(scope="module")
def alice(chromium: Browser, site: Site) -> Iterator[User]:
    """Alice, who is the first one."""
    alice = log_in(chromium, site, "alice", "wonderland")
    yield alice
    alice.page.context.close()


@pytest.fixture(scope="module")
def bob(chromium: Browser, site: Site, alice: User) -> Iterator[User]:
    """Bob, who has received one notification, and sent one to Alice: she has two, and one is from herself."""
    bob = log_in(chromium, site, "bob", "builder")
    for sender, to, text in ((alice, "alice", SECRET), (bob, "alice", "hello alice"), (alice, "bob", "hello bob")):
        sender.page.get_by_label("To").fill(to)
        sender.page.get_by_label("Text").fill(text)
        sender.page.get_by_role("button", name="Send").click()
        expect(sender.page.get_by_label("Text")).to_have_value("")
    yield bob
    bob.page.context.close()


def newest(site: Site, user: User) -> str:
    """Return the id of the newest notification of a user."""
    response = site.request("GET", f"/history/users/{user.page.locator('#user').text_content()}/**", user.cookie)
    return str(response.json()[-1]["id"])


def assert_refused(response: Response, *statuses: int) -> None:
    assert response.status in (statuses or (403,)), response
    assert SECRET not in str(response) and "cake" not in str(response)


def test_each_page_shows_the_notifications_of_its_user(site: Site, alice: User, bob: User):
    for transport in ("events", "socket"):
        expect(alice.page.locator(f"#{transport} li")).to_have_text([f"alice: {SECRET}", "bob: hello alice"])
        expect(bob.page.locator(f"#{transport} li")).to_have_text(["alice: hello bob"])
    assert (alice.errors, bob.errors) == ([], [])


def test_page_of_the_second_user_cannot_read_the_channel_of_the_first(site: Site, alice: User, bob: User):
    reads = [read for read in READS if read not in STREAMS]
    own = alice.page.evaluate(FROM_PAGE, [reads, CHANNEL])
    assert own[0:-2:2] == [200] * len(own[0:-2:2]) and SECRET in own[-1]
    found = bob.page.evaluate(FROM_PAGE, [reads, CHANNEL])
    assert found[::2] == [403] * len(reads)
    assert SECRET not in str(found)
    bob.errors.clear()


def test_page_of_another_origin_cannot_use_the_session_of_its_visitor(site: Site, alice: User):
    page = alice.page.context.new_page()
    page.goto(f"https://127.0.0.1:{site.port}/login")
    assert set(page.evaluate(FROM_FOREIGN_PAGE, [site.url, CHANNEL])) == {"refused"}
    page.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost", "null"])
def test_cookie_from_a_page_of_another_origin_is_refused(site: Site, alice: User, bob: User, origin: str):
    for headers in ({"Origin": origin}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert_refused(site.request("GET", f"/history/{CHANNEL}", alice.cookie | headers))
        assert_refused(site.request("GET", f"/ws/{CHANNEL}", alice.cookie | HANDSHAKE | headers))
    assert_refused(site.request("GET", f"/history/{CHANNEL}", {"Cookie": alice.cookie["Cookie"]}))


@pytest.mark.parametrize("read", READS)
def test_second_user_cannot_read_by_any_address(site: Site, alice: User, bob: User, read: str):
    for channel in SPELLINGS[:3]:
        assert site.request("GET", f"/{read}/{channel}?since=all", alice.cookie).status == 200
    for method in ("GET", "HEAD"):
        for topics in (*SPELLINGS, *COVERING):
            for query in ("", "?since=all", f"?since={newest(site, bob)}", "?since=last:10"):
                response = site.request(method, f"/{read}/{topics}{query}", bob.cookie)
                assert_refused(response, 400, 403)
                assert not {"pushd-cursor", "pushd-id", "etag"} & set(response.headers)
        assert_refused(site.request(method, f"/{read}/{CHANNEL}", bob.cookie), 403)
        assert_refused(site.request(method, f"/{read}/{CHANNEL}", {}), 401)


@pytest.mark.parametrize("read", READS)
def test_second_user_cannot_guess_whether_a_channel_exists(site: Site, bob: User, read: str):
    existing, absent = (site.request("GET", f"/{read}/{channel}", bob.cookie) for channel in (CHANNEL, ABSENT))
    assert existing.status == absent.status == 403
    assert existing.body.replace(b"alice", b"carol") == absent.body
    assert set(existing.headers) == set(absent.headers)


def test_second_user_cannot_list(site: Site, bob: User):
    for target in (
        "/channels",
        "/channels?prefix=users/",
        "/connections",
        f"/connections?channel={CHANNEL}",
        "/metrics",
    ):
        assert_refused(site.request("GET", target, bob.cookie), 403)
        assert_refused(site.request("GET", target, {}), 401)


def test_second_user_cannot_write(site: Site, alice: User, bob: User):
    before = site.request("GET", f"/history/{CHANNEL}", alice.cookie).body
    page = bob.cookie | {"Origin": site.url}
    for method in ("POST", "PUT", "DELETE"):
        for channel in (*SPELLINGS, f"users/bob/notifications,{CHANNEL}"):
            assert_refused(site.request(method, f"/pub/{channel}", page, b"forged"), 400, 403)
        assert_refused(site.request(method, f"/pub/{CHANNEL}", page, b"forged"), 403)
    batch = json.dumps({"channel": CHANNEL, "data": "forged"}).encode()
    response = site.request("POST", "/pub", page | {"Content-Type": "application/x-ndjson"}, batch)
    assert (response.status, json.loads(response.body)["error"]["code"]) == (200, "forbidden")
    assert site.request("GET", f"/history/{CHANNEL}", alice.cookie).body == before


def test_second_user_cannot_read_with_a_cursor_of_the_first(site: Site, alice: User, bob: User):
    cursor = newest(site, alice)
    epoch, number = cursor.rsplit("-", 1)
    for earlier in (cursor, f"{epoch}-0", f"{epoch}-{int(number) - 1}", f"{epoch}-{int(number) + 99}"):
        for headers in ({"Last-Event-ID": earlier}, {"If-None-Match": f'"{earlier}"'}):
            for read in READS:
                assert_refused(site.request("GET", f"/{read}/{CHANNEL}", bob.cookie | headers), 403)
            own = site.request("GET", "/poll/users/bob/notifications", bob.cookie | headers)
            assert SECRET not in str(own)
            assert "users/alice" not in str(own)


def test_second_user_cannot_become_the_first_by_a_header(site: Site, alice: User, bob: User):
    secret = site.secret
    claims = {"iss": "https://notifications.example", "aud": "pushd", "sub": "alice", "exp": int(time.time()) + 60}
    claims["pushd"] = {"subscribe": ["users/{sub}/**"]}
    head, payload, signature = bob.token.split(".")
    own = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert own["sub"] == "bob"
    changed, unsigned = _segment(own | {"sub": "alice"}), _segment({"alg": "none"})
    forged = [
        f"{head}.{changed}.{signature}",
        f"{unsigned}.{changed}.",
        jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(b"x" * 32)),
        jwt.encode({"alg": "HS256"}, claims | {"aud": "other"}, OctKey.import_key(secret)),
        jwt.encode({"alg": "HS256"}, claims | {"iss": "https://other.example"}, OctKey.import_key(secret)),
    ]
    genuine = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))
    target = f"/history/{CHANNEL}"
    assert site.request("GET", target, {"Authorization": f"Bearer {genuine}"}).status == 200
    for token in (*forged, bob.token + "x", "alice", "null"):
        assert_refused(site.request("GET", target, {"Authorization": f"Bearer {token}"}), 401)
        assert_refused(site.request("GET", target, bob.cookie | {"Cookie": f"{COOKIE}={token}"}), 401)
        assert_refused(site.request("GET", f"{target}?token={token}", {}), 401)
    for name, value in _IMPERSONATING:
        assert_refused(site.request("GET", target, bob.cookie | {name: value}), 403)
        assert_refused(site.request("GET", target, {name: value}), 401)
    both = {"Authorization": f"Bearer {bob.token}, Bearer {bob.token}"}
    assert_refused(site.request("GET", target, both), 400)


def test_second_user_cannot_read_or_write_by_any_frame(site: Site, bob: User):
    with site.websocket(bob.token) as socket:

        def reply(**command: object) -> Any:
            socket.send(json.dumps(command))
            return json.loads(socket.recv(SECONDS))

        for topics in (CHANNEL, *COVERING):
            assert reply(subscribe=topics)["error"]["code"] in ("forbidden", "bad-topic")
            assert reply(subscribe=topics, since="all")["error"]["code"] in ("forbidden", "bad-topic")
        assert reply(publish=CHANNEL, data="forged")["error"]["code"] == "forbidden"
        assert reply(auth="alice")["error"]["code"] == "token-invalid"
        assert reply(subscribe=CHANNEL)["error"]["code"] == "forbidden"
        own = reply(subscribe="users/bob/**", since="all")
        assert own["ok"]
        assert json.loads(socket.recv(SECONDS))["data"]["text"] == "hello bob"
    for target in (f"/ws/{CHANNEL}", f"/sub/{CHANNEL}", "/ws/users/**", f"/ws/users/bob/notifications,{CHANNEL}"):
        with site.websocket(bob.token, target) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.recv(SECONDS)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4403


def test_second_user_cannot_read_or_write_by_any_line(site: Site, bob: User):
    batch = json.dumps({"channel": CHANNEL, "data": "forged"})
    with Lines(site.daemon.tcp_port) as lines:

        def reply(line: str) -> str:
            return lines.command(line.encode()).decode()

        for begin, code in (("", "token-missing"), (f"AUTH {bob.token}", "forbidden")):
            assert not begin or reply(begin).startswith("+OK")
            for topics in (CHANNEL, *COVERING[:6]):
                for command in (f"SUB {topics}", f"SUB {topics} since=all", f"HIST {topics}"):
                    assert reply(command).startswith(f"-ERR {code} ")
            for command in (f"PUB {CHANNEL} forged", f"PUBJ {batch}", f"STAT {CHANNEL}", f"STAT {ABSENT}"):
                assert reply(command).startswith(f"-ERR {code} ")
        assert reply("AUTH alice").startswith("-ERR token-invalid ")
        assert reply("HIST users/bob/** 5").startswith("MSG users/bob/notifications ")


def test_first_user_has_received_exactly_her_notifications(site: Site, alice: User, bob: User):
    for transport in ("events", "socket"):
        assert alice.shown(transport) == [f"alice: {SECRET}", "bob: hello alice"]
        assert bob.shown(transport) == ["alice: hello bob"]
    assert alice.token not in site.daemon.log and bob.token not in site.daemon.log


_IMPERSONATING = [
    ("X-Forwarded-User", "alice"),
    ("X-Remote-User", "alice"),
    ("Authorization", "Basic " + base64.b64encode(b"alice:wonderland").decode()),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Original-URL", "/health/live"),
    ("X-Rewrite-URL", f"/history/{CHANNEL}"),
    ("X-HTTP-Method-Override", "OPTIONS"),
    ("Pushd-Channel", CHANNEL),
]
"""Headers that other programs take for an identity, or for another request."""


def _segment(value: object) -> str:
    """Return a segment of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
