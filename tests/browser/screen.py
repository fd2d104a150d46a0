"""What is on the screen, and how soon."""

import time
from collections.abc import Callable, Iterable

from playwright.sync_api import Page

from tests.browser.daemon import Daemon, wait
from tests.browser.pictures import SIDE, Colour, colour_of, is_like, picture

ON_SCREEN_SECONDS = 0.3
EVENT_SOURCE = """address => {
  window.heard = [];
  window.events = new EventSource(address);
  for (const type of ["message", "greeting", "gap", "end"]) {
    events.addEventListener(type, event => heard.push([type, event.data, event.lastEventId]));
  }
}"""
"""Listens to an address, and remembers what it hears."""
_LOOKS = 10
_ROUNDS = 3
"""A machine that is busy with other things may be late with a frame, but not in each of some rounds."""


def open_blank(page: Page, daemon: Daemon) -> None:
    """Open an empty page of the daemon in Chromium."""
    page.goto(f"{daemon.url}/health/live")
    page.evaluate("document.body.replaceChildren(), document.body.style.margin = 0")


def shown(page: Page) -> Colour:
    """Give the colour that is in the upper left corner of Chromium."""
    return colour_of(page.screenshot(clip={"x": 0, "y": 0, "width": SIDE, "height": SIDE}))


def wait_for_colour(shown: Callable[[], Colour], colour: Colour, seconds: float = 15.0) -> None:
    """Wait until a colour is on the screen."""
    wait(lambda: is_like(shown(), colour), f"{colour} on the screen", seconds)


def assert_stays(condition: Callable[[], bool]) -> None:
    """Check that what is on the screen stays: a browser that is about to replace it does so between two looks."""
    for _ in range(_LOOKS):
        assert condition()


def assert_prompt(
    shown: Callable[[], Colour], daemon: Daemon, channel: str, frames: Iterable[tuple[Colour, str]]
) -> None:
    """Each frame is on the screen in time; it is the last one of the stream until it is seen."""
    frames = list(frames)
    rounds: list[list[int]] = []
    for _ in range(_ROUNDS):
        took = [_seconds(shown, daemon, channel, *frame) for frame in frames]
        rounds.append([round(1000 * seconds) for seconds in took])
        if max(took) < ON_SCREEN_SECONDS:
            break
    print(f"{channel}: ms until on screen: {rounds}")
    assert max(rounds[-1]) < 1000 * ON_SCREEN_SECONDS, rounds


def _seconds(shown: Callable[[], Colour], daemon: Daemon, channel: str, colour: Colour, kind: str) -> float:
    published = time.monotonic()
    daemon.publish(channel, picture(colour, kind), f"image/{kind}")
    wait_for_colour(shown, colour)
    return time.monotonic() - published
