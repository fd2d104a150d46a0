"""The console in Chromium and Firefox: its views, its refusals, and what screen readers find."""

import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import Axe
from tests.browser.daemon import Daemon, wait
from tests.browser.firefox import Firefox
from tests.browser.images import RED, make_image

pytestmark = pytest.mark.system

VIEWS = ("", "channels", "channel/console%2Faxe", "connections", "tokens", "hooks", "wires")
TOKEN = "console-operator-token"
HOSTILE = {"text": "<img src=x onerror='document.title=1'>", "deep": {"list": list(range(20))}}


def open_view(page: Page, daemon: Daemon, view: str = "") -> None:
    page.goto(f"{daemon.url}/console/#/{view}")
    expect(page.locator("h1")).to_be_visible()


def items(page: Page) -> Locator:
    return page.locator(".messages > li")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that grants nothing without a token."""
    folder = tmp_path_factory.mktemp("secured")
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    (folder / "tokens.toml").write_text(f'[ops]\nsub = "ops"\nsha256 = "{digest}"\noperate = ["*"]\n')
    daemon = Daemon(folder, f'[auth]\ntokens_file = "{folder / "tokens.toml"}"\n').start()
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(page: Page, daemon: Daemon, scheme: str) -> None:
    daemon.publish("console/axe", json.dumps(HOSTILE), "application/json")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    axe = Axe(page)
    page.goto(f"{daemon.url}/console/")
    axe.inject()
    for view in VIEWS:
        page.evaluate("view => { location.hash = `#/${view}` }", view)
        link = page.locator("#nav [aria-current]")
        expect(link).to_have_attribute("href", "#/channels" if view.startswith("channel/") else f"#/{view}")
        expect(page.locator("h1")).to_be_visible()
        assert (view, axe.faults()) == (view, [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_messages_are_shown_live_and_publishers_cannot_inject_markup(page: Page, daemon: Daemon) -> None:
    channel = "console/<b>&"
    first = daemon.publish(channel, json.dumps(HOSTILE), "application/json")
    open_view(page, daemon, "channel/console%2F%3Cb%3E%26")
    expect(page.locator("h1")).to_have_text(channel)
    expect(items(page)).to_have_count(1)
    items(page).locator("summary").nth(1).click()
    expect(items(page)).to_contain_text('"list"')
    daemon.publish(channel, make_image(RED), "image/png")
    daemon.publish(channel, "<script>document.title = 1</script>", "text/html")
    expect(items(page)).to_have_count(3)
    expect(items(page).nth(0)).to_contain_text("<script>")
    wait(lambda: items(page).nth(1).locator("img").evaluate("image => image.naturalWidth"), "the image is shown")
    assert page.title() != "1"
    page.get_by_label("Data", exact=True).fill("it's")
    expect(page.locator(".code").first).to_contain_text("--data-binary 'it'\\''s'")
    page.get_by_role("button", name="Publish").click()
    expect(items(page).nth(0)).to_contain_text("it's")
    items(page).last.get_by_role("button", name="Resume from here").click()
    expect(page.locator("li.note")).to_have_text(f"Resumed after {first}.")
    expect(items(page)).to_have_count(4)  # the note, and the three messages after the first


def test_a_gap_is_drawn(page: Page, daemon: Daemon) -> None:
    first = daemon.publish("console/gap", "received")
    daemon.publish("console/gap", "lost")
    daemon.delete_channel("console/gap")
    daemon.publish("console/gap", "kept")
    open_view(page, daemon, "channel/console%2Fgap")
    expect(items(page)).to_have_count(1)
    page.evaluate("id => document.querySelector('.heading select').append(new Option('', id))", first)
    page.locator(".heading select").select_option(first)
    expect(page.locator(".gap")).to_contain_text("messages of console/gap are missing")


def test_channels_are_found_by_prefix_and_only_visible_rows_exist(page: Page, daemon: Daemon) -> None:
    lines = "\n".join(json.dumps({"channel": f"console/many/{number:04}", "data": "x"}) for number in range(1500))
    daemon.request("POST", "/pub", lines.encode(), {"Content-Type": "application/x-ndjson"})
    daemon.publish("console/first", "x")  # before the others, until they are searched for
    open_view(page, daemon, "channels")
    page.get_by_role("searchbox").fill("console/many/")
    expect(page.locator(".item").first).to_contain_text("console/many/0000")
    expect(page.locator(".badge").first).to_have_text("1,000 and more")
    expect(page.locator(".item").first).to_contain_text("ago")
    assert page.locator(".item").count() < 40
    page.locator(".window").evaluate("list => list.scrollTop = 1e6")
    expect(page.locator(".badge").first).to_have_text("1,500")
    page.locator(".window").evaluate("list => list.scrollTop = 1e6")
    expect(page.get_by_role("link", name="console/many/1499")).to_be_visible()
    page.get_by_role("searchbox").fill("console/none")
    expect(page.get_by_role("heading", name="No channel begins with")).to_be_visible()


def test_a_connection_is_kicked(page: Page, daemon: Daemon) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    connection = HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request("GET", "/stream/console/kick")
    stream = connection.getresponse()
    daemon.wait_for_subscribers("console/kick")
    open_view(page, daemon, "connections/console%2Fkick")
    page.get_by_role("button", name="Kick stream").click()
    expect(page.get_by_role("status")).to_have_text("Connection closed.")
    assert stream.read() == b""  # it has ended
    expect(page.get_by_role("heading", name="Nobody is connected")).to_be_visible()
    connection.close()


def test_bytes_of_a_wire_are_shown(page: Page, daemon: Daemon) -> None:
    open_view(page, daemon, "wires")
    page.get_by_label("Channel").fill("console/wire")
    page.get_by_role("button", name="Connect").click()
    daemon.wait_for_subscribers("console/wire")
    daemon.publish("console/wire", "hello")
    expect(page.locator(".bytes")).to_contain_text("data: hello␊")
    expect(page.locator(".bytes")).to_contain_text("content-type: text/event-stream")
    page.get_by_role("button", name="Stop").click()
    daemon.wait_for_subscribers("console/wire", 0)


def test_a_token_is_asked_for_and_kept_in_memory_only(page: Page, secured: Daemon, page_errors: list[str]) -> None:
    open_view(page, secured)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("needs a token")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("token is not known")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_contain_text("pushd")
    assert (
        page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])").count(
            TOKEN
        )
        == 0
    )
    page.reload()
    expect(dialog).to_be_visible()
    assert all("401" in error for error in page_errors), page_errors
    page_errors.clear()


@pytest.mark.slow
def test_firefox_shows_a_channel_live(firefox: Firefox, daemon: Daemon) -> None:
    firefox.navigate(f"{daemon.url}/console/#/channel/console%2Ffirefox")
    daemon.wait_for_subscribers("console/firefox")
    daemon.publish("console/firefox", "hello")
    script = "document.querySelector('.messages pre')?.textContent ?? ''"
    wait(lambda: firefox.evaluate(script) == "hello", "the message is shown")
    assert firefox.evaluate("document.querySelector('.heading .badge').textContent").startswith("live")
    assert firefox.page_errors == []
