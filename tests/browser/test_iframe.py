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
RECONNECT = """(() => {
  window.received = []; window.cursor = ""; window.retry = null;
  window.onPush = message => {
    clearTimeout(retry);
    cursor = message.cursor || message.id || cursor;
    if (message.data) received.push(message.data);
  };
  window.reconnect = () => {
    clearTimeout(retry);
    retry = setTimeout(() => { open(); reconnect(); }, 500);
  };
  const frame = document.createElement("iframe");
  const open = () => { frame.src = "/iframe/a?begin=1&callback=parent.onPush" + (cursor && "&since=" + cursor); };
  frame.onload = reconnect;
  open();
  document.body.append(frame);
  return 0;
})()"""
LEFT = "document.querySelector('iframe').contentDocument.scripts.length"


@pytest.fixture(scope="module")
def iframe_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that serves pages for frames."""
    config = '[dialects]\nenable = ["iframe"]\n[keepalive]\nstream = 1\n'
    daemon = Daemon(tmp_path_factory.mktemp("iframe"), config).start()
    yield daemon
    daemon.stop()


def check_page(daemon: Daemon, evaluate: Callable[[str], Any]) -> None:
    daemon.wait_for_subscribers("a")
    daemon.publish("a", "first")
    wait(lambda: "first" in evaluate(SEEN), "a message is shown while the page is loading")
    daemon.publish("a", HOSTILE)
    daemon.publish("a", '{"__proto__": 1, "__proto__": 2}', "application/json")
    wait(lambda: evaluate("received.length") == 3, "the other messages")
    assert evaluate(f"received[1].data === {HOSTILE!r}")
    assert (evaluate("forged"), evaluate(LEFT)) == (0, 1), "the scripts of messages are removed"
    daemon.publish("a", "bye", end=1)
    wait(lambda: evaluate("loads") == 1, "the frame has loaded, since the page has ended")
    assert evaluate("received[received.length - 1].type") == "end"
    daemon.delete_channel("a")


def test_chromium(page: Page, iframe_daemon: Daemon) -> None:
    page.goto(f"{iframe_daemon.url}/demo/")
    page.evaluate(OPEN)
    check_page(iframe_daemon, page.evaluate)


@pytest.mark.slow
def test_firefox(firefox: Firefox, iframe_daemon: Daemon) -> None:
    firefox.navigate(f"{iframe_daemon.url}/demo/")
    firefox.evaluate(OPEN)
    check_page(iframe_daemon, firefox.evaluate)


def check_cuts(daemon: Daemon, evaluate: Callable[[str], Any]) -> None:
    """Be killed, which no event of the browser reports, then stopped, which ends the page, and away for a while."""

    def publish(text: str) -> None:
        daemon.publish("a", text)
        wait(lambda: text in evaluate("received.join()"), f"the message {text}")

    for stop in (daemon.kill, daemon.stop):
        daemon.wait_for_subscribers("a")
        publish(f"before {stop.__name__}")
        stop()
        daemon.start()
        publish(f"after {stop.__name__}")
    assert evaluate("received.length") == 4
    daemon.delete_channel("a")


@pytest.mark.slow
def test_chromium_reconnects(page: Page, iframe_daemon: Daemon, page_errors: list[str]) -> None:
    page.goto(f"{iframe_daemon.url}/demo/")
    page.evaluate(RECONNECT)
    check_cuts(iframe_daemon, page.evaluate)
    assert all("ERR_" in error for error in page_errors)
    page_errors.clear()


@pytest.mark.slow
def test_firefox_reconnects(firefox: Firefox, iframe_daemon: Daemon) -> None:
    firefox.navigate(f"{iframe_daemon.url}/demo/")
    firefox.evaluate(RECONNECT)
    check_cuts(iframe_daemon, firefox.evaluate)
