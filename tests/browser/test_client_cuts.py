"""The client in Chromium, behind a proxy that cuts each connection after another number of bytes: nothing is lost or
doubled. tests/clients/js has the same for Node.js.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.cuts import MOST_BYTES, alternating, check_cuts, check_publishes
from tests.browser.daemon import Daemon

pytestmark = pytest.mark.system

TRANSPORTS = ("websocket", "sse", "longpoll")
STEP = 53
"""Of the sample: fewer than forty cuts."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that pages may use by way of the proxy."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), '[http]\nallow_origins = ["*"]\n').start()
    yield daemon
    daemon.stop()


@pytest.fixture
def page(chromium: Browser, daemon: Daemon) -> Iterator[Page]:
    """A page of the daemon, whose console may have errors."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{daemon.url}/health/live")
    yield page
    context.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_lose_and_double_nothing(page: Page, daemon: Daemon, transport: str) -> None:
    assert check_cuts(daemon, page.evaluate, transport, alternating(STEP)) > MOST_BYTES / STEP / 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_at_every_byte_lose_and_double_nothing(page: Page, daemon: Daemon, transport: str) -> None:
    assert check_cuts(daemon, page.evaluate, transport, alternating()) > MOST_BYTES / 2


@pytest.mark.slow
def test_publishes_that_are_cut_at_every_byte_arrive_once_and_in_order(page: Page, daemon: Daemon) -> None:
    assert check_publishes(daemon, page.evaluate, alternating()) > MOST_BYTES / 2
