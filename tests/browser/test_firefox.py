"""What Firefox shows of ``/multipart/CH``: live images, and documents, which it replaces by itself."""

from functools import partial
from typing import Any

import pytest

from tests.browser.daemon import Daemon, wait
from tests.browser.firefox import Firefox
from tests.browser.pictures import BLUE, COLOURS, GREEN, RED, SIDE, Colour, colour_of, is_like, picture
from tests.browser.screen import assert_prompt, assert_stays, wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"


def show(firefox: Firefox, daemon: Daemon, channel: str) -> None:
    """Open a page with a live image in its upper left corner."""
    firefox.navigate(f"{daemon.url}/demo/")
    firefox.evaluate("document.body.style = 'margin: 0; padding: 0; max-width: none', 0")
    image = f'<img alt="" style="display: block" src="/multipart/{channel}">'
    firefox.evaluate(f"document.body.innerHTML = '{image}', 0")
    daemon.wait_for_subscribers(channel)


def navigate(firefox: Firefox, daemon: Daemon, channel: str) -> None:
    """Go to the stream itself."""
    firefox.navigate(f"{daemon.url}/multipart/{channel}", endless=True)
    daemon.wait_for_subscribers(channel)


def shown(firefox: Firefox) -> Colour:
    """Give the colour that is in the upper left corner."""
    return colour_of(firefox.screenshot(SIDE))


def shown_as_page(firefox: Firefox) -> Colour:
    """Give the colour in the middle, where Firefox shows a picture that is a page."""
    left, top = (firefox.evaluate(f"({side} - {SIDE}) / 2") for side in ("innerWidth", "innerHeight"))
    return colour_of(firefox.screenshot(SIDE, left, top))


def wait_for(firefox: Firefox, script: str, value: Any) -> None:
    def is_there() -> bool:
        try:
            return bool(firefox.evaluate(script) == value)
        except AssertionError:  # between two documents there is none
            return False

    wait(is_there, f"{script} is {value!r}", 5)


@pytest.mark.parametrize("kind", ["png", "jpeg", "svg+xml"])
def test_each_frame_is_on_screen_at_once(firefox: Firefox, daemon: Daemon, kind: str):
    channel, colours = f"firefox/{kind}", COLOURS if kind == "png" else COLOURS[:4]
    show(firefox, daemon, channel)
    assert_prompt(partial(shown, firefox), daemon, channel, [(colour, kind) for colour in colours])


def test_a_finite_stream_keeps_its_last_picture(firefox: Firefox, daemon: Daemon):
    show(firefox, daemon, "firefox/finite")
    daemon.publish("firefox/finite", picture(RED), "image/png")
    wait_for_colour(partial(shown, firefox), RED)
    daemon.publish("firefox/finite", picture(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("firefox/finite", 0)
    wait_for_colour(partial(shown, firefox), GREEN)
    assert_stays(lambda: is_like(shown(firefox), GREEN))


def test_a_stream_may_change_its_type(firefox: Firefox, daemon: Daemon):
    show(firefox, daemon, "firefox/types")
    for colour, kind in ((RED, "png"), (GREEN, "jpeg"), (BLUE, "svg+xml"), (RED, "jpeg")):
        daemon.publish("firefox/types", picture(colour, kind), f"image/{kind}")
        wait_for_colour(partial(shown, firefox), colour)


def test_documents_replace_each_other(firefox: Firefox, daemon: Daemon):
    daemon.publish("firefox/document", "before anybody came")
    navigate(firefox, daemon, "firefox/document")
    wait_for(firefox, "document.body.textContent", "before anybody came")
    for number in (1, 2):
        script = f"const n = {number}; document.body.append(`script ${{n}}`)"
        daemon.publish("firefox/document", f"<title>page {number}</title><body><script>{script}</script>", HTML)
        wait_for(firefox, "document.body.lastChild.data", f"script {number}")
        wait_for(firefox, "document.title", f"page {number}")
    daemon.publish("firefox/document", "<b>text</b>")
    wait_for(firefox, "document.querySelector('pre')?.textContent", "<b>text</b>")


def test_a_document_may_not_act_as_a_page_of_the_daemon(firefox: Firefox, daemon: Daemon):
    daemon.publish("firefox/stranger", "<body><script>document.body.textContent = origin</script>", HTML)
    navigate(firefox, daemon, "firefox/stranger")
    wait_for(firefox, "document.body.textContent", "null")


def test_a_document_may_be_a_picture(firefox: Firefox, other_daemon: Daemon):
    """And stays one while nothing but signs of life comes."""
    navigate(firefox, other_daemon, "firefox/picture")
    for colour in (RED, GREEN):
        other_daemon.publish("firefox/picture", picture(colour), "image/png")
        wait_for_colour(partial(shown_as_page, firefox), colour)
    other_daemon.wait_for_pings(2)
    assert_stays(lambda: is_like(shown_as_page(firefox), GREEN))
    other_daemon.publish("firefox/picture", "text")
    wait_for(firefox, "document.body.textContent", "text")


def test_a_finite_stream_keeps_its_last_document(firefox: Firefox, daemon: Daemon):
    navigate(firefox, daemon, "firefox/ends")
    daemon.publish("firefox/ends", "one")
    wait_for(firefox, "document.body.textContent", "one")
    daemon.publish("firefox/ends", "<p>two", HTML, end=1)
    daemon.wait_for_subscribers("firefox/ends", 0)
    wait_for(firefox, "document.body.textContent", "two")
    assert_stays(lambda: firefox.evaluate("document.body.textContent") == "two")


@pytest.mark.parametrize(
    ("name", "place"), [("chat", "log"), ("websocket", "log"), ("longpoll", "log"), ("words", "words")]
)
def test_demonstrations(firefox: Firefox, daemon: Daemon, name: str, place: str):
    channel = f"demo/{name}"
    daemon.forget(channel)
    firefox.navigate(f"{daemon.url}/{channel}")
    daemon.wait_for_subscribers(channel)
    daemon.publish(channel, "something")
    daemon.publish(channel, "new")
    wait_for(firefox, f"/something[^]*new/.test(document.getElementById('{place}').textContent)", True)
    assert firefox.complaints == []
