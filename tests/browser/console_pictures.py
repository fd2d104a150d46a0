"""Makes the pictures of docs/console.md: `python -m tests.browser.console_pictures`.

It starts a daemon with some channels, messages and subscribers, and opens the views of the console in Chromium.
"""

import io
import json
import tempfile
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_chromium
from tests.browser.daemon import Daemon
from tests.browser.images import BLUE, make_image

FOLDER: Final = Path(__file__).parents[2] / "docs/images"
_PICTURES: Final = (
    ("overview", "", 1280, "light"),
    ("channel", "channel/orders%2F42", 1280, "dark"),
    ("channels", "channels", 390, "light"),
    ("connections", "connections", 390, "dark"),
)
"""Name, view, width and colours."""
_CHANNELS: Final = ("chat/lobby", "chat/support", "news/sport", "news/weather", "orders/41", "orders/43", "sensors/1")


def make(folder: Path, target: Path) -> None:
    """Make the pictures.

    :param folder: an empty directory for the daemon.
    """
    daemon = Daemon(folder, '[source.system]\nkind = "system"\ninterval = "200ms"\n').start()
    try:
        streams = _prepare(daemon)
        with running_chromium() as chromium:
            for name, view, width, scheme in _PICTURES:
                page = _open(chromium, daemon, view, width, scheme)
                save(page.screenshot(), target / f"console-{name}.png")
                page.context.close()
        for stream in streams:
            stream.close()
    finally:
        daemon.stop()


def _prepare(daemon: Daemon) -> list[HTTPConnection]:
    """Publish messages and open streams."""
    for channel in _CHANNELS:
        daemon.publish(channel, "hello")
    daemon.publish("orders/42", "created")
    order = {"order": 42, "state": "paid", "items": [{"article": "A-17", "count": 2}, {"article": "B-4", "count": 1}]}
    daemon.publish("orders/42", json.dumps(order), "application/json", event="paid")
    daemon.publish("orders/42", make_image(BLUE), "image/png")
    daemon.publish("orders/42", "on its way to <customer>")
    streams = []
    for path in (
        "/sse/chat/lobby",
        "/sse/news/**",
        "/stream/orders/**",
        "/longpoll/chat/support",
        "/stream/$sys/performance",
    ):
        connection = HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        connection.request("GET", path)
        streams.append(connection)
    daemon.wait_for_subscribers("chat/support")
    return streams


def _open(chromium: Browser, daemon: Daemon, view: str, width: int, scheme: str) -> Page:
    context = chromium.new_context(viewport={"width": width, "height": 760})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(f"{daemon.url}/console/#/{view}")
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_timeout(16_000 if not view else 5000)  # for some points of the sparklines, and for rates
    return page


def save(screenshot: bytes, file: Path) -> None:
    """Write a screenshot with few colours, so that it is small."""
    with Image.open(io.BytesIO(screenshot)) as picture:
        picture.convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE).save(file, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary), FOLDER)
