"""Iframe streaming in Chromium and Firefox: script tags call a function of the page that contains the frame."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.daemon import Daemon, wait
from tests.browser.firefox import Firefox

pytestmark = pytest.mark.system

HOSTILE = "</script><script>parent.forged = 1</script><!-- \u2028 <img src=x onerror='parent.forged = 1'>"
OPEN = """(() => {
  window.received = []; window.loads = 0; window.forged = 0;
  window.onPush = message => received.push(message);
  const frame = document.createElement("iframe");
  frame.onload = () => { loads += 1; };
  frame.src = "/iframe/a?callback=parent.onPush";
  document.body.append(frame);
  return 0;
})()"""
SEEN = "JSON.stringify(received.map(message => message.data || message.type))"
LEFT = "document.querySelector('iframe').contentDocument.scripts.length"


@pytest.fixture(scope="module")
def iframe_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that serves pages for frames."""
    daemon = Daemon(tmp_path_factory.mktemp("iframe"), '[dialects]\nenable = ["iframe"]\n').start()
    yield daemon
    daemon.stop()


def check_page(daemon: Daemon, evaluate: Callable[[str], Any]) -> None:
    daemon.wait_for_subscribers("a")
    daemon.publish("a", "first")
    wait(lambda: "first" in evaluate(SEEN), "a message is shown while the page is loading", 5)
    daemon.publish("a", HOSTILE)
    daemon.publish("a", '{"__proto__": 1, "__proto__": 2}', "application/json")
    wait(lambda: evaluate("received.length") == 3, "the other messages", 5)
    assert evaluate(f"received[1].data === {HOSTILE!r}")
    assert (evaluate("forged"), evaluate(LEFT)) == (0, 1), "the scripts of messages are removed"
    daemon.publish("a", "bye", end=1)
    wait(lambda: evaluate("loads") == 1, "the frame has loaded, since the page has ended", 5)
    assert evaluate("received[received.length - 1].type") == "end"
    daemon.delete_channel("a")


def test_chromium(page: Page, iframe_daemon: Daemon) -> None:
    page.goto(f"{iframe_daemon.url}/demo/")
    page.evaluate(OPEN)
    check_page(iframe_daemon, page.evaluate)


def test_firefox(firefox: Firefox, iframe_daemon: Daemon) -> None:
    firefox.navigate(f"{iframe_daemon.url}/demo/")
    firefox.evaluate(OPEN)
    check_page(iframe_daemon, firefox.evaluate)
