"""The client in Chromium behind an nginx that buffers answers and forwards no WebSocket: long polls remain."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon
from tests.system.nginx import Nginx

pytestmark = [pytest.mark.system, pytest.mark.slow]

SERVER = (
    "location / {{ proxy_pass http://127.0.0.1:{port}; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; }}"
)
STALLED_SECONDS = 8.0
"""In which a stream has to begin."""
OTHER_SECONDS = 20.0
"""For two attempts with a WebSocket, which are refused at once, the pauses after them, and a busy machine."""
HOUR_MS = 3_600_000
OPEN = """async () => {
  const { connect } = await import("/client.js");
  window.received = [];
  window.transports = [];
  window.client = connect("/");
  client.on("state", ({ state, transport }) => state === "connecting" && transports.push(transport));
  client.subscribe("buffered", ({ data }) => received.push(data));
}"""
REMEMBERED = "localStorage.getItem(`pushd ${origin}`).split(' ')"


@pytest.fixture(scope="module")
def url(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the daemon behind nginx."""
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), {"buffering": SERVER.format(port=daemon.port)})
    yield f"http://127.0.0.1:{nginx.ports['buffering']}"
    nginx.stop()


def open_client(page: Page, url: str) -> Page:
    """Open a page with a client."""
    page.goto(f"{url}/demo/")
    page.evaluate(OPEN)
    return page


def transports(page: Page) -> list[Any]:
    """Return the transports that the client of a page has tried, when it is connected."""
    page.wait_for_function("client.state === 'open'")
    return list(page.evaluate("transports"))


def test_client_finds_out_and_remembers_it(page: Page, page_errors: list[str], daemon: Daemon, url: str) -> None:
    begin = time.monotonic()
    open_client(page, url)
    assert transports(page) == ["websocket", "websocket", "sse", "longpoll"]
    assert time.monotonic() - begin < STALLED_SECONDS + OTHER_SECONDS
    daemon.publish("buffered", "first")
    page.wait_for_function("received.length === 1")
    assert page.evaluate(f"{REMEMBERED}[0]") == "longpoll"
    assert 0.9 < page.evaluate(f"({REMEMBERED}[1] - Date.now()) / {HOUR_MS}") <= 1

    second = open_client(page.context.new_page(), url)
    assert transports(second) == ["longpoll"]
    daemon.publish("buffered", "second")
    for each, received in ((page, ["first", "second"]), (second, ["second"])):
        each.wait_for_function("received.at(-1) === 'second'")
        assert each.evaluate("received") == received

    second.evaluate("localStorage.setItem(`pushd ${origin}`, `longpoll ${Date.now()}`)")
    later = open_client(second, url)
    later.wait_for_function("transports[0] === 'websocket'")
    assert any("WebSocket" in error for error in page_errors)
    page_errors.clear()
