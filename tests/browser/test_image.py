"""A live image in Chromium: ``<img src="/multipart/CH">``."""

from functools import partial

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon
from tests.browser.pictures import BLUE, COLOURS, GREEN, RED, is_like, picture
from tests.browser.screen import assert_prompt, open_blank, shown, wait_for_colour

pytestmark = pytest.mark.system


def show(page: Page, daemon: Daemon, channel: str) -> None:
    """Open a page with a live image in its upper left corner."""
    open_blank(page, daemon)
    # By a script: a page with this as its own HTML is loaded only when the first frame is there.
    page.evaluate(
        """channel => {
          document.body.innerHTML = `<img alt="" style="display:block" src="/multipart/${channel}">`;
        }""",
        channel,
    )
    daemon.wait_for_subscribers(channel)


def test_each_frame_is_on_screen_at_once(page: Page, daemon: Daemon):
    show(page, daemon, "image/png")
    assert_prompt(partial(shown, page), daemon, "image/png", [(colour, "png") for colour in COLOURS])


@pytest.mark.parametrize("kind", ["jpeg", "svg+xml"])
def test_other_types_too(page: Page, daemon: Daemon, kind: str):
    show(page, daemon, f"image/{kind}")
    assert_prompt(partial(shown, page), daemon, f"image/{kind}", [(colour, kind) for colour in COLOURS[:4]])


def test_a_stream_may_change_its_type(page: Page, daemon: Daemon):
    kinds = ("png", "jpeg", "png", "svg+xml", "jpeg", "svg+xml")
    show(page, daemon, "image/mixed")
    assert_prompt(partial(shown, page), daemon, "image/mixed", zip(COLOURS, kinds, strict=False))


def test_the_last_frame_stays_while_nothing_comes(page: Page, other_daemon: Daemon):
    """Nothing but signs of life: two at least."""
    show(page, other_daemon, "image/idle")
    for colour in (RED, GREEN, BLUE):
        other_daemon.publish("image/idle", picture(colour), "image/png")
    wait_for_colour(partial(shown, page), BLUE)
    page.wait_for_timeout(2500)
    assert is_like(shown(page), BLUE)
    other_daemon.publish("image/idle", picture(RED), "image/png")
    wait_for_colour(partial(shown, page), RED)


def test_who_comes_later_sees_the_newest(page: Page, daemon: Daemon):
    for colour in (RED, GREEN):
        daemon.publish("image/late", picture(colour), "image/png")
    show(page, daemon, "image/late")
    wait_for_colour(partial(shown, page), GREEN)


def test_a_finite_stream_keeps_its_last_picture(page: Page, daemon: Daemon):
    show(page, daemon, "image/finite")
    daemon.publish("image/finite", picture(RED), "image/png")
    wait_for_colour(partial(shown, page), RED)
    daemon.publish("image/finite", picture(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("image/finite", 0)
    wait_for_colour(partial(shown, page), GREEN)
    page.wait_for_timeout(500)
    assert is_like(shown(page), GREEN)


def test_an_end_without_a_picture_keeps_the_last(page: Page, daemon: Daemon):
    show(page, daemon, "image/closed")
    daemon.publish("image/closed", picture(RED), "image/png")
    wait_for_colour(partial(shown, page), RED)
    daemon.publish("image/closed", b"", end=1)
    daemon.wait_for_subscribers("image/closed", 0)
    page.wait_for_timeout(500)
    assert is_like(shown(page), RED)


def test_a_slow_viewer_skips_frames(page: Page, daemon: Daemon):
    """All of the frames would take a minute over this line."""
    line = page.context.new_cdp_session(page)
    speed = {"offline": False, "latency": 0, "downloadThroughput": 200_000, "uploadThroughput": 200_000}
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", speed)
    show(page, daemon, "image/slow")
    before = daemon.metric('pushd_dropped_total{policy="latest"}')
    for number in range(60):
        daemon.publish("image/slow", picture(COLOURS[number % 4], "bmp", 256), "image/bmp")
    daemon.publish("image/slow", picture((200, 160, 255), "bmp", 256), "image/bmp")
    wait_for_colour(partial(shown, page), (200, 160, 255), 10)
    assert daemon.metric('pushd_dropped_total{policy="latest"}') >= before + 30


def test_a_page_that_is_closed_is_a_subscriber_no_more(page: Page, daemon: Daemon):
    show(page, daemon, "image/left")
    daemon.publish("image/left", picture(RED), "image/png")
    wait_for_colour(partial(shown, page), RED)
    assert daemon.subscribers("image/left") == 1
    page.close()
    daemon.wait_for_subscribers("image/left", 0, 1.0)
