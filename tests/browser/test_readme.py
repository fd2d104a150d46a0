"""The page and the program of README.md: what the program publishes appears in the page, and the picture is made."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.pages.blocks import ROOT, blocks

pytestmark = pytest.mark.system
PICTURE = ROOT / "docs/images/first-minute.png"


class _Files(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """Where the page is: a server of files, as README.md has at http://localhost:3000."""
    (tmp_path / "favicon.ico").touch()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(tmp_path))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def open_daemon(origin: str, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that accepts the page."""
    daemon = Daemon(tmp_path, f'[http]\nallow_origins = ["{origin}"]\n').start()
    yield daemon
    daemon.stop()


def run(*arguments: str) -> str:
    """Run Python with the modules of this checkout; return its output."""
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}"}
    done = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_shows_what_the_program_publishes(origin: str, open_daemon: Daemon, page: Page, tmp_path: Path) -> None:
    (html,) = blocks("README.md", "html")
    (program,) = blocks("README.md", "python")
    assert [len(re.findall(r"^.+$", block.text, re.MULTILINE)) for block in (html, program)] == [5, 3]
    own = f"localhost:{open_daemon.port}"
    (tmp_path / "index.html").write_text(html.text.replace("localhost:8080", own), encoding="utf-8")
    with page.expect_websocket() as socket:
        page.goto(origin)
    socket.value.wait_for_event("framereceived")
    assert run("-c", program.text.replace("localhost:8080", own)).strip().endswith("-1")
    expect(page.locator("#news")).to_have_text("one all")


@pytest.mark.slow
def test_picture_is_made(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    run("-m", "tests.browser.picture", str(file))
    with Image.open(file) as made, Image.open(PICTURE) as committed:
        assert made.size == committed.size
