"""An EventSource in Chromium: ``/sse/TOPICS``."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon, wait
from tests.browser.screen import EVENT_SOURCE, open_blank

pytestmark = pytest.mark.system


def subscribe(page: Page, daemon: Daemon, channel: str) -> None:
    """Open an EventSource that records its events."""
    open_blank(page, daemon)
    page.evaluate(EVENT_SOURCE, f"/sse/{channel}")
    daemon.wait_for_subscribers(channel)


def wait_for_events(page: Page, count: int) -> list[Any]:
    """Wait for this many events; return them."""
    wait(lambda: len(page.evaluate("received")) >= count, f"{count} events")
    found: list[Any] = page.evaluate("received")
    assert len(found) == count
    return found


def test_messages_and_named_events(page: Page, daemon: Daemon):
    subscribe(page, daemon, "events/kinds")
    ids = [
        daemon.publish("events/kinds", "one"),
        daemon.publish("events/kinds", "two\nlines"),
        daemon.publish("events/kinds", "hello", event="greeting"),
        daemon.publish("events/kinds", "na\u00efve \u20ac"),
    ]
    assert wait_for_events(page, 4) == [
        ["message", "one", ids[0]],
        ["message", "two\nlines", ids[1]],
        ["greeting", "hello", ids[2]],
        ["message", "na\u00efve \u20ac", ids[3]],
    ]


def test_end_stops_an_event_source(page: Page, daemon: Daemon):
    """It reconnects once, receives 204, and stops."""
    subscribe(page, daemon, "events/finite")
    daemon.publish("events/finite", "one")
    last = daemon.publish("events/finite", "two", end=1)
    kinds = [event[:2] for event in wait_for_events(page, 3)]
    assert kinds == [["message", "one"], ["message", "two"], ["end", '{"type":"end","channel":"events/finite"}']]
    wait(lambda: page.evaluate("events.readyState") == 2, "the EventSource stops")
    assert page.evaluate("received.at(-1)[2]") == last


def test_an_event_source_that_is_cut_before_its_first_message_misses_nothing(page: Page, daemon: Daemon):
    """It reconnects with the id of the begin event."""
    daemon.publish("events/other", "x")
    subscribe(page, daemon, "events/quiet")
    daemon.cut("events/quiet")
    missed = daemon.publish("events/quiet", "missed")
    assert wait_for_events(page, 1) == [["message", "missed", missed]]
