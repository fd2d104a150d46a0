"""Pages of other origins, in Chromium and Firefox, whose visitor has a cookie for the daemon: they can neither read nor
write, unless their origin is allowed to.

The daemon is at `localhost`. The page is at another port of `localhost`, which is the same site, so that browsers send
the cookie with every request, or at 127.0.0.1, which is another site, so that the cookie must be `SameSite=None`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.conftest import chromium_options, start_firefox
from tests.browser.daemon import Daemon
from tests.browser.firefox import Firefox
from tests.browser.images import RED, make_image

pytestmark = pytest.mark.system

SECRET = "the cake is a lie"
COOKIE, TOKEN = "session", "pushd_of_alice"
PAGES = {"same site": "localhost", "cross-site": "127.0.0.1"}
SETTINGS = {
    "closed": "",
    "another origin": 'allow_origins = ["https://other.example"]\nallow_credentials = true',
    "any origin": 'allow_origins = "*"',
}
ATTACKS = """async ([url, channel, image]) => {
  const found = {};
  const within = (seconds, promise) =>
    Promise.race([promise, new Promise(resolve => setTimeout(resolve, 1000 * seconds, "timeout"))]);
  const text = response => response.text();
  const include = { credentials: "include" };
  const send = (method, type, extra = {}) => fetch(`${url}/pub/${channel}`,
    { method, body: '"forged"', headers: { "Content-Type": type }, ...include, ...extra }).then(text, () => "blocked");
  const load = (name, attributes, events) => within(30, new Promise(resolve => {
    const element = document.createElement(name);
    for (const event of events) element.addEventListener(event, () => resolve(event));
    Object.assign(element, attributes);
    document.body.append(element);
  }));

  found.get = await fetch(`${url}/history/${channel}`, include).then(text, () => "blocked");
  found.opaque = await fetch(`${url}/history/${channel}`, { mode: "no-cors", ...include }).then(text, () => "blocked");
  found.text = await send("POST", "text/plain");
  found.opaqueText = await send("POST", "text/plain", { mode: "no-cors" });
  found.json = await send("POST", "application/json");
  found.put = await send("PUT", "text/plain");
  found.beacon = String(navigator.sendBeacon(`${url}/pub/${channel}`, "forged"));
  found.events = await within(30, new Promise(resolve => {
    const events = new EventSource(`${url}/sse/${channel}?since=all`, { withCredentials: true });
    const finish = result => { events.close(); resolve(result); };
    events.onmessage = event => finish(event.data);
    events.onerror = () => finish("blocked");
  }));
  for (const [name, path, protocols] of [["socket", `/ws/${channel}?since=all`, []], ["v1", "/ws", ["pushd.v1"]]])
    found[name] = await within(30, new Promise(resolve => {
      const socket = new WebSocket(url.replace("http", "ws") + path, protocols);
      const finish = result => { resolve(result); socket.close(); };
      socket.onopen = () => protocols.length && socket.send(JSON.stringify({ subscribe: channel, since: "all" }));
      socket.onmessage = event => { if (!event.data.includes("cursor")) finish(event.data); };
      socket.onclose = () => finish("blocked");
    }));
  found.image = await load("img", { src: `${url}/multipart/${image}?since=last:1` }, ["load", "error"]);
  found.sharedImage = await load("img",
    { crossOrigin: "use-credentials", src: `${url}/multipart/${image}?since=last:1` }, ["load", "error"]);
  found.script = await load("script", { src: `${url}/history/${channel}` }, ["load", "error"]);
  document.body.insertAdjacentHTML("beforeend", `<iframe name="target"></iframe>
    <form method="post" enctype="text/plain" target="target" action="${url}/pub/${channel}">
    <input name="a" value="b"></form>`);
  const loaded = new Promise(resolve => document.querySelector("iframe").addEventListener("load", resolve));
  document.querySelector("form").submit();
  await within(30, loaded);
  found.delete = await fetch(`${url}/pub/${channel}`, { method: "DELETE", ...include }).then(text, () => "blocked");
  return found;
}"""
"""Tries to read a channel and an image, and to write to the channel, and returns what each attempt has led to."""


class Visitor(NamedTuple):
    """A browser with a page."""

    open: Callable[[str], None]
    """Navigates to an address."""
    run: Callable[[str, object], Any]
    """Calls a JavaScript function with one argument, and returns its result."""


class OpenTo(NamedTuple):
    """A daemon, and the host of the pages that may use it."""

    daemon: Daemon
    host: str


class Site:
    """The site of the pages, on a port of its own. `/login/SAME-SITE` sets the cookie of `localhost`."""

    def __init__(self) -> None:
        self.cookies: list[str] = []
        """The cookies of requests for `/probe`."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        if request.path == "/probe":
            self.cookies.append(request.headers.get("Cookie", ""))
        if request.path.startswith("/login/"):
            same_site = request.path.removeprefix("/login/")
            request.send_header("Set-Cookie", f"{COOKIE}={TOKEN}; Path=/; HttpOnly; {same_site.replace(',', '; ')}")
        request.end_headers()
        request.wfile.write(b"<!doctype html><link rel=icon href=data:,><body></body>")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


