"""`python -m tests.soak.client_tokens --minutes 60`: the browser client receives every message once, with short tokens.

A page of headless Chromium has a client for each transport. The tokens of all live for a minute. In part of the run the
page gets no new tokens, so that its connections end and have to be resumed with the next one.
"""

import base64
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page
from pushd_client import issue_token

from tests.browser.conftest import running_chromium
from tests.browser.daemon import Daemon
from tests.soak.expiring_tokens import compare

TRANSPORTS: Final = ("websocket", "sse", "longpoll")
_TOKEN_SECONDS: Final = 60
_PAUSE_MS: Final = 1000
"""Between two messages."""
_CYCLE_SECONDS: Final = 300
"""How often the page gets no new tokens."""
_BLOCKED_SECONDS: Final = 120
"""For how long: longer than a token and the grace after it."""
_SETTLE_SECONDS: Final = 60
"""The time in which the last messages must arrive: a client waits for up to 30 seconds before it connects again."""
_REPORT_EVERY: Final = 60
_CLIENTS = """async transports => {
  const {connect} = await import("/client.js");
  window.shown = {};
  window.counts = {};
  for (const transport of transports) {
    const shown = window.shown[transport] = [], counts = window.counts[transport] = {begin: 0, gap: 0, expiring: 0};
    const client = connect("/", {transports: [transport], token: async () => {
      const token = await window.newToken();
      if (!token) throw new Error("no token at present");
      return token;
    }});
    client.on("expiring", () => counts.expiring += 1);
    const subscription = client.subscribe("soak", {since: "all"}, ({data}) => shown.push(data));
    subscription.on("begin", () => counts.begin += 1);
    subscription.on("gap", () => counts.gap += 1);
  }
}"""


class Tokens:
    """Issues the tokens of the page."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self.is_blocked = False
        self.issued = 0

    def new(self, seconds: int = _TOKEN_SECONDS) -> str:
        """Return a token; an empty string while the page gets none."""
        if self.is_blocked:
            return ""
        self.issued += 1
        grant = {"subscribe": ["soak"], "publish": ["soak"]}
        return issue_token(
            secret=self._secret, sub="soak", aud="pushd", iss="https://soak.test", grant=grant, ttl=seconds
        )


def run(minutes: float) -> int:
    """Run the clients for some minutes; return the number of faults."""
    with tempfile.TemporaryDirectory() as directory, running_chromium() as chromium:
        folder = Path(directory)
        secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
        (folder / "issuer.secret").write_text(secret)
        config = (
            '[auth.issuer.soak]\nissuer = "https://soak.test"\naudience = ["pushd"]\nalgorithms = ["HS256"]\n'
            f'secret_files = ["{folder / "issuer.secret"}"]\n'
        )
        tokens = Tokens(secret)
        publisher = {"Authorization": f"Bearer {tokens.new(int(60 * minutes) + 3600)}"}
        daemon = Daemon(folder, config, publisher).start()
        try:
            page = chromium.new_page()
            page.expose_function("newToken", tokens.new)
            page.goto(daemon.url)
            page.evaluate(_CLIENTS, list(TRANSPORTS))
            published = _publish(page, daemon, tokens, 60 * minutes)
            faults = _report(page, tokens, published)
        finally:
            daemon.stop()
    return faults


def _publish(page: Page, daemon: Daemon, tokens: Tokens, seconds: float) -> int:
    """Publish a number each second; return how many."""
    begin, published = time.monotonic(), 0
    while (elapsed := time.monotonic() - begin) < seconds:
        tokens.is_blocked = elapsed % _CYCLE_SECONDS > _CYCLE_SECONDS - _BLOCKED_SECONDS
        daemon.publish("soak", str(published), "application/json")
        published += 1
        if published % _REPORT_EVERY == 0:
            print(f"{elapsed:.0f} s: {published} messages published", flush=True)
        page.wait_for_timeout(_PAUSE_MS)
    tokens.is_blocked = False
    return published


def _report(page: Page, tokens: Tokens, published: int) -> int:
    """Print what each client has received; return the number of faults."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    shown: dict[str, list[int]] = page.evaluate("window.shown")
    while any(len(each) < published for each in shown.values()) and time.monotonic() < deadline:
        page.wait_for_timeout(_PAUSE_MS)
        shown = page.evaluate("window.shown")
    counts: Any = page.evaluate("window.counts")
    total = 0
    for transport in TRANSPORTS:
        faults = compare(shown[transport], published)
        total += sum(faults) + counts[transport]["gap"]
        print(
            f"{transport}: {len(shown[transport])} of {published} messages, {faults}, {counts[transport]}", flush=True
        )
    print(f"{tokens.issued} tokens", flush=True)
    return total


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    sys.exit(1 if run(parser.parse_args().minutes) else 0)
