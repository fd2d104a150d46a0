"""A live image in Chromium: ``<img src="/multipart/CH">``."""

from functools import partial

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon
from tests.browser.images import BLUE, COLOURS, GREEN, RED, is_similar, make_image
from tests.browser.screen import assert_displayed_at_once, displayed, open_blank, wait_for_colour

pytestmark = pytest.mark.system


def open_image_page(page: Page, daemon: Daemon, channel: str) -> None:
    """Open a page with a live image in its upper left corner."""
    open_blank(page, daemon)
    # Inserted by a script: the load event of a page waits for the first frame of its images.
    page.evaluate(
        """channel => {
          document.body.innerHTML = `<img alt="" style="display:block" src="/multipart/${channel}">`;
        }""",
        channel,
    )
    daemon.wait_for_subscribers(channel)


def test_each_frame_is_displayed_at_once(page: Page, daemon: Daemon):
    open_image_page(page, daemon, "image/png")
    assert_displayed_at_once(partial(displayed, page), daemon, "image/png", [(colour, "png") for colour in COLOURS])


@pytest.mark.parametrize("kind", ["jpeg", "svg+xml"])
def test_other_image_types(page: Page, daemon: Daemon, kind: str):
    open_image_page(page, daemon, f"image/{kind}")
    assert_displayed_at_once(
        partial(displayed, page), daemon, f"image/{kind}", [(colour, kind) for colour in COLOURS[:4]]
    )


def test_stream_can_change_its_type(page: Page, daemon: Daemon):
    kinds = ("png", "jpeg", "png", "svg+xml", "jpeg", "svg+xml")
    open_image_page(page, daemon, "image/mixed")
    assert_displayed_at_once(partial(displayed, page), daemon, "image/mixed", zip(COLOURS, kinds, strict=False))


def test_keepalives_do_not_change_the_image(page: Page, keepalive_daemon: Daemon):
    """Only keepalives arrive: at least two."""
    open_image_page(page, keepalive_daemon, "image/idle")
    for colour in (RED, GREEN, BLUE):
        keepalive_daemon.publish("image/idle", make_image(colour), "image/png")
    wait_for_colour(partial(displayed, page), BLUE)
    keepalive_daemon.wait_for_pings(2)
    assert is_similar(displayed(page), BLUE)
    keepalive_daemon.publish("image/idle", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, page), RED)


def test_new_viewer_sees_the_newest_frame(page: Page, daemon: Daemon):
    for colour in (RED, GREEN):
        daemon.publish("image/late", make_image(colour), "image/png")
    open_image_page(page, daemon, "image/late")
    wait_for_colour(partial(displayed, page), GREEN)


def test_end_of_stream_keeps_the_last_image(page: Page, daemon: Daemon):
    open_image_page(page, daemon, "image/finite")
    daemon.publish("image/finite", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, page), RED)
    daemon.publish("image/finite", make_image(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("image/finite", 0)
    wait_for_colour(partial(displayed, page), GREEN)
    page.wait_for_timeout(500)
    assert is_similar(displayed(page), GREEN)


def test_end_mark_keeps_the_last_image(page: Page, daemon: Daemon):
    open_image_page(page, daemon, "image/closed")
    daemon.publish("image/closed", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, page), RED)
    daemon.publish("image/closed", b"", end=1)
    daemon.wait_for_subscribers("image/closed", 0)
    page.wait_for_timeout(500)
    assert is_similar(displayed(page), RED)


def test_slow_viewer_skips_frames(page: Page, daemon: Daemon):
    """Sending all frames over this connection would take a minute."""
    devtools = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": 200_000, "uploadThroughput": 200_000}
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", conditions)
    open_image_page(page, daemon, "image/slow")
    before = daemon.metric('pushd_dropped_total{policy="latest"}')
    for number in range(60):
        daemon.publish("image/slow", make_image(COLOURS[number % 4], "bmp", 256), "image/bmp")
    daemon.publish("image/slow", make_image((200, 160, 255), "bmp", 256), "image/bmp")
    wait_for_colour(partial(displayed, page), (200, 160, 255))
    assert daemon.metric('pushd_dropped_total{policy="latest"}') >= before + 30


def test_closed_page_is_unsubscribed(page: Page, daemon: Daemon):
    open_image_page(page, daemon, "image/left")
    daemon.publish("image/left", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, page), RED)
    assert daemon.subscribers("image/left") == 1
    page.close()
    daemon.wait_for_subscribers("image/left", 0, 10.0)  # before any keepalive