@contextmanager
def guarded(folder: Path, settings: str) -> Iterator[Daemon]:
    """Run a daemon that Alice may use, with two messages that only she may read."""
    folder.mkdir()
    grant = 'sub = "alice"\nsubscribe = ["**"]\npublish = ["**"]\nmanage = ["**"]\noperate = ["*"]\n'
    (folder / "tokens.toml").write_text(f'[alice]\nsha256 = "{sha256(TOKEN.encode()).hexdigest()}"\n{grant}')
    config = f'[http]\n{settings}\n[auth]\ntokens_file = "{folder}/tokens.toml"\ncookie = "{COOKIE}"\n'
    daemon = Daemon(folder, config, {"Authorization": f"Bearer {TOKEN}"}).start()
    try:
        daemon.publish("secret", SECRET)
        daemon.publish("image", make_image(RED), "image/png")
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemon]]:
    """The daemons that no page may use with a cookie, by their settings."""
    folder = tmp_path_factory.mktemp("closed")
    with (
        guarded(folder / "1", SETTINGS["closed"]) as one,
        guarded(folder / "2", SETTINGS["another origin"]) as other,
        guarded(folder / "3", SETTINGS["any origin"]) as every,
    ):
        yield dict(zip(SETTINGS, (one, other, every), strict=True))


@pytest.fixture(scope="module", params=PAGES)
def open_to(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenTo]:
    """A daemon that pages of one origin may use."""
    host = PAGES[request.param]
    settings = f'allow_origins = ["http://{host}:{site.port}"]\nallow_credentials = true'
    with guarded(tmp_path_factory.mktemp("open") / "1", settings) as daemon:
        yield OpenTo(daemon, host)


@pytest.fixture(scope="module")
def lenient_firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """Firefox that sends cookies to other sites, as other browsers do."""
    yield from start_firefox(tmp_path_factory.mktemp("firefox"), {"network.cookie.cookieBehavior": 0})


@pytest.fixture(scope="module")
def lenient_chromium(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Chromium that sends cookies to other sites, as it did for long."""
    folder = tmp_path_factory.mktemp("chromium")
    (folder / "Default").mkdir()
    preferences = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}
    (folder / "Default" / "Preferences").write_text(json.dumps(preferences))
    context = chromium.browser_type.launch_persistent_context(folder, **chromium_options())
    yield context
    context.close()


@pytest.fixture(params=["chromium", pytest.param("firefox", marks=pytest.mark.slow)])
def visitor(request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A tab of each browser."""
    if request.param == "firefox":
        firefox: Firefox = request.getfixturevalue("lenient_firefox")
        firefox.open_tab()

        def run(function: str, argument: object) -> Any:
            call = f"({function})({json.dumps(argument)})"
            return json.loads(firefox.evaluate(f"(async () => JSON.stringify(await {call}))()"))

        yield Visitor(firefox.navigate, run)
    else:
        chromium: BrowserContext = request.getfixturevalue("lenient_chromium")
        page = chromium.new_page()

        def open_page(url: str) -> None:
            page.goto(url)

        yield Visitor(open_page, page.evaluate)
        page.close()


def visit(visitor: Visitor, site: Site, host: str) -> None:
    """Give the visitor a cookie for the daemon, and open the page, which makes the browser send that cookie."""
    is_same_site = host == "localhost"
    visitor.open(f"http://localhost:{site.port}/login/{'SameSite=Strict' if is_same_site else 'SameSite=None,Secure'}")
    visitor.open(f"http://{host}:{site.port}/")
    site.cookies.clear()
    probe = "url => fetch(url, { credentials: 'include', mode: 'no-cors' }).then(() => 0)"
    visitor.run(probe, f"http://localhost:{site.port}/probe")
    assert site.cookies == [f"{COOKIE}={TOKEN}"]


def arguments(daemon: Daemon) -> list[str]:
    """Return the argument of `ATTACKS`."""
    return [f"http://localhost:{daemon.port}", "secret", "image"]


def refusals(daemon: Daemon) -> float:
    """Return the number of requests that were refused as forbidden."""
    lines = daemon.request("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith('pushd_refusals_total{code="forbidden"}'))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("page", PAGES)
def test_page_of_another_origin_neither_reads_nor_writes(
    visitor: Visitor, site: Site, closed: dict[str, Daemon], page: str, settings: str
) -> None:
    daemon = closed[settings]
    visit(visitor, site, PAGES[page])
    before = refusals(daemon)
    found = visitor.run(ATTACKS, arguments(daemon))
    assert SECRET not in json.dumps(found)
    assert found.pop("beacon") == "true"
    assert set(found.values()) <= {"blocked", "error", ""}, found
    assert refusals(daemon) >= before + 8  # the requests arrive, with the cookie
    history = json.loads(daemon.request("GET", "/history/**?since=all")[1])
    assert [each["channel"] for each in history] == ["secret", "image"]
    assert json.loads(daemon.request("GET", "/connections")[1]) == []


def test_page_of_an_allowed_origin_reads_and_writes(visitor: Visitor, site: Site, open_to: OpenTo) -> None:
    daemon = open_to.daemon
    daemon.delete_channel("secret")
    daemon.publish("secret", SECRET)
    visit(visitor, site, open_to.host)
    found = visitor.run(ATTACKS, arguments(daemon))
    assert [each["data"] for each in json.loads(found["get"])] == [SECRET]
    for write in ("text", "json", "put"):
        assert json.loads(found[write])["channel"] == "secret"
    assert (found["events"], found["socket"], json.loads(found["v1"])["data"]) == (SECRET, SECRET, SECRET)
    assert (found["sharedImage"], found["image"], found["script"]) == ("load", "error", "error")
    assert json.loads(found["delete"])["deleted"] == "secret"


def test_page_of_an_allowed_origin_without_credentials_cannot_read(
    visitor: Visitor, site: Site, tmp_path: Path
) -> None:
    with guarded(tmp_path / "1", f'allow_origins = ["http://localhost:{site.port}"]') as daemon:
        visit(visitor, site, "localhost")
        found = visitor.run(ATTACKS, arguments(daemon))
    assert (found["get"], found["text"], found["json"], found["events"]) == ("blocked",) * 4
