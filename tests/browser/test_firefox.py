"""Firefox displays ``/multipart/CH``: live images, and documents, which it replaces by itself."""

from functools import partial
from typing import Any

import pytest

from tests.browser.daemon import Daemon, wait
from tests.browser.firefox import Firefox
from tests.browser.images import BLUE, COLOURS, GREEN, RED, SIDE, Colour, colour_of, is_similar, make_image
from tests.browser.screen import assert_displayed_at_once, assert_unchanged, wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"


def open_image_page(firefox: Firefox, daemon: Daemon, channel: str) -> None:
    """Open a page with a live image in its upper left corner."""
    firefox.navigate(f"{daemon.url}/demo/")
    firefox.evaluate("document.body.style = 'margin: 0; padding: 0; max-width: none', 0")
    image = f'<img alt="" style="display: block" src="/multipart/{channel}">'
    firefox.evaluate(f"document.body.innerHTML = '{image}', 0")
    daemon.wait_for_subscribers(channel)


def navigate(firefox: Firefox, daemon: Daemon, channel: str) -> None:
    """Navigate to the stream itself."""
    firefox.navigate(f"{daemon.url}/multipart/{channel}", endless=True)
    daemon.wait_for_subscribers(channel)


def displayed(firefox: Firefox) -> Colour:
    """Return the colour in the upper left corner."""
    return colour_of(firefox.screenshot(SIDE))


def displayed_in_middle(firefox: Firefox) -> Colour:
    """Return the colour in the middle, where Firefox displays an image that is the document."""
    left, top = (firefox.evaluate(f"({side} - {SIDE}) / 2") for side in ("innerWidth", "innerHeight"))
    return colour_of(firefox.screenshot(SIDE, left, top))


def wait_for(firefox: Firefox, script: str, value: Any) -> None:
    def has_value() -> bool:
        try:
            return bool(firefox.evaluate(script) == value)
        except AssertionError:  # there is none between two documents
            return False

    wait(has_value, f"{script} is {value!r}")


@pytest.mark.parametrize("kind", ["png", "jpeg", "svg+xml"])
def test_each_frame_is_displayed_at_once(firefox: Firefox, daemon: Daemon, kind: str):
    channel, colours = f"firefox/{kind}", COLOURS if kind == "png" else COLOURS[:4]
    open_image_page(firefox, daemon, channel)
    assert_displayed_at_once(partial(displayed, firefox), daemon, channel, [(colour, kind) for colour in colours])


def test_end_of_stream_keeps_the_last_image(firefox: Firefox, daemon: Daemon):
    open_image_page(firefox, daemon, "firefox/finite")
    daemon.publish("firefox/finite", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, firefox), RED)
    daemon.publish("firefox/finite", make_image(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("firefox/finite", 0)
    wait_for_colour(partial(displayed, firefox), GREEN)
    assert_unchanged(lambda: is_similar(displayed(firefox), GREEN))


def test_stream_can_change_its_type(firefox: Firefox, daemon: Daemon):
    open_image_page(firefox, daemon, "firefox/types")
    for colour, kind in ((RED, "png"), (GREEN, "jpeg"), (BLUE, "svg+xml"), (RED, "jpeg")):
        daemon.publish("firefox/types", make_image(colour, kind), f"image/{kind}")
        wait_for_colour(partial(displayed, firefox), colour)


def test_document_replaces_the_previous_one(firefox: Firefox, daemon: Daemon):
    daemon.publish("firefox/document", "published before")
    navigate(firefox, daemon, "firefox/document")
    wait_for(firefox, "document.body.textContent", "published before")
    for number in (1, 2):
        script = f"const n = {number}; document.body.append(`script ${{n}}`)"
        daemon.publish("firefox/document", f"<title>page {number}</title><body><script>{script}</script>", HTML)
        wait_for(firefox, "document.body.lastChild.data", f"script {number}")
        wait_for(firefox, "document.title", f"page {number}")
    daemon.publish("firefox/document", "<b>text</b>")
    wait_for(firefox, "document.querySelector('pre')?.textContent", "<b>text</b>")


def test_published_document_is_sandboxed(firefox: Firefox, daemon: Daemon):
    daemon.publish("firefox/stranger", "<body><script>document.body.textContent = origin</script>", HTML)
    navigate(firefox, daemon, "firefox/stranger")
    wait_for(firefox, "document.body.textContent", "null")


def test_image_can_be_a_document(firefox: Firefox, keepalive_daemon: Daemon):
    """An image stays displayed while only keepalives arrive."""
    navigate(firefox, keepalive_daemon, "firefox/image")
    for colour in (RED, GREEN):
        keepalive_daemon.publish("firefox/image", make_image(colour), "image/png")
        wait_for_colour(partial(displayed_in_middle, firefox), colour)
    keepalive_daemon.wait_for_pings(2)
    assert_unchanged(lambda: is_similar(displayed_in_middle(firefox), GREEN))
    keepalive_daemon.publish("firefox/image", "text")
    wait_for(firefox, "document.body.textContent", "text")


def test_end_of_stream_keeps_the_last_document(firefox: Firefox, daemon: Daemon):
    navigate(firefox, daemon, "firefox/ends")
    daemon.publish("firefox/ends", "one")
    wait_for(firefox, "document.body.textContent", "one")
    daemon.publish("firefox/ends", "<p>two", HTML, end=1)
    daemon.wait_for_subscribers("firefox/ends", 0)
    wait_for(firefox, "document.body.textContent", "two")
    assert_unchanged(lambda: firefox.evaluate("document.body.textContent") == "two")


@pytest.mark.parametrize(
    ("name", "element"), [("chat", "log"), ("websocket", "log"), ("longpoll", "log"), ("words", "words")]
)
def test_demonstration_shows_messages_in_order(firefox: Firefox, daemon: Daemon, name: str, element: str):
    channel = f"demo/{name}"
    daemon.delete_channel(channel)
    firefox.navigate(f"{daemon.url}/{channel}")
    daemon.wait_for_subscribers(channel)
    daemon.publish(channel, "something")
    daemon.publish(channel, "new")
    wait_for(firefox, f"/something[^]*new/.test(document.getElementById('{element}').textContent)", True)
    assert firefox.page_errors == []


def test_an_event_source_that_is_cut_before_its_first_message_misses_nothing(firefox: Firefox, daemon: Daemon):
    firefox.navigate(f"{daemon.url}/demo/")
    firefox.evaluate(
        "received = [], events = new EventSource('/sse/firefox/quiet'),"
        " events.onmessage = event => received.push(event.data), 0"
    )
    daemon.wait_for_subscribers("firefox/quiet")
    daemon.cut("firefox/quiet")
    daemon.publish("firefox/quiet", "missed")
    wait(lambda: firefox.evaluate("received.join()") == "missed", "the missed message")
