"""Makes the pictures of the demonstrations in docs/demos.md: `python -m tests.browser.demo_pictures`."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_chromium
from tests.browser.console_pictures import FOLDER, save
from tests.browser.daemon import Daemon

_SOURCE: Final = '[source.performance]\nkind = "system"\ninterval = "200ms"\ndisks = ["/"]\n'
_MAX_HEIGHT: Final = 900
_MESSAGES: Final = (("ann", "Good morning"), ("bob", "Good morning, ann!"), ("ann", "Is the release out?"))


def _chat(page: Page) -> None:
    expect(page.locator("#log li")).to_have_count(len(_MESSAGES))
    page.fill("#name", "bob")
    page.press("#name", "Tab")
    expect(page.locator("#members")).to_have_text("bob")


def _websocket(page: Page) -> None:
    expect(page.locator("#log li")).to_have_count(1)
    for text in ("one", "two"):
        page.fill("#data", text)
        page.click("#publish button")
        expect(page.locator("#log")).to_contain_text(f"demo/websocket: {text}")


def _image(page: Page) -> None:
    page.select_option("#what", "clock")
    page.click("#start")
    expect(page.locator("#result")).to_contain_text("frames published")


def _document(page: Page) -> None:
    page.get_by_role("button", name="Publish").click()
    expect(page.frame_locator("#frame").frame_locator("iframe").locator("body")).to_contain_text("page 1")


def _words(page: Page) -> None:
    expect(page.locator("#state")).to_have_text("connected")
    page.click("#publish")
    expect(page.locator("#words")).to_contain_text("These few words")


def _dashboard(page: Page) -> None:
    page.click("#fill")
    expect(page.locator("#values b")).to_have_count(1000)


def _performance(page: Page) -> None:
    expect(page.locator(".meter b")).to_contain_text(["CPU", "Memory", "Disk /"])
    page.wait_for_timeout(8000)  # so that there is a line


_PICTURES: Final[tuple[tuple[str, str, int, str, Callable[[Page], None]], ...]] = (
    ("chat", "chat", 720, "light", _chat),
    ("chat-phone", "chat", 390, "dark", _chat),
    ("websocket", "websocket", 720, "light", _websocket),
    ("image", "image", 720, "light", _image),
    ("document", "document", 720, "light", _document),
    ("words", "words", 720, "light", _words),
    ("dashboard", "dashboard", 720, "dark", _dashboard),
    ("performance", "performance", 720, "dark", _performance),
)
"""Name of the file, demonstration, width, colours, and what happens before the picture is taken."""


def make(folder: Path, target: Path) -> None:
    """Make the pictures: each from the top of the page, at most to its commands for a shell.

    :param folder: an empty directory for the daemon.
    """
    daemon = Daemon(folder, _SOURCE).start()
    try:
        for name, text in _MESSAGES:
            daemon.publish("demo/chat", json.dumps({"name": name, "text": text}), "application/json")
        with running_chromium() as chromium:
            for name, demo, width, scheme, prepare in _PICTURES:
                page = _open(chromium, f"{daemon.url}/demo/{demo}", width, scheme)
                prepare(page)
                save(_picture(page, width), target / f"{name}.png")
                page.context.close()
    finally:
        daemon.stop()


def _open(chromium: Browser, url: str, width: int, scheme: str) -> Page:
    page = chromium.new_context(viewport={"width": width, "height": 640}).new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(url, wait_until="domcontentloaded")
    return page


def _picture(page: Page, width: int) -> bytes:
    heading = page.locator("h2", has_text="From a shell").bounding_box()
    assert heading is not None
    height = min(heading["y"] + page.evaluate("scrollY") - 8, _MAX_HEIGHT)
    area = {"x": 0, "y": 0, "width": width, "height": height}
    return page.screenshot(full_page=True, clip=area)  # type: ignore[arg-type]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory), FOLDER)
