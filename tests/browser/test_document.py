"""A page that replaces itself: Chromium navigates to ``/multipart/CH``."""

import json
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.browser.images import BLUE, GREEN, RED, is_similar, make_image
from tests.browser.screen import displayed, open_blank, wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"


def navigate(page: Page, daemon: Daemon, channel: str) -> None:
    page.goto(f"{daemon.url}/multipart/{channel}")
    daemon.wait_for_subscribers(channel)


def test_text_is_displayed_literally(page: Page, daemon: Daemon):
    daemon.publish("document/text", "published <b>before</b>")
    navigate(page, daemon, "document/text")
    expect(page.locator("body")).to_have_text("published <b>before</b>")
    for text in ("one\r\n\r\ntwo", "--pushd", "\r\r\n\r", "na\u00efve \u20ac"):
        daemon.publish("document/text", text)
        expect(page.locator("body")).to_have_text(text, use_inner_text=True)
    expect(page).to_have_title("document/text")


def test_other_charsets_json_and_binary_data(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/charset")
    daemon.publish("document/charset", "caf\u00e9".encode("latin-1"), "text/plain; charset=iso-8859-1")
    expect(page.locator("pre")).to_have_text("caf\u00e9")
    daemon.publish("document/charset", '{"a": 1}', "application/json")
    expect(page.locator("pre")).to_have_text('{"a": 1}')
    daemon.publish("document/charset", b"\0\1\2", "application/octet-stream")
    expect(page.locator("body")).to_have_text("3 bytes of application/octet-stream")


def test_scripts_of_parts_are_isolated(page: Page, daemon: Daemon):
    """Declarations of one part do not affect the next, and its timers stop."""
    navigate(page, daemon, "document/scripts")
    for count in range(1, 4):
        script = f"const n = {count}; let ticks = 0; setInterval(() => out.textContent = `${{n}} ${{++ticks > 2}}`, 20)"
        daemon.publish("document/scripts", f"<title>part {count}</title><p id=out></p><script>{script}</script>", HTML)
        out = page.frame_locator("iframe").locator("#out")
        expect(out).to_have_text(f"{count} true")
        expect(page).to_have_title(f"part {count}")
    assert page.locator("iframe").count() == 1


def test_published_part_is_sandboxed(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/stranger")
    script = "try { parent.document.title = 'mine' } catch (error) { document.body.textContent = error.name }"
    daemon.publish("document/stranger", f"<body><script>{script}</script>", HTML)
    expect(page.frame_locator("iframe").locator("body")).to_have_text("SecurityError")


def test_parts_of_different_types(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/types")
    daemon.publish("document/types", "text")
    expect(page.locator("pre")).to_have_text("text")
    for kind, colour in (("png", RED), ("png", GREEN), ("jpeg", BLUE), ("svg+xml", RED), ("png", BLUE)):
        daemon.publish("document/types", make_image(colour, kind), f"image/{kind}")
        wait_for_colour(partial(displayed, page), colour)
    daemon.publish("document/types", "<h1>page</h1>", HTML)
    expect(page.frame_locator("iframe").locator("h1")).to_have_text("page")
    daemon.publish("document/types", make_image(GREEN), "image/png")
    wait_for_colour(partial(displayed, page), GREEN)
    daemon.publish("document/types", "text")
    expect(page.locator("body")).to_have_text("text")


def test_invalid_image_keeps_the_previous_one(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/broken")
    daemon.publish("document/broken", make_image(RED), "image/png")
    wait_for_colour(partial(displayed, page), RED)
    daemon.publish("document/broken", b"no make_image", "image/png")
    page.wait_for_timeout(200)
    assert is_similar(displayed(page), RED)
    daemon.publish("document/broken", make_image(BLUE), "image/png")
    wait_for_colour(partial(displayed, page), BLUE)


def test_newest_part_of_a_burst_is_displayed(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/burst")
    lines = [json.dumps({"channel": "document/burst", "data": f"message {n}"}) for n in range(500)]
    daemon.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    expect(page.locator("pre")).to_have_text("message 499")


def test_end_of_stream_keeps_the_last_part_and_does_not_reconnect(page: Page, daemon: Daemon):
    page.clock.install()
    navigate(page, daemon, "document/finite")
    daemon.publish("document/finite", make_image(RED), "image/png")
    daemon.publish("document/finite", make_image(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("document/finite", 0)
    wait_for_colour(partial(displayed, page), GREEN)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.fast_forward(10_000)
    page.wait_for_timeout(200)
    assert requests == []
    wait_for_colour(partial(displayed, page), GREEN)


def test_large_parts(page: Page, daemon: Daemon):
    """Parts of nearly 1 MiB, full of text that looks like the beginning of a boundary."""
    navigate(page, daemon, "document/large")
    for word in ("first", "second", "third"):
        filling = "\r\n--pushd" * 115_000
        daemon.publish("document/large", f"<h1>{word}</h1><script>/*{filling}*/</script>", HTML)
        expect(page.frame_locator("iframe").locator("h1")).to_have_text(word)
    daemon.publish("document/large", make_image(RED, "bmp", 590), "image/bmp")
    page.wait_for_function("document.querySelector('img')?.naturalWidth === 590")
    wait_for_colour(partial(displayed, page), RED)


def test_refusal_is_displayed(page: Page, daemon: Daemon, page_errors: list[str]):
    page.goto(f"{daemon.url}/multipart/no*name")
    expect(page.locator("body")).to_contain_text("bad-topic")
    page_errors.clear()  # the browser reports the status


def test_untrusted_origin(page: Page, daemon: Daemon):
    """Chromium sends no ``Sec-Fetch-Mode`` to a plain-HTTP origin on another machine."""
    daemon.publish("document/far", "text")
    page.goto(f"http://pushd.test:{daemon.port}/multipart/document/far")
    expect(page.locator("pre")).to_have_text("text")


def test_dns_rebinding_is_refused(page: Page, daemon: Daemon, page_errors: list[str]):
    """The browser takes page and daemon for one origin, so that only the ``Host`` differs."""
    daemon.publish("document/secret", "secret")
    page.goto(f"http://evil.test:{daemon.port}/multipart/document/secret")
    expect(page.locator("body")).to_contain_text("unknown-host")
    fetched = page.evaluate("""async () => {
        const read = await fetch("/history/document/secret?since=all");
        const write = await fetch("/pub/document/secret", {method: "POST", body: "forged"});
        const opened = await new Promise(done => {
            const socket = new WebSocket(`ws://${location.host}/ws/document/secret`);
            socket.onopen = () => done(true);
            socket.onerror = () => done(false);
        });
        return [read.status, write.status, opened];
    }""")
    assert fetched == [421, 421, False]
    page_errors.clear()  # the browser reports the status


def test_inside_a_frame(page: Page, daemon: Daemon):
    daemon.publish("document/framed", "text")
    open_blank(page, daemon)
    page.evaluate("document.body.innerHTML = '<iframe src=/multipart/document/framed></iframe>'")
    expect(page.frame_locator("iframe").locator("pre")).to_have_text("text")
