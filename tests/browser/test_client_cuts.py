"""The client in Chromium, behind a proxy that cuts each connection after another number of bytes: nothing is lost or
doubled. tests/clients/js has the same for Node.js.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.cuts import MOST_BYTES, alternating, check_cuts
from tests.browser.daemon import Daemon

pytestmark = pytest.mark.system

TRANSPORTS = ("websocket", "sse", "longpoll")
STEP = 53
"""Of the sample: fewer than thirty cuts."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that pages may use by way of the proxy."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), '[http]\nallow_origins = ["*"]\n').start()
    yield daemon
    daemon.stop()


def check(chromium: Browser, daemon: Daemon, transport: str, step: int) -> int:
    """Follow a channel in a page; return the number of cuts."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(f"{daemon.url}/health/live")
        return check_cuts(daemon, page.evaluate, transport, alternating(step))
    finally:
        context.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_lose_and_double_nothing(chromium: Browser, daemon: Daemon, transport: str) -> None:
    assert check(chromium, daemon, transport, STEP) > MOST_BYTES / STEP / 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_at_every_byte_lose_and_double_nothing(chromium: Browser, daemon: Daemon, transport: str) -> None:
    assert check(chromium, daemon, transport, 1) > MOST_BYTES / 2
