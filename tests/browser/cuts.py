"""Pages with the client, behind a proxy that cuts each connection after another number of bytes."""

import json
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

from tests.browser.daemon import Daemon, wait
from tests.clients.js.cutting_proxy import CuttingProxy

MOST_BYTES = 2000
"""More than the daemon has sent when the first message has arrived, over each transport."""
SECONDS = 240.0
FOLLOW = """async (url, channel, transport) => {
  const { connect } = await import("/client.js");
  const options = { delay: 0.003, maxDelay: 0.006, transports: [transport] };
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

PUBLISH = """async (url, channel) => {
  const { connect } = await import("/client.js");
  const received = [];
  const direct = connect("/");
  const subscription = direct.subscribe(channel, (message) => {
    received.push(message.data);
    direct.wake?.();
  });
  await new Promise((resolve) => subscription.on("begin", resolve));
  const client = connect(url, { delay: 0.003, maxDelay: 0.006 });
  let published = 0;
  window.stop = false;
  while (!stop) await client.publish(channel, published++);
  while (received.at(-1) !== published - 1) await new Promise((resolve) => (direct.wake = resolve));
  direct.close();
  const isWhole = received.every((number, index) => number === index) && received.length === published;
  return isWhole ? "whole" : received.join();
}"""


def alternating(step: int = 1) -> list[int]:
    """Return numbers of bytes, small and great ones in turn: browsers delay WebSockets after several failures."""
    numbers = list(range(1, MOST_BYTES, step))
    half = len(numbers) // 2
    return [number for pair in zip(numbers[:half], numbers[half:], strict=False) for number in pair]


def check_cuts(daemon: Daemon, evaluate: Callable[[str], Any], transport: str, budgets: list[int]) -> int:
    """Follow a channel in a page of the daemon with cuts, until each was made; return their number.

    The client tries again until it has its cursor, then a message is published, which has to arrive once.
    """
    result, cuts = _run(daemon, evaluate, FOLLOW, [f"cuts/{transport}", transport], budgets)
    assert json.loads(result) == {"wrong": [], "gaps": [], "whole": ""}
    return cuts


def check_publishes(daemon: Daemon, evaluate: Callable[[str], Any], budgets: list[int]) -> int:
    """Publish in a page of the daemon with cuts, until each was made; return their number."""
    result, cuts = _run(daemon, evaluate, PUBLISH, ["cuts/publish"], budgets)
    assert result == "whole"
    return cuts


def _run(
    daemon: Daemon, evaluate: Callable[[str], Any], script: str, arguments: list[str], budgets: list[int]
) -> tuple[str, int]:
    """Call a function in a page until each cut was made; return its result, and the number of cuts."""
    left: Iterator[int] = iter(budgets)
    with CuttingProxy(daemon.port, left) as proxy:
        call = f"({script})(...{json.dumps([proxy.url, *arguments])})"
        evaluate(f"window.result = '', {call}.then(r => result = r, e => result = `${{e}} ${{e.stack}}`), 0")
        wait(lambda: length_hint(left) == 0 or evaluate("result"), "all cuts", SECONDS)
        evaluate("window.stop = true")
        result = wait(lambda: evaluate("result"), "the last message")
    return str(result), proxy.cuts
