"""Presence of the browser client in Chromium where there is no WebSocket: leases."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.daemon import Daemon, wait

pytestmark = pytest.mark.system

LEASE_SECONDS = 30.0
"""After which a member would leave in any case."""
ENTER = """async ([url, channel, name, tabs]) => {
  const { connect } = await import(url + "/client.js");
  window.client = connect(url, { tabs, transports: ["sse"] });
  const subscription = client.subscribe(channel, () => {});
  await new Promise((resolve) => subscription.on("begin", resolve));
  await client.presence(channel).enter({ name }, { id: name });
}"""


def open_page(context: BrowserContext, daemon: Daemon, channel: str, name: str, *, tabs: bool) -> Page:
    """Return a page that has entered a channel."""
    page = context.new_page()
    page.goto(f"{daemon.url}/health/live")
    page.evaluate(ENTER, [daemon.url, channel, name, tabs])
    return page


def events(daemon: Daemon, channel: str) -> list[tuple[str, Any]]:
    """Return the actions and the names of all events of a channel."""
    messages = json.loads(daemon.request("GET", f"/history/$presence/{channel}?since=all")[1])
    return [(message["data"]["action"], message["data"]["meta"]["name"]) for message in messages]


@pytest.mark.parametrize("tabs", [False, True])
def test_member_leaves_when_the_page_is_left(chromium: Browser, daemon: Daemon, tabs: bool) -> None:
    channel = f"presence/left/{tabs}"
    with chromium.new_context() as context:
        page = open_page(context, daemon, channel, "Alice", tabs=tabs)
        wait(lambda: events(daemon, channel) == [("enter", "Alice")], "a member")
        page.goto("about:blank")
        wait(
            lambda: events(daemon, channel) == [("enter", "Alice"), ("leave", "Alice")], "no member", LEASE_SECONDS - 10
        )


def test_member_stays_while_one_of_the_tabs_is_open(chromium: Browser, daemon: Daemon) -> None:
    channel = "presence/tabs"
    with chromium.new_context() as context:
        first, second = [open_page(context, daemon, channel, "Alice", tabs=True) for _ in range(2)]
        with second.expect_request(lambda request: request.method == "PUT"):
            first.goto("about:blank")
        assert events(daemon, channel) == [("enter", "Alice")]
        second.evaluate("client.close()")
        wait(
            lambda: events(daemon, channel) == [("enter", "Alice"), ("leave", "Alice")], "no member", LEASE_SECONDS - 10
        )
