"""The client in Chromium and Firefox, behind a proxy that cuts each connection after another number of bytes: nothing
is lost or doubled. tests/clients/js has the same for Node.js.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import start_firefox
from tests.browser.cuts import MOST_BYTES, alternating, check_cuts, check_publishes
from tests.browser.daemon import Daemon
from tests.browser.firefox import Firefox

pytestmark = pytest.mark.system

TRANSPORTS = ("websocket", "sse", "longpoll")
SAMPLE_STEP = 53
"""Fewer than forty cuts."""
FIREFOX_STEP = 5
FIREFOX = {"network.websocket.delay-failed-reconnects": False}
"""By default Firefox delays WebSockets to a host after failures, by up to a minute."""


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
    page.goto(f"{daemon.url}/demo/")
    yield page
    context.close()


@pytest.fixture(scope="module")
def impatient_firefox(tmp_path_factory: pytest.TempPathFactory, daemon: Daemon) -> Iterator[Firefox]:
    """Firefox, which does not delay WebSockets, with a page of the daemon."""
    for firefox in start_firefox(tmp_path_factory.mktemp("firefox"), FIREFOX):
        firefox.open_tab()
        firefox.navigate(f"{daemon.url}/demo/")
        yield firefox


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_lose_and_double_nothing(page: Page, daemon: Daemon, transport: str) -> None:
    assert check_cuts(daemon, page.evaluate, transport, alternating(SAMPLE_STEP)) > MOST_BYTES / SAMPLE_STEP / 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_at_every_byte_lose_and_double_nothing(page: Page, daemon: Daemon, transport: str) -> None:
    assert check_cuts(daemon, page.evaluate, transport, alternating()) > MOST_BYTES / 2


@pytest.mark.slow
def test_publishes_that_are_cut_at_every_byte_arrive_once_and_in_order(page: Page, daemon: Daemon) -> None:
    assert check_publishes(daemon, page.evaluate, alternating()) > MOST_BYTES / 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cuts_lose_and_double_nothing_in_firefox(impatient_firefox: Firefox, daemon: Daemon, transport: str) -> None:
    budgets = alternating(FIREFOX_STEP)
    assert check_cuts(daemon, impatient_firefox.evaluate, transport, budgets) > len(budgets) / 2


@pytest.mark.slow
def test_publishes_that_are_cut_in_firefox_arrive_once_and_in_order(impatient_firefox: Firefox, daemon: Daemon) -> None:
    budgets = alternating(FIREFOX_STEP)
    assert check_publishes(daemon, impatient_firefox.evaluate, budgets) > len(budgets) / 2
