"""Frames of Pushlet in Chromium and Firefox: an endless page calls `parent.push`, and loads the next page by itself."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon, wait
from tests.browser.firefox import Firefox
from tests.clients.js.cutting_proxy import CuttingProxy

pytestmark = [pytest.mark.system, pytest.mark.slow]

CUTS = range(4500, 4900, 111)
"""After how many bytes connections are cut: a page has about 3,000 before its first message."""
COUNT = 80
OPEN = """(() => {
  window.events = []; window.forged = 0;
  window.push = (...words) => events.push(words.join(" "));
  const frame = document.createElement("iframe");
  frame.src = "/pushlet.srv?p_event=join-listen&p_subject=/a";
  document.body.append(frame);
  return 0;
})()"""
HOSTILE = "</script><script>parent.forged = 1</script><!-- \u2028"


@pytest.fixture(scope="module")
def pushlet_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that answers Pushlet, and sends a heartbeat every second."""
    config = '[dialects]\nenable = ["pushlet"]\n[keepalive]\nstream = 1\n'
    daemon = Daemon(tmp_path_factory.mktemp("pushlet"), config).start()
    yield daemon
    daemon.stop()


def check_frame(daemon: Daemon, evaluate: Callable[[str], Any]) -> None:
    def sees(word: str) -> None:
        wait(lambda: word in evaluate("events.join('|')"), f"an event with {word}", 20)

    evaluate(OPEN)
    daemon.wait_for_subscribers("a")
    sees("join-listen-ack")
    daemon.publish("a", HOSTILE)
    daemon.publish("a", "first")
    sees("first")
    daemon.cut("a")
    daemon.publish("a", "while it was away")
    sees("while it was away")
    sees("hb")
    daemon.kill()
    daemon.start()
    sees("no such session")
    assert evaluate("events.filter(event => event.includes('p_event data')).length") == 3, "each message came once"
    assert evaluate("forged") == 0


def test_chromium(page: Page, pushlet_daemon: Daemon, page_errors: list[str]) -> None:
    page.goto(f"{pushlet_daemon.url}/demo/")
    check_frame(pushlet_daemon, page.evaluate)
    assert all("ERR_" in error or "400" in error for error in page_errors), page_errors
    page_errors.clear()


def test_firefox(firefox: Firefox, pushlet_daemon: Daemon) -> None:
    firefox.navigate(f"{pushlet_daemon.url}/demo/")
    check_frame(pushlet_daemon, firefox.evaluate)


def test_cuts_lose_and_double_nothing(page: Page, pushlet_daemon: Daemon, page_errors: list[str]) -> None:
    with CuttingProxy(pushlet_daemon.port, [10_000, *CUTS]) as proxy:  # the first connection is that of the page
        page.goto(f"{proxy.url}/health/live")
        page.evaluate(OPEN.replace("/a", "/cuts"))
        pushlet_daemon.wait_for_subscribers("cuts")
        for number in range(COUNT):
            pushlet_daemon.publish("cuts", f"number={number};")
        wait(lambda: f"number={COUNT - 1};" in page.evaluate("events.join()"), "the last message", 60)
        assert proxy.cuts >= len(CUTS) - 1
    assert re.findall(r"number=(\d+);", page.evaluate("events.join()")) == [str(number) for number in range(COUNT)]
    page_errors.clear()
