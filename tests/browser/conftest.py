"""The browsers, each started once, and a daemon for all tests that do not need one of their own."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, WebError, expect, sync_playwright

from tests.browser.daemon import Daemon
from tests.browser.firefox import Firefox

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FIREFOX = ("firefox-esr", "firefox")
_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]
_WAIT_MS = 20_000
"""A generous timeout for a busy machine. Where a time limit is promised, the test measures it."""

_CLOSED_EARLY = "WebSocket is closed before the connection is established"
"""What Chromium says of a page that is left, or a client that is closed, while it connects."""

expect.set_options(timeout=_WAIT_MS)


def find_browser(names: tuple[str, ...], package: str) -> str:
    """Return the path of a browser. Without one, skip the test, or fail it in continuous integration."""
    for name in names:
        if path := shutil.which(name):
            return path
    reason = f"{names[0]} is not installed (Debian: apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def chromium_options() -> dict[str, Any]:
    """Return the path of Chromium and its command line, as options of Playwright."""
    # As root Chromium does not start with its sandbox.
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    return {"executable_path": find_browser(_CHROMIUM, "chromium"), "args": flags}


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start headless Chromium."""
    options = chromium_options()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


def start_firefox(folder: Path, preferences: Mapping[str, object] | None = None) -> Iterator[Firefox]:
    """Start headless Firefox, yield it, and stop it; see `Firefox`."""
    firefox = Firefox(find_browser(_FIREFOX, "firefox-esr"), folder, preferences)
    try:
        yield firefox.start()
    finally:
        firefox.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def running_firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """Headless Firefox."""
    yield from start_firefox(tmp_path_factory.mktemp("firefox"))


@pytest.fixture
def firefox(running_firefox: Firefox) -> Firefox:
    """A new tab of Firefox."""
    running_firefox.open_tab()
    return running_firefox


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with the default settings."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon")).start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def keepalive_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that tests may restart. It publishes system metrics, and sends keepalives every second."""
    config = '[source.performance]\nkind = "system"\ninterval = "200ms"\n[keepalive]\nstream = 1\n'
    daemon = Daemon(tmp_path_factory.mktemp("keepalive_daemon"), config).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def page_errors() -> list[str]:
    """Errors and warnings of the page. Those that a test does not remove make it fail."""
    return []


@pytest.fixture
def page(chromium: Browser, page_errors: list[str]) -> Iterator[Page]:
    """A new tab without cookies or storage of other tests."""
    context = chromium.new_context(viewport={"width": 480, "height": 640})
    context.set_default_timeout(_WAIT_MS)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _CLOSED_EARLY not in message.text:
            page_errors.append(f"console: {message.text} ({message.location.get('url')})")

    def on_error(raised: WebError) -> None:
        page_errors.append(f"uncaught: {raised.error}")

    context.on("console", on_console)
    context.on("weberror", on_error)
    yield context.new_page()
    context.close()
    assert page_errors == []
