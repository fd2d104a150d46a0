"""A page that replaces itself in Chromium, which navigates to ``/multipart/CH``."""

import json
from functools import partial

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.browser.pictures import BLUE, GREEN, RED, is_like, picture
from tests.browser.screen import open_blank, shown, wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"


def navigate(page: Page, daemon: Daemon, channel: str) -> None:
    page.goto(f"{daemon.url}/multipart/{channel}")
    daemon.wait_for_subscribers(channel)


def test_text(page: Page, daemon: Daemon):
    daemon.publish("document/text", "before <b>anybody</b> came")
    navigate(page, daemon, "document/text")
    expect(page.locator("body")).to_have_text("before <b>anybody</b> came")
    for text in ("one\r\n\r\ntwo", "--pushd", "\r\r\n\r", "na\u00efve \u20ac"):
        daemon.publish("document/text", text)
        expect(page.locator("body")).to_have_text(text, use_inner_text=True)
    expect(page).to_have_title("document/text")


def test_text_of_another_charset_and_bytes(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/charset")
    daemon.publish("document/charset", "caf\u00e9".encode("latin-1"), "text/plain; charset=iso-8859-1")
    expect(page.locator("pre")).to_have_text("caf\u00e9")
    daemon.publish("document/charset", '{"a": 1}', "application/json")
    expect(page.locator("pre")).to_have_text('{"a": 1}')
    daemon.publish("document/charset", b"\0\1\2", "application/octet-stream")
    expect(page.locator("body")).to_have_text("3 bytes of application/octet-stream")


def test_scripts_begin_anew_with_each_part(page: Page, daemon: Daemon):
    """What a part declares is no hindrance to the next, and what it began ends with it."""
    navigate(page, daemon, "document/scripts")
    for count in range(1, 4):
        script = f"const n = {count}; let ticks = 0; setInterval(() => out.textContent = `${{n}} ${{++ticks > 2}}`, 20)"
        daemon.publish("document/scripts", f"<title>part {count}</title><p id=out></p><script>{script}</script>", HTML)
        out = page.frame_locator("iframe").locator("#out")
        expect(out).to_have_text(f"{count} true")
        expect(page).to_have_title(f"part {count}")
    assert page.locator("iframe").count() == 1


def test_a_part_may_not_act_as_a_page_of_the_daemon(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/stranger")
    script = "try { parent.document.title = 'mine' } catch (error) { document.body.textContent = error.name }"
    daemon.publish("document/stranger", f"<body><script>{script}</script>", HTML)
    expect(page.frame_locator("iframe").locator("body")).to_have_text("SecurityError")


def test_types_change(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/types")
    daemon.publish("document/types", "text")
    expect(page.locator("pre")).to_have_text("text")
    for kind, colour in (("png", RED), ("png", GREEN), ("jpeg", BLUE), ("svg+xml", RED), ("png", BLUE)):
        daemon.publish("document/types", picture(colour, kind), f"image/{kind}")
        wait_for_colour(partial(shown, page), colour)
    daemon.publish("document/types", "<h1>page</h1>", HTML)
    expect(page.frame_locator("iframe").locator("h1")).to_have_text("page")
    daemon.publish("document/types", picture(GREEN), "image/png")
    wait_for_colour(partial(shown, page), GREEN)
    daemon.publish("document/types", "text")
    expect(page.locator("body")).to_have_text("text")


def test_a_broken_picture_leaves_the_one_before(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/broken")
    daemon.publish("document/broken", picture(RED), "image/png")
    wait_for_colour(partial(shown, page), RED)
    daemon.publish("document/broken", b"no picture", "image/png")
    page.wait_for_timeout(200)
    assert is_like(shown(page), RED)
    daemon.publish("document/broken", picture(BLUE), "image/png")
    wait_for_colour(partial(shown, page), BLUE)


def test_of_parts_that_come_at_once_the_newest_shows(page: Page, daemon: Daemon):
    navigate(page, daemon, "document/burst")
    lines = [json.dumps({"channel": "document/burst", "data": f"message {n}"}) for n in range(500)]
    daemon.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    expect(page.locator("pre")).to_have_text("message 499")


def test_the_end_leaves_the_last(page: Page, daemon: Daemon):
    page.clock.install()
    navigate(page, daemon, "document/finite")
    daemon.publish("document/finite", picture(RED), "image/png")
    daemon.publish("document/finite", picture(GREEN), "image/png", end=1)
    daemon.wait_for_subscribers("document/finite", 0)
    wait_for_colour(partial(shown, page), GREEN)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.fast_forward(10_000)
    page.wait_for_timeout(200)
    assert requests == []
    wait_for_colour(partial(shown, page), GREEN)


def test_large_parts(page: Page, daemon: Daemon):
    """Parts of nearly 1 MiB, one after the other, full of what looks like the beginning of a boundary."""
    navigate(page, daemon, "document/large")
    for word in ("first", "second", "third"):
        filling = "\r\n--pushd" * 115_000
        daemon.publish("document/large", f"<h1>{word}</h1><script>/*{filling}*/</script>", HTML)
        expect(page.frame_locator("iframe").locator("h1")).to_have_text(word)
    daemon.publish("document/large", picture(RED, "bmp", 590), "image/bmp")
    page.wait_for_function("document.querySelector('img')?.naturalWidth === 590")
    wait_for_colour(partial(shown, page), RED)


def test_a_refusal_is_shown(page: Page, daemon: Daemon, complaints: list[str]):
    page.goto(f"{daemon.url}/multipart/no*name")
    expect(page.locator("body")).to_contain_text("bad-topic")
    complaints.clear()  # the browser tells of the status


def test_a_host_that_chromium_does_not_trust(page: Page, daemon: Daemon):
    """To http on another machine Chromium does not say that it navigates."""
    daemon.publish("document/far", "text")
    page.goto(f"http://pushd.test:{daemon.port}/multipart/document/far")
    expect(page.locator("pre")).to_have_text("text")


def test_a_name_that_was_made_to_lead_here_shows_nothing(page: Page, daemon: Daemon, complaints: list[str]):
    """DNS rebinding: the browser takes page and daemon for one origin, so nothing else would keep them apart."""
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
    complaints.clear()  # the browser tells of the status


def test_in_a_frame(page: Page, daemon: Daemon):
    daemon.publish("document/framed", "text")
    open_blank(page, daemon)
    page.evaluate("document.body.innerHTML = '<iframe src=/multipart/document/framed></iframe>'")
    expect(page.frame_locator("iframe").locator("pre")).to_have_text("text")
