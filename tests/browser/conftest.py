"""The browsers, each started once, and a daemon for all tests that do not need their own."""

import os
import shutil
from collections.abc import Iterator

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
"""How long a page may take on a machine that has other things to do. What a promise bounds, its test measures."""

expect.set_options(timeout=_WAIT_MS)


def program(names: tuple[str, ...], package: str) -> str:
    """Find a browser. Where there is none the test is skipped, but in continuous integration, where it fails."""
    for name in names:
        if path := shutil.which(name):
            return path
    reason = f"no {names[0]} here (Debian: apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium, without a window."""
    path = program(_CHROMIUM, "chromium")
    # As root Chromium does not start with its sandbox.
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running_firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """Firefox, without a window."""
    firefox = Firefox(program(_FIREFOX, "firefox-esr"), tmp_path_factory.mktemp("firefox"))
    try:
        yield firefox.start()
    finally:
        firefox.stop()


@pytest.fixture
def firefox(running_firefox: Firefox) -> Firefox:
    """A new tab of Firefox."""
    running_firefox.open_tab()
    return running_firefox


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its defaults."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon")).start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def other_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that is not in its defaults, and that may be stopped and started.

    It publishes how the machine does, and gives signs of life each second.
    """
    config = '[source.performance]\nkind = "system"\ninterval = "200ms"\n[keepalive]\nstream = 1\n'
    daemon = Daemon(tmp_path_factory.mktemp("other_daemon"), config).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in the page: what is left there at the end fails the test."""
    return []


@pytest.fixture
def page(chromium: Browser, complaints: list[str]) -> Iterator[Page]:
    """A new tab with nothing of other tests in it."""
    context = chromium.new_context(viewport={"width": 480, "height": 640})
    context.set_default_timeout(_WAIT_MS)

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def catch(caught: WebError) -> None:
        complaints.append(f"uncaught: {caught.error}")

    context.on("console", hear)
    context.on("weberror", catch)
    yield context.new_page()
    context.close()
    assert complaints == []
