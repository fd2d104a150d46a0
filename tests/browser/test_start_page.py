"""The start page and the frame of the demonstrations, in Chromium."""

import hashlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from pushd.api.pages import DEMOS
from tests.browser.axe import Axe
from tests.browser.daemon import Daemon

pytestmark = pytest.mark.system

TOKEN = "start-page-token"
SCRIPT = "<img src=x onerror='document.title=1'>"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that grants nothing without a token, and has no console."""
    folder = tmp_path_factory.mktemp("secured")
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    (folder / "tokens.toml").write_text(
        f'[page]\nsub = "page"\nsha256 = "{digest}"\nsubscribe = ["demo"]\npublish = ["demo"]\n'
    )
    config = f'[auth]\ntokens_file = "{folder / "tokens.toml"}"\n[http]\nconsole = false\n'
    daemon = Daemon(folder, config).start()
    yield daemon
    daemon.stop()


def publish(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#form button")
    expect(page.locator("#text")).to_have_value("")


def test_what_the_page_publishes_arrives(page: Page, daemon: Daemon) -> None:
    daemon.delete_channel("demo")
    page.goto(daemon.url)
    expect(page.locator("#state")).to_have_text("connected (websocket)")
    publish(page, SCRIPT)
    daemon.publish("demo", "from elsewhere")
    expect(page.locator("#log li")).to_have_text([SCRIPT, "from elsewhere"])
    expect(page.locator("#facts")).to_contain_text(f"{daemon.url}/ · ready")
    assert f"curl -d hello {daemon.url}/pub/demo" in page.locator(".code pre").all_inner_texts()
    expect(page.locator("#console")).to_be_visible()
    expect(page.locator("#sign")).to_be_hidden()


def test_page_asks_for_a_token_that_the_daemon_needs(page: Page, secured: Daemon, page_errors: list[str]) -> None:
    page.goto(secured.url)
    expect(page.locator("#state")).to_have_text("this daemon asks for a token")
    expect(page.locator("#console")).to_be_hidden()
    page.fill("#token", "another")
    page.click("#sign button")
    expect(page.locator("#state")).to_have_text(re.compile("^(?!this daemon asks).*token"))
    page.fill("#token", TOKEN)
    page.click("#sign button")
    expect(page.locator("#state")).to_have_text("connected (websocket)")
    expect(page.locator("#sign")).to_be_hidden()
    publish(page, "with a token")
    expect(page.locator("#log li")).to_have_text(["with a token"])
    expect(page.locator("#facts")).to_contain_text("pushd ")
    assert all("401" in each or "console/" in each for each in page_errors)
    page_errors.clear()


def test_demonstration_says_that_it_may_not_subscribe(page: Page, secured: Daemon, page_errors: list[str]) -> None:
    page.goto(f"{secured.url}/demo/words")
    expect(page.locator("#refused")).to_contain_text("does not let you subscribe to demo/words")
    assert all("401" in each for each in page_errors)
    page_errors.clear()


def test_chat_says_that_it_cannot_show_who_is_online(chromium: Browser, secured: Daemon) -> None:
    context = chromium.new_context()  # of its own: the chat tries again and again, and each refusal is logged
    page = context.new_page()
    page.goto(f"{secured.url}/demo/chat", wait_until="domcontentloaded")
    expect(page.locator("#refused")).to_contain_text("does not let you subscribe to demo/chat")
    expect(page.locator("#unknown")).to_be_visible()
    expect(page.locator("#online")).to_be_hidden()
    context.close()


def test_demonstration_shows_its_own_source(page: Page, daemon: Daemon) -> None:
    page.goto(f"{daemon.url}/demo/words")
    expect(page.locator("header [aria-current]")).to_have_text("Finite stream")
    page.click("summary")
    source = page.locator(".source pre")
    expect(source).to_contain_text("new EventSource(")
    text = source.inner_text()
    assert text.startswith("<!DOCTYPE html>")
    assert not any(shared in text for shared in ("--accent: ", "<header", "<footer", "aria-current"))
    expect(page.locator("#refused")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_no_fault_and_a_phone_shows_all(page: Page, daemon: Daemon, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 390, "height": 800})
    daemon.publish("demo/dashboard/7", "a-value-that-is-much-wider-than-its-cell" * 5)
    axe = Axe(page)
    for path in ("", *(f"demo/{name.removeprefix('index')}" for name in DEMOS)):
        page.goto(f"{daemon.url}/{path}", wait_until="domcontentloaded")
        expect(page.locator("h1")).to_be_visible()
        axe.inject()
        assert (path, axe.faults()) == (path, [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
