"""One connection for all tabs: Chromium with many tabs of the client, whose leader is closed, killed and frozen."""

import json
import os
import time
from contextlib import suppress
from itertools import cycle

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Error, Page, WebSocket

from tests.browser.daemon import Daemon, wait

pytestmark = pytest.mark.system

OPEN = """async (url) => {
  const { connect } = await import(url + "/client.js");
  window.client = connect(url, { tabs: true, delay: 0.05 });
  window.received = [];
  window.gaps = [];
  client.on("gap", (gap) => gaps.push(gap));
  window.subscription = client.subscribe("tabs/**", (message) => received.push(message.data));
  await new Promise((resolve) => subscription.on("begin", resolve));
}"""
REPLACED_SECONDS = 10.0
TABS = int(os.environ.get("PUSHD_TABS", "4"))
"""The tabs whose leader is replaced, and how often it is."""
ROUNDS = int(os.environ.get("PUSHD_TAB_ROUNDS", "50"))


class Tab:
    """A tab with the client, and its WebSockets."""

    def __init__(self, context: BrowserContext, daemon: Daemon) -> None:
        self.first = 0
        """The first number that it has to receive."""
        self.websockets = 0
        """Number of its open WebSockets: one if it leads."""
        self.page: Page = context.new_page()
        self.page.on("websocket", self._on_websocket)
        self.page.goto(f"{daemon.url}/health/live")
        self.page.evaluate(OPEN, daemon.url)

    def _on_websocket(self, websocket: WebSocket) -> None:
        self.websockets += 1
        websocket.on("close", self._on_close)

    def _on_close(self, _: WebSocket) -> None:
        self.websockets -= 1

    def wait_for(self, number: int) -> None:
        """Wait until it has received a number, and check that nothing is missing or doubled."""
        self.page.wait_for_function("number => received.at(-1) === number || gaps.length > 0", arg=str(number))
        assert self.page.evaluate("[received, gaps]") == [[str(each) for each in range(self.first, number + 1)], []]


class Tabs:
    """Several tabs, and numbers that are published."""

    def __init__(self, context: BrowserContext, daemon: Daemon, count: int) -> None:
        self._context = context
        self._daemon = daemon
        self.published = 0
        self.all = [Tab(context, daemon) for _ in range(count)]

    def open(self) -> None:
        tab = Tab(self._context, self._daemon)
        tab.first = self.published
        self.all.append(tab)

    def publish(self, count: int = 3) -> None:
        for _ in range(count):
            self._daemon.publish(f"tabs/{self.published % 2}", str(self.published))
            self.published += 1

    def take_leader(self) -> Tab:
        """Return the leader, which is then not among them any more."""
        while sum(tab.websockets for tab in self.all) != 1:  # another tab may have led for a moment
            self.all[0].page.wait_for_timeout(50)
        (leader,) = (tab for tab in self.all if tab.websockets)
        self.all.remove(leader)
        return leader

    def wait(self) -> None:
        """Wait until all of them have received everything."""
        for tab in self.all:
            tab.wait_for(self.published - 1)


def connections(daemon: Daemon) -> int:
    return len(json.loads(daemon.request("GET", "/connections")[1]))


def test_twenty_tabs_have_one_connection(chromium: Browser, daemon: Daemon) -> None:
    context = chromium.new_context()
    try:
        tabs = Tabs(context, daemon, 20)
        assert connections(daemon) == 1
        tabs.publish()
        tabs.wait()
        tabs.all[7].page.evaluate("number => client.publish('tabs/0', number)", str(tabs.published))
        tabs.published += 1
        tabs.wait()
        leader = tabs.take_leader()
        leader.page.close()
        tabs.publish()
        tabs.wait()
        assert connections(daemon) == 1
    finally:
        context.close()
    wait(lambda: connections(daemon) == 0, "no connection")


def freeze(tab: Tab) -> CDPSession:
    """Stop all scripts of a tab."""
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Debugger.enable")
    session.send("Debugger.pause")
    return session


@pytest.mark.slow
def test_leader_is_replaced_without_loss(chromium: Browser, daemon: Daemon) -> None:
    context = chromium.new_context()
    try:
        tabs = Tabs(context, daemon, TABS)
        longest = 0.0
        for _, kind in zip(range(ROUNDS), cycle(("closed", "killed", "frozen")), strict=False):
            tabs.publish()
            tabs.wait()
            leader = tabs.take_leader()
            begin = time.monotonic()
            if kind == "closed":
                leader.page.close()
            elif kind == "killed":
                with suppress(Error):
                    leader.page.goto("chrome://crash", timeout=5000)
            else:
                session = freeze(leader)
            tabs.publish()
            tabs.wait()
            longest = max(longest, time.monotonic() - begin)
            if kind == "frozen":
                session.send("Debugger.disable")
                tabs.all.append(leader)
                tabs.publish()
                tabs.wait()
            else:
                if kind == "killed":
                    leader.page.close()
                tabs.open()
            wait(lambda: connections(daemon) == 1, "one connection")
        assert longest < REPLACED_SECONDS
    finally:
        context.close()


@pytest.mark.slow
def test_frozen_follower_is_dropped_and_returns_without_loss(chromium: Browser, daemon: Daemon) -> None:
    context = chromium.new_context()
    try:
        tabs = Tabs(context, daemon, 3)
        tabs.publish()
        tabs.wait()
        leader = tabs.take_leader()
        frozen, other = tabs.all
        tabs.all.append(leader)
        frozen.page.evaluate("void client.subscribe('frozen', () => {})")
        daemon.wait_for_subscribers("frozen")
        session = freeze(frozen)
        daemon.wait_for_subscribers("frozen", 0, seconds=60)
        tabs.all.remove(frozen)
        tabs.publish(50)
        tabs.wait()
        session.send("Debugger.disable")
        tabs.all.append(frozen)
        tabs.publish()
        tabs.wait()
        daemon.wait_for_subscribers("frozen")
        assert other.websockets == 0
    finally:
        context.close()
