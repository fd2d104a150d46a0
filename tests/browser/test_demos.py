"""Every demonstration in Chromium: it shows what is published by HTTP, in order, and its own buttons work."""

import re

import pytest
from playwright.sync_api import Page, expect

from pushd.api.pages import DEMOS
from tests.browser.daemon import Daemon, wait
from tests.browser.pictures import BLUE, GREEN, RED, colour_of, is_like, picture
from tests.browser.screen import wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"
NASTY = "<img src=x onerror='alert(1)'>"
"""What a page that puts a message into its HTML would run."""


@pytest.fixture(autouse=True)
def nothing_published(daemon: Daemon) -> None:
    """Leave nothing on the channels of the demonstrations that other tests have published there."""
    for name in DEMOS:
        daemon.forget(f"demo/{name}")


def open_demo(page: Page, daemon: Daemon, name: str, subscribers: int = 1) -> str:
    """Open a demonstration; give its channel, once it is listened to."""
    channel = f"demo/{name}"
    page.goto(f"{daemon.url}/{channel}", wait_until="domcontentloaded")
    if subscribers:
        daemon.wait_for_subscribers(channel, subscribers)
    return channel


def test_all_are_listed_and_found(page: Page, daemon: Daemon):
    page.goto(daemon.url)
    page.click("a[href='demo/']")
    expect(page).to_have_url(f"{daemon.url}/demo/")
    page.goto(f"{daemon.url}/demo")
    expect(page).to_have_url(f"{daemon.url}/demo/")
    links = page.locator("dt a").all()
    assert {link.get_attribute("href") for link in links} == DEMOS.keys() - {"index"}
    for name in DEMOS.keys() - {"index"}:
        assert daemon.request("GET", f"/demo/{name}")[0] == 200
    assert daemon.request("GET", "/demo/other")[0] == 404


@pytest.mark.parametrize("name", sorted(DEMOS))
def test_addresses_are_relative(name: str):
    """So the pages work below the prefix of a proxy."""
    text = re.sub("&lt;.*?&gt;", "", DEMOS[name].decode())
    assert re.findall(r"""(?:href=|src=|src = |fetch\(|EventSource\(|\bURL\()["'`](?!\.\.?/|[a-z]+")""", text) == []
    assert "<style>/*" not in text


def test_chat(page: Page, daemon: Daemon):
    daemon.publish("demo/chat", "before you came")
    channel = open_demo(page, daemon, "chat")
    daemon.publish(channel, NASTY)
    daemon.publish(channel, '{"name": "red", "text": "hello"}', "application/json")
    page.fill("#name", "blue")
    page.fill("#text", NASTY)
    page.click("button")
    said = page.locator("#log li")
    expect(said).to_contain_text(
        ["somebody: before you came", f"somebody: {NASTY}", "red: hello", f"blue: {NASTY}"], use_inner_text=True
    )
    expect(page.locator("#text")).to_have_value("")


def test_websocket(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "websocket")
    expect(page.locator("#state")).to_have_text("connected")
    daemon.publish(channel, "one")
    daemon.publish(channel, NASTY)
    heard = page.locator("#log li:not(.note)")
    expect(heard).to_have_text([f"{channel}: one", f"{channel}: {NASTY}"])
    page.fill("#data", "three")
    page.click("#publish button")
    expect(heard).to_have_text([f"{channel}: one", f"{channel}: {NASTY}", f"{channel}: three"])
    page.click("#unsubscribe")
    daemon.wait_for_subscribers(channel, 0)


def test_longpoll(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "longpoll")
    texts = ["one", NASTY, "three", "four"]
    for text in texts[:3]:
        daemon.publish(channel, text)
    page.fill("#text", texts[3])
    expect(page.locator("#log li")).to_have_count(3)
    page.click("button")
    expect(page.locator("#log li")).to_have_text(texts)


def test_words(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "words")
    for word in ("one", "two"):
        daemon.publish(channel, word)
    daemon.publish(channel, "three", end=1)
    expect(page.locator("#words")).to_have_text("one two three")
    expect(page.locator("#state")).to_contain_text("heard the end")
    page.fill("#text", "four five")
    page.click("#say")
    expect(page.locator("#words")).to_have_text("four five")
    expect(page.locator("#state")).to_contain_text("heard the end")


def test_image(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "image")
    live = page.locator("#live")
    for colour in (RED, GREEN, BLUE):
        daemon.publish(channel, picture(colour), "image/png")
        wait_for_colour(lambda: colour_of(live.screenshot()), colour)
    page.click("#start")
    expect(page.locator("#told")).to_contain_text("pictures published")
    wait(lambda: not is_like(colour_of(live.screenshot()), BLUE), "the picture that the page draws")
    page.select_option("#what", "clock")
    page.click("#start")
    expect(page.locator("#start")).to_have_text("Start")


def test_document(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "document")
    frame = page.frame_locator("#frame")
    daemon.publish(channel, NASTY)
    expect(frame.locator("pre")).to_have_text(NASTY)
    daemon.publish(channel, "<h1>page</h1>", HTML)
    expect(frame.frame_locator("iframe").locator("h1")).to_have_text("page")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#told")).to_have_text("Published; viewers: 1.")
    expect(frame.frame_locator("iframe").locator("#time")).to_have_text(re.compile(r"\d:\d\d"))
    with page.expect_popup() as opening:
        page.click("#open")
    expect(opening.value.frame_locator("iframe").locator("body")).to_contain_text("This is page 1.")


def test_pull(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "pull", 0)
    shown = page.frame_locator("#frame").locator("body")
    expect(shown).to_contain_text("There is no message yet.")
    daemon.publish(channel, NASTY)
    expect(shown).to_contain_text(NASTY)
    page.select_option("#interval", "0")
    daemon.wait_for_subscribers(channel)
    page.fill("#text", "by the page")
    with page.expect_event("framenavigated", lambda frame: "since=" in frame.url):
        page.click("button")
    daemon.wait_for_subscribers(channel)  # the next request waits
    page.select_option("#interval", "2")  # Playwright does not look into a frame whose next page is on its way
    expect(shown).to_contain_text("by the page")


def test_performance(page: Page, other_daemon: Daemon):
    page.goto(f"{other_daemon.url}/demo/performance")
    expect(page.locator(".meter b")).to_contain_text(["CPU", "Memory", "Disk /"])
    expect(page.locator("#also")).to_contain_text("Measured at")
    expect(page.locator("#hint")).to_be_hidden()
    is_drawn = """() => [...document.querySelectorAll("canvas")].every(
      canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte))"""
    assert page.evaluate(is_drawn)


def test_performance_says_how_to_switch_it_on(page: Page, daemon: Daemon):
    page.clock.install()
    page.goto(f"{daemon.url}/demo/performance")
    expect(page.locator("#hint")).to_be_hidden()
    page.clock.fast_forward(3000)
    expect(page.locator("#hint")).to_contain_text('kind = "system"')
