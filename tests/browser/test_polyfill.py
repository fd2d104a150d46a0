"""event-source-polyfill in Chromium, which sends its cursor as ``lastEventId=`` beside the query of the page."""

from typing import Any

import pytest
from playwright.sync_api import Page, Request

from tests.browser.daemon import Daemon, wait
from tests.browser.screen import open_blank
from tests.programs import find_node_package

pytestmark = pytest.mark.system

RECONNECT_SECONDS = 30.0
"""The daemon announces a delay of three seconds."""
SUBSCRIBE = """address => {
  window.received = [];
  window.events = new EventSourcePolyfill(address);
  events.addEventListener("message", event => received.push(event.data));
}"""


@pytest.fixture
def requests(page: Page) -> list[str]:
    """The URLs of the requests of the page."""
    urls: list[str] = []

    def on_request(request: Request) -> None:
        urls.append(request.url)

    page.on("request", on_request)
    return urls


def subscribe(page: Page, daemon: Daemon, channel: str, query: str = "") -> None:
    """Open an EventSource of the polyfill that records its messages."""
    open_blank(page, daemon)
    page.add_script_tag(path=find_node_package("event-source-polyfill") / "src" / "eventsource.js")
    page.evaluate(SUBSCRIBE, f"/sse/{channel}{query}")
    daemon.wait_for_subscribers(channel)


def received(page: Page, count: int) -> Any:
    """Wait for this many messages; return all."""
    wait(lambda: len(page.evaluate("received")) >= count, f"{count} messages", RECONNECT_SECONDS)
    return page.evaluate("received")


@pytest.mark.parametrize("query", ["", "?since=all"], ids=["live", "all"])
def test_polyfill_that_is_cut_before_its_first_message_misses_nothing(
    page: Page, daemon: Daemon, requests: list[str], query: str
):
    channel = f"polyfill/cut{len(query)}"
    daemon.publish("polyfill/other", "x")
    subscribe(page, daemon, channel, query)
    daemon.cut(channel)
    daemon.publish(channel, "missed")
    daemon.wait_for_subscribers(channel, seconds=RECONNECT_SECONDS)
    daemon.publish(channel, "live")
    assert received(page, 2) == ["missed", "live"]
    assert [f"/sse/{channel}" in url and "lastEventId=" in url for url in requests[-2:]] == [False, True]


def test_polyfill_with_since_in_its_url_receives_no_message_twice(page: Page, daemon: Daemon):
    channel = "polyfill/all"
    daemon.publish(channel, "1")
    daemon.publish(channel, "2")
    subscribe(page, daemon, channel, "?since=all")
    assert received(page, 2) == ["1", "2"]
    daemon.cut(channel)
    daemon.publish(channel, "3")
    assert received(page, 3) == ["1", "2", "3"]
