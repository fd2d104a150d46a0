"""Every demonstration in Chromium: it shows messages published by HTTP, in order, and its buttons work."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from pushd.api.pages import DEMOS
from tests.browser.daemon import Daemon, wait
from tests.browser.images import BLUE, GREEN, RED, colour_of, is_similar, make_image
from tests.browser.screen import wait_for_colour

pytestmark = pytest.mark.system

HTML = "text/html; charset=utf-8"
SCRIPT = "<img src=x onerror='alert(1)'>"
"""A script, which a page that inserts messages into its HTML would run."""


@pytest.fixture(autouse=True)
def empty_channels(daemon: Daemon) -> None:
    """Delete the channels of the demonstrations, which other tests have published to."""
    for name in DEMOS:
        daemon.delete_channel(f"demo/{name}")


def open_demo(page: Page, daemon: Daemon, name: str, subscribers: int = 1) -> str:
    """Open a demonstration; return its channel once it has subscribed."""
    channel = f"demo/{name}"
    page.goto(f"{daemon.url}/{channel}", wait_until="domcontentloaded")
    if subscribers:
        daemon.wait_for_subscribers(channel, subscribers)
    return channel


def test_index_lists_all_demonstrations(page: Page, daemon: Daemon):
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
def test_links_are_relative(name: str):
    """The pages must work below the prefix of a proxy."""
    text = re.sub("&lt;.*?&gt;", "", DEMOS[name].decode())
    assert re.findall(r"""(?:href=|src=|src = |fetch\(|EventSource\(|\bURL\()["'`](?!\.\.?/|[a-z]+")""", text) == []
    assert "<style>/*" not in text


def test_chat(page: Page, daemon: Daemon):
    daemon.publish("demo/chat", "published before")
    channel = open_demo(page, daemon, "chat")
    daemon.publish(channel, SCRIPT)
    daemon.publish(channel, '{"name": "red", "text": "hello"}', "application/json")
    page.fill("#name", "blue")
    page.fill("#text", SCRIPT)
    page.click("button")
    lines = page.locator("#log li")
    expect(lines).to_contain_text(
        ["somebody: published before", f"somebody: {SCRIPT}", "red: hello", f"blue: {SCRIPT}"], use_inner_text=True
    )
    expect(page.locator("#text")).to_have_value("")


def test_chat_shows_who_is_typing_to_others(page: Page, daemon: Daemon):
    other = page.context.new_page()
    for number, each in enumerate((page, other), 1):
        open_demo(each, daemon, "chat", number)
        each.wait_for_function("connection !== ''")
        each.fill("#name", ("blue", "red")[number - 1])
        each.press("#name", "Tab")  # the page reconnects under the new name
    for each in (page, other):
        each.wait_for_function("connection !== ''")
    page.locator("#text").press_sequentially("hello")
    expect(other.locator("#typing")).to_have_text("blue typing …")
    expect(page.locator("#typing")).to_have_text("")
    page.click("button")
    expect(other.locator("#log li")).to_contain_text(["blue: hello"], use_inner_text=True)
    expect(other.locator("#typing")).to_have_text("")
    other.locator("#text").press_sequentially(SCRIPT)
    expect(page.locator("#typing")).to_have_text("red typing …")
    expect(page.locator("#typing")).to_have_text("")  # red does not send it
    _, stored = daemon.request("GET", "/history/demo/chat")
    assert [each["data"] for each in json.loads(stored)] == [{"name": "blue", "text": "hello"}]
    other.close()


def test_chat_that_reconnects_misses_no_message_because_of_typing(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "chat")
    daemon.publish(channel, "one")
    expect(page.locator("#log li")).to_have_count(1)
    daemon.cut(channel)
    for text in ("two", "three"):
        daemon.publish(channel, '{"name": "red"}', "application/json", keep=0, event="typing")
        daemon.publish(channel, text)
    expect(page.locator("#log li")).to_contain_text(["one", "two", "three"])
    daemon.publish(channel, '{"name": "red"}', "application/json", keep=0, event="typing")
    expect(page.locator("#typing")).to_have_text("red typing …")
    daemon.publish(channel, "four")
    expect(page.locator("#log li")).to_contain_text(["one", "two", "three", "four"])
    expect(page.locator("#log li.gap")).to_have_count(0)


@pytest.mark.slow  # a member leaves after the grace of 15 seconds
def test_chat_shows_who_is_online(page: Page, daemon: Daemon):
    open_demo(page, daemon, "chat")
    page.fill("#name", "blue")
    page.press("#name", "Tab")
    expect(page.locator("#members")).to_have_text("blue")
    assert page.context.browser is not None
    other = page.context.browser.new_context().new_page()
    other.goto(f"{daemon.url}/demo/chat", wait_until="domcontentloaded")
    expect(page.locator("#members")).to_have_text(re.compile("^blue, guest-...?.?$"))
    other.fill("#name", "a b/c")
    other.press("#name", "Tab")
    for each in (page, other):
        expect(each.locator("#members")).to_have_text(re.compile("a_b_c, blue"))
    # Former names do not stay until the grace of their connections ends.
    expect(page.locator("#members")).to_have_text("a_b_c, blue", timeout=10_000)
    daemon.request("PUT", "/presence/demo/chat/zoe?ttl=60")
    expect(page.locator("#members")).to_have_text("a_b_c, blue, zoe")
    daemon.request("DELETE", "/presence/demo/chat/zoe")
    expect(page.locator("#members")).not_to_have_text(re.compile("zoe"))
    other.context.close()


def test_websocket(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "websocket")
    expect(page.locator("#state")).to_have_text("connected")
    daemon.publish(channel, "one")
    daemon.publish(channel, SCRIPT)
    lines = page.locator("#log li:not(.note)")
    expect(lines).to_have_text([f"{channel}: one", f"{channel}: {SCRIPT}"])
    page.fill("#data", "three")
    page.click("#publish button")
    expect(lines).to_have_text([f"{channel}: one", f"{channel}: {SCRIPT}", f"{channel}: three"])
    page.click("#unsubscribe")
    daemon.wait_for_subscribers(channel, 0)


def test_longpoll(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "longpoll")
    texts = ["one", SCRIPT, "three", "four"]
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
    expect(page.locator("#state")).to_contain_text("received the end")
    page.fill("#text", "four five")
    page.click("#publish")
    expect(page.locator("#words")).to_have_text("four five")
    expect(page.locator("#state")).to_contain_text("received the end")


def test_image(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "image")
    live = page.locator("#live")
    for colour in (RED, GREEN, BLUE):
        daemon.publish(channel, make_image(colour), "image/png")
        wait_for_colour(lambda: colour_of(live.screenshot()), colour)
    page.click("#start")
    expect(page.locator("#result")).to_contain_text("frames published")
    wait(lambda: not is_similar(colour_of(live.screenshot()), BLUE), "the frame that the page draws")
    page.select_option("#what", "clock")
    page.click("#start")
    expect(page.locator("#start")).to_have_text("Start")


def test_document(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "document")
    frame = page.frame_locator("#frame")
    daemon.publish(channel, SCRIPT)
    expect(frame.locator("pre")).to_have_text(SCRIPT)
    daemon.publish(channel, "<h1>page</h1>", HTML)
    expect(frame.frame_locator("iframe").locator("h1")).to_have_text("page")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#result")).to_have_text("Published; viewers: 1.")
    expect(frame.frame_locator("iframe").locator("#time")).to_have_text(re.compile(r"\d:\d\d"))
    with page.expect_popup() as opening:
        page.click("#open")
    expect(opening.value.frame_locator("iframe").locator("body")).to_contain_text("This is page 1.")


def test_dashboard(page: Page, daemon: Daemon):
    for number in range(3):
        daemon.publish("demo/dashboard/7", f"{number}")
    open_demo(page, daemon, "dashboard", 0)
    cells = page.locator("#values b")
    expect(cells).to_have_text(["2"])
    page.click("#fill")
    expect(cells).to_have_count(1000)
    daemon.publish("demo/dashboard/7", SCRIPT)
    expect(page.locator("#values b[title='7']")).to_have_text(SCRIPT)
    values = cells.all_text_contents()
    page.click("#restart")
    expect(page.locator("#summary")).to_contain_text("1000 channels")
    assert sorted(cells.all_text_contents()) == sorted(values)
    page.click("#change")
    texts = "[...document.querySelectorAll('#values b')].map(cell => cell.textContent).join()"
    page.wait_for_function(f"before => {texts} !== before", arg=page.evaluate(texts))
    page.click("#change")
    expect(page.locator("#change")).to_have_text("Start to change them")


def test_pull(page: Page, daemon: Daemon):
    channel = open_demo(page, daemon, "pull", 0)
    displayed = page.frame_locator("#frame").locator("body")
    expect(displayed).to_contain_text("There is no message yet.")
    daemon.publish(channel, SCRIPT)
    expect(displayed).to_contain_text(SCRIPT)
    page.select_option("#interval", "0")
    daemon.wait_for_subscribers(channel)
    page.fill("#text", "by the page")
    with page.expect_event("framenavigated", lambda frame: "since=" in frame.url):
        page.click("button")
    daemon.wait_for_subscribers(channel)  # the next request waits
    page.select_option("#interval", "2")  # Playwright cannot inspect a frame that is loading
    expect(displayed).to_contain_text("by the page")


def test_performance(page: Page, keepalive_daemon: Daemon):
    page.goto(f"{keepalive_daemon.url}/demo/performance")
    expect(page.locator(".meter b")).to_contain_text(["CPU", "Memory", "Disk /"])
    expect(page.locator("#summary")).to_contain_text("Measured at")
    expect(page.locator("#hint")).to_be_hidden()
    is_drawn = """() => [...document.querySelectorAll("canvas")].every(
      canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte))"""
    assert page.evaluate(is_drawn)


def test_performance_explains_how_to_enable_the_source(page: Page, daemon: Daemon):
    page.clock.install()
    page.goto(f"{daemon.url}/demo/performance")
    expect(page.locator("#hint")).to_be_hidden()
    page.clock.fast_forward(3000)
    expect(page.locator("#hint")).to_contain_text('kind = "system"')
