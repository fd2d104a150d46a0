"""Pages whose daemon is restarted: all of them reconnect by themselves, and report lost messages."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.browser.screen import EVENT_SOURCE, open_blank

pytestmark = [pytest.mark.system, pytest.mark.slow]

CHANNELS = ("restart/events", "restart/document", "demo/chat", "demo/websocket", "demo/longpoll")
RECONNECT_MS = 30_000


def test_pages_reconnect_after_a_restart(page: Page, keepalive_daemon: Daemon, page_errors: list[str]):
    events, document, chat, websocket, longpoll = page, *(page.context.new_page() for _ in range(4))
    open_blank(events, keepalive_daemon)
    events.evaluate(EVENT_SOURCE, "/sse/restart/events")
    document.goto(f"{keepalive_daemon.url}/multipart/restart/document")
    chat.goto(f"{keepalive_daemon.url}/demo/chat")
    websocket.goto(f"{keepalive_daemon.url}/demo/websocket")
    longpoll.goto(f"{keepalive_daemon.url}/demo/longpoll")
    for channel in CHANNELS:
        keepalive_daemon.wait_for_subscribers(channel)
    last, *_ = [keepalive_daemon.publish(channel, "before") for channel in CHANNELS]
    expect(document.locator("pre")).to_have_text("before")
    for demo in (chat, websocket, longpoll):
        expect(demo.locator("#log")).to_contain_text("before")

    keepalive_daemon.stop()
    keepalive_daemon.start()
    first, *_ = [keepalive_daemon.publish(channel, "after") for channel in CHANNELS]

    events.wait_for_function("received.length === 3", timeout=RECONNECT_MS)
    before, gap, after = events.evaluate("received")
    assert before == ["message", "before", last]
    expected = {"type": "gap", "topic": "restart/events", "from": last, "reason": "epoch"}
    assert (gap[0], gap[2]) == ("gap", last)
    assert json.loads(gap[1]).items() >= expected.items()
    assert after == ["message", "after", first]
    expect(document.locator("pre")).to_have_text("after", timeout=RECONNECT_MS)
    lost = "missing here: the history was lost"
    expect(chat.locator("#log li")).to_contain_text(["before", lost, "after"], timeout=RECONNECT_MS)
    texts = ["before", "messages of demo/websocket are missing here: epoch", "after"]
    expect(websocket.locator("#log li:not(.note)")).to_contain_text(texts, timeout=RECONNECT_MS)
    texts = ["before", "missing here: epoch", "after"]
    expect(longpoll.locator("#log li")).to_contain_text(texts, timeout=RECONNECT_MS)
    page_errors.clear()  # the browser reported failed connections while the daemon was stopped
