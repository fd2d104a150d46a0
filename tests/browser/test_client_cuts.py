"""The client in Chromium, behind a proxy that cuts each WebSocket after another number of bytes: nothing is lost or
doubled. tests/clients/js has the same for Node.js and all transports.
"""

import json
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.daemon import Daemon, wait
from tests.clients.js.cutting_proxy import CuttingProxy

pytestmark = [pytest.mark.system, pytest.mark.slow]

MOST_BYTES = 1500
SECONDS = 240.0
FOLLOW = """async (url, channel) => {
  const { connect } = await import("/client.js");
  const options = { delay: 0.003, maxDelay: 0.006, transports: ["websocket"] };
  const direct = connect("/");
  const gaps = [];
  const follow = async (client) => {
    const received = [];
    client.on("gap", (gap) => gaps.push(gap));
    const subscription = client.subscribe(channel, (message) => {
      received.push(message.data);
      client.wake?.();
    });
    await new Promise((resolve) => subscription.on("begin", resolve));
    return received;
  };
  const wholeClient = connect(url, options);
  const whole = await follow(wholeClient);
  let published = 0;
  const wrong = [];
  window.stop = false;
  for (; !stop; published++) {
    // A client without a cursor: what is published after its begin arrives, wherever it is cut.
    const client = connect(url, options);
    const received = await follow(client);
    const arrived = new Promise((resolve) => (client.wake = resolve));
    await direct.publish(channel, published);
    await arrived;
    client.close();
    if (received.join() !== `${published}`) wrong.push([published, received]);
  }
  while (whole.at(-1) !== published - 1) await new Promise((resolve) => (wholeClient.wake = resolve));
  wholeClient.close();
  const isWhole = whole.every((number, index) => number === index) && whole.length === published;
  return JSON.stringify({ wrong, gaps, whole: isWhole ? "" : whole.join() });
}"""


def alternating() -> list[int]:
    """Return numbers of bytes, small and great ones in turn: browsers delay WebSockets after several failures."""
    numbers = list(range(1, MOST_BYTES))
    half = len(numbers) // 2
    return [number for pair in zip(numbers[:half], numbers[half:], strict=False) for number in pair]


def check(daemon: Daemon, evaluate: Callable[[str], Any], channel: str) -> int:
    """Follow a channel in a page of the daemon with cuts, until each was made; return their number."""
    left: Iterator[int] = iter(alternating())
    with CuttingProxy(daemon.port, left) as proxy:
        evaluate(f"window.result = '', ({FOLLOW})('{proxy.url}', '{channel}').then(r => result = r), 0")
        wait(lambda: length_hint(left) == 0, "all cuts", SECONDS)
        evaluate("window.stop = true")
        result = wait(lambda: evaluate("result"), "the last message")
    assert json.loads(result) == {"wrong": [], "gaps": [], "whole": ""}
    return proxy.cuts


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that pages may use by way of the proxy."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), '[http]\nallow_origins = ["*"]\n').start()
    yield daemon
    daemon.stop()


def test_cuts_at_every_byte_lose_and_double_nothing(chromium: Browser, daemon: Daemon) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(f"{daemon.url}/health/live")
        assert check(daemon, page.evaluate, "chromium/cuts") > MOST_BYTES / 2
    finally:
        context.close()
