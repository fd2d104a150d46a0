"""Makes the pictures of the start page in docs/demos.md: `python -m tests.browser.start_pictures`."""

import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import running_chromium
from tests.browser.console_pictures import FOLDER, save
from tests.browser.daemon import Daemon


def make(folder: Path, target: Path) -> None:
    """Make the pictures: a wide light one, and a dark one of a phone.

    :param folder: an empty directory for the daemon.
    """
    daemon = Daemon(folder).start()
    try:
        daemon.publish("demo", "hello from a shell")
        daemon.publish("demo", "hello from telnet")
        with running_chromium() as chromium:
            for name, width, scheme in (("start", 1280, "light"), ("start-phone", 390, "dark")):
                page = chromium.new_context(viewport={"width": width, "height": 760}).new_page()
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                page.goto(daemon.url)
                expect(page.locator("#log li")).to_have_count(2)
                expect(page.locator("#facts")).to_contain_text("ready")
                save(page.screenshot(), target / f"{name}.png")
                page.context.close()
    finally:
        daemon.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory), FOLDER)
