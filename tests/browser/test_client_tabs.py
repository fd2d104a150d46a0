"""One connection for all tabs: Chromium with many tabs of the client, whose leader is closed, killed and frozen."""

import json

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.daemon import Daemon, wait

pytestmark = pytest.mark.system

PAGE = """async (url) => {
  const { connect } = await import(url + "/client.js");
  window.client = connect(url, { tabs: true, delay: 0.05 });
  window.received = [];
  window.gaps = [];
  client.on("gap", (gap) => gaps.push(gap));
  window.subscription = client.subscribe("tabs/**", (message) => received.push(message.data));
  await new Promise((resolve) => subscription.on("begin", resolve));
}"""


def open_tab(context: BrowserContext, daemon: Daemon) -> Page:
    page = context.new_page()
    page.goto(f"{daemon.url}/health/live")
    page.evaluate(PAGE, daemon.url)
    return page


def connections(daemon: Daemon) -> int:
    return len(json.loads(daemon.request("GET", "/connections")[1]))


def test_twenty_tabs_have_one_connection(chromium: Browser, daemon: Daemon) -> None:
    context = chromium.new_context()
    try:
        pages = [open_tab(context, daemon) for _ in range(20)]
        assert connections(daemon) == 1
        for number in range(10):
            daemon.publish("tabs/a", str(number))
        for page in pages:
            page.wait_for_function("received.length >= 10")
            assert page.evaluate("received") == [str(number) for number in range(10)]
        pages[3].evaluate("client.publish('tabs/b', {from: 3})")
        for page in pages:
            page.wait_for_function("received.length == 11")
        leader = pages.pop(0)
        leader.close()
        daemon.publish("tabs/a", "after")
        for page in pages:
            page.wait_for_function("received.length == 12")
            assert page.evaluate("gaps") == []
        wait(lambda: connections(daemon) == 1, "one connection")
    finally:
        context.close()
    wait(lambda: connections(daemon) == 0, "no connection")
