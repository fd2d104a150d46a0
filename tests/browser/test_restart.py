"""Pages whose daemon is gone for a while: all of them come back by themselves, and tell what is missing."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.browser.screen import EVENT_SOURCE, open_blank

pytestmark = pytest.mark.system

CHANNELS = ("restart/events", "restart/document", "demo/chat", "demo/websocket", "demo/longpoll")
BACK_MS = 30_000


def test_all_come_back(page: Page, other_daemon: Daemon, complaints: list[str]):
    events, document, chat, websocket, longpoll = page, *(page.context.new_page() for _ in range(4))
    open_blank(events, other_daemon)
    events.evaluate(EVENT_SOURCE, "/sse/restart/events")
    document.goto(f"{other_daemon.url}/multipart/restart/document")
    chat.goto(f"{other_daemon.url}/demo/chat")
    websocket.goto(f"{other_daemon.url}/demo/websocket")
    longpoll.goto(f"{other_daemon.url}/demo/longpoll")
    for channel in CHANNELS:
        other_daemon.wait_for_subscribers(channel)
    last, *_ = [other_daemon.publish(channel, "before") for channel in CHANNELS]
    expect(document.locator("pre")).to_have_text("before")
    for demo in (chat, websocket, longpoll):
        expect(demo.locator("#log")).to_contain_text("before")

    other_daemon.stop()
    other_daemon.start()
    first, *_ = [other_daemon.publish(channel, "after") for channel in CHANNELS]

    events.wait_for_function("heard.length === 3", timeout=BACK_MS)
    before, gap, after = events.evaluate("heard")
    assert before == ["message", "before", last]
    told = {"type": "gap", "topic": "restart/events", "from": last, "reason": "epoch"}
    assert (gap[0], gap[2]) == ("gap", last)
    assert json.loads(gap[1]).items() >= told.items()
    assert after == ["message", "after", first]
    expect(document.locator("pre")).to_have_text("after", timeout=BACK_MS)
    lost = "missing here: pushd has lost its memory"
    expect(chat.locator("#log li")).to_contain_text(["before", lost, "after"], timeout=BACK_MS)
    texts = ["before", "messages of demo/websocket are missing here: epoch", "after"]
    expect(websocket.locator("#log li:not(.note)")).to_contain_text(texts, timeout=BACK_MS)
    texts = ["before", "missing here: epoch", "after"]
    expect(longpoll.locator("#log li")).to_contain_text(texts, timeout=BACK_MS)
    complaints.clear()  # while the daemon was away, the browser said that it could not connect
