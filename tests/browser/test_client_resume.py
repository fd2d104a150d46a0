"""The client with `resume` in Chromium: subscriptions go on after a reload, and begin anew in another tab."""

from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon

pytestmark = pytest.mark.system

OPEN = """async ([transport, isShared]) => {
  const { connect } = await import("/client.js");
  window.received = [];
  window.gaps = [];
  window.all = () => JSON.parse(sessionStorage.all ?? "[]");
  window.client = connect("/", { resume: true, tabs: isShared, transports: [transport] });
  client.on("gap", (gap) => gaps.push(gap));
  window.subscription = client.subscribe("reload", { since: "last:2" }, ({ data }) => {
    received.push(data);
    sessionStorage.all = JSON.stringify([...all(), data]);
  });
  await new Promise((resolve) => subscription.on("begin", resolve));
}"""
RELOADS = 3
TRANSPORTS = ("websocket", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sse", "longpoll")))


class Reader:
    """A tab that follows the channel, and what it has to receive."""

    def __init__(self, page: Page, daemon: Daemon, transport: str, *, is_shared: bool = False) -> None:
        self.page = page
        self._daemon = daemon
        self._options = [transport, is_shared]
        self._page_url = f"{daemon.url}/demo/"

    def open(self) -> None:
        """Load the page, or reload it."""
        self._load()
        self.page.evaluate(OPEN, self._options)

    def leave(self, subscribers: int = 0) -> None:
        """Go to a page that does not subscribe, as in the time in which a page is loaded."""
        self._load()
        self._daemon.wait_for_subscribers("reload", subscribers)

    def expect(self, numbers: list[int]) -> None:
        """Wait until it has received numbers, and nothing else."""
        self.page.wait_for_function("last => received.at(-1) === last", arg=numbers[-1])
        assert self.page.evaluate("[received, gaps]") == [numbers, []]

    def _load(self) -> None:
        if self.page.url == self._page_url:
            self.page.reload()
        else:
            self.page.goto(self._page_url)


@pytest.fixture
def numbers(daemon: Daemon) -> Iterator[int]:
    """Numbers that are published in an empty channel as they are drawn."""
    daemon.delete_channel("reload")

    def published() -> Iterator[int]:
        for number in count():
            daemon.publish("reload", str(number), "application/json")
            yield number

    return published()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_reloaded_page_receives_what_it_missed(
    page: Page, daemon: Daemon, numbers: Iterator[int], transport: str
) -> None:
    before = [next(numbers) for _ in range(4)]
    reader = Reader(page, daemon, transport)
    reader.open()
    reader.expect(before[-2:])
    live = [next(numbers)]
    reader.expect(before[-2:] + live)
    for _ in range(RELOADS):
        reader.leave()
        missed = [next(numbers) for _ in range(3)]
        reader.open()
        reader.expect(missed)
        live = [next(numbers)]
        reader.expect(missed + live)


def test_reloads_in_a_row_lose_and_double_nothing(page: Page, daemon: Daemon, numbers: Iterator[int]) -> None:
    reader = Reader(page, daemon, "websocket")
    reader.open()
    for _ in range(RELOADS):  # each page is left as soon as it has begun, while messages arrive
        last = [next(numbers) for _ in range(3)][-1]
        reader.open()
    page.wait_for_function("last => all().at(-1) === last", arg=last)
    assert page.evaluate("[all(), gaps]") == [list(range(last + 1)), []]


def test_closed_and_reopened_page_begins_anew(page: Page, daemon: Daemon, numbers: Iterator[int]) -> None:
    first = [next(numbers) for _ in range(3)]
    reader = Reader(page, daemon, "websocket")
    reader.open()
    reader.expect(first[-2:])
    page.close()
    daemon.wait_for_subscribers("reload", 0)
    missed = [next(numbers) for _ in range(3)]
    again = Reader(page.context.new_page(), daemon, "websocket")
    again.open()
    again.expect(missed[-2:])


def test_reloaded_tab_that_shares_a_connection_receives_what_it_missed(
    page: Page, daemon: Daemon, numbers: Iterator[int]
) -> None:
    leader, reader = (Reader(each, daemon, "websocket", is_shared=True) for each in (page, page.context.new_page()))
    leader.open()
    reader.open()
    received = [next(numbers)]
    reader.expect(received)
    reader.leave(1)
    missed = [next(numbers) for _ in range(3)]
    reader.open()
    reader.expect(missed)
    leader.expect(received + missed)
    reader.open()
    reader.expect([next(numbers)])
