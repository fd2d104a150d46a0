"""What a browser displays, and how soon."""

import time
from collections.abc import Callable, Iterable

from playwright.sync_api import Page

from tests.browser.daemon import Daemon, wait
from tests.browser.images import SIDE, Colour, colour_of, is_similar, make_image

ON_SCREEN_SECONDS = 0.3
EVENT_SOURCE = """address => {
  window.received = [];
  window.events = new EventSource(address);
  for (const type of ["message", "greeting", "gap", "end"]) {
    events.addEventListener(type, event => received.push([type, event.data, event.lastEventId]));
  }
}"""
"""Opens an EventSource, and records its events."""
_CHECKS = 10
_ROUNDS = 6
"""On a busy machine any frame may be late, but not the same one in every round."""


def open_blank(page: Page, daemon: Daemon) -> None:
    """Open an empty page of the daemon in Chromium."""
    page.goto(f"{daemon.url}/health/live")
    page.evaluate("document.body.replaceChildren(), document.body.style.margin = 0")


def displayed(page: Page) -> Colour:
    """Return the colour in the upper left corner of Chromium."""
    return colour_of(page.screenshot(clip={"x": 0, "y": 0, "width": SIDE, "height": SIDE}))


def wait_for_colour(displayed: Callable[[], Colour], colour: Colour, seconds: float = 30.0) -> None:
    """Wait until a colour is displayed."""
    wait(lambda: is_similar(displayed(), colour), f"{colour} displayed", seconds)


def assert_unchanged(condition: Callable[[], bool]) -> None:
    """Check repeatedly that the display does not change."""
    for _ in range(_CHECKS):
        assert condition()


def assert_displayed_at_once(
    displayed: Callable[[], Colour], daemon: Daemon, channel: str, frames: Iterable[tuple[Colour, str]]
) -> None:
    """Check that each frame is displayed in time, although no other frame follows it."""
    frames = list(frames)
    rounds: list[list[int]] = []
    for _ in range(_ROUNDS):
        delays = [_seconds(displayed, daemon, channel, *frame) for frame in frames]
        rounds.append([round(1000 * seconds) for seconds in delays])
        if max(map(min, zip(*rounds, strict=True))) < 1000 * ON_SCREEN_SECONDS:
            break
    print(f"{channel}: ms until displayed: {rounds}")
    assert max(map(min, zip(*rounds, strict=True))) < 1000 * ON_SCREEN_SECONDS, rounds


def _seconds(displayed: Callable[[], Colour], daemon: Daemon, channel: str, colour: Colour, kind: str) -> float:
    published = time.monotonic()
    daemon.publish(channel, make_image(colour, kind), f"image/{kind}")
    wait_for_colour(displayed, colour)
    return time.monotonic() - published
