"""The client in Chromium renews its token in place, over each transport."""

import base64
import json
import os
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Page
from pushd_client import issue_token

from tests.browser.daemon import Daemon, wait

pytestmark = [pytest.mark.system, pytest.mark.slow]

SECRET = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
CASES = [("websocket", 32, 3), ("sse", 32, 3), ("longpoll", 2, 1)]
"""Transports, how long tokens live, and how often they are renewed. Streams announce their end 30 seconds before it; a
poll is refused 10 seconds after it.
"""
RENEWAL_SECONDS = 60.0
OPEN = """async (transport) => {
  const { connect } = await import("/client.js");
  window.received = [];
  window.events = [];
  window.tokens = 0;
  window.client = connect("/", { transports: [transport], token: () => { tokens++; return newToken(); } });
  for (const type of ["state", "gap", "error"]) client.on(type, (detail) => events.push([type, detail.state]));
  const subscription = client.subscribe("renewals", ({ data }) => received.push(data));
  await new Promise((resolve) => subscription.on("begin", resolve));
}"""


def new_token(seconds: int) -> str:
    """Return a token for everything."""
    grant = {"subscribe": ["**"], "publish": ["**"], "operate": ["*"]}
    return issue_token(secret=SECRET, sub="page", aud="pushd", iss="https://test", grant=grant, ttl=seconds)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that accepts the tokens of the test."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "secret").write_text(SECRET)
    config = '[auth.issuer.test]\nissuer = "https://test"\naudience = ["pushd"]\nalgorithms = ["HS256"]\n'
    headers = {"Authorization": f"Bearer {new_token(3600)}"}
    daemon = Daemon(folder, f'{config}secret_files = ["{folder / "secret"}"]\n', headers).start()
    yield daemon
    daemon.stop()


def connections(daemon: Daemon) -> list[str]:
    """Return the ids of all connections."""
    return [each["id"] for each in json.loads(daemon.request("GET", "/connections")[1])]


@pytest.mark.parametrize(("transport", "seconds", "renewals"), CASES)
def test_short_tokens_are_renewed_in_place(
    page: Page, page_errors: list[str], daemon: Daemon, transport: str, seconds: int, renewals: int
) -> None:
    page.expose_function("newToken", lambda: new_token(seconds))
    page.goto(f"{daemon.url}/demo/")
    page.evaluate(OPEN, transport)
    daemon.wait_for_subscribers("renewals")
    before = connections(daemon)
    numbers = count()

    def are_renewed() -> bool:
        daemon.publish("renewals", str(next(numbers)), "application/json")
        return bool(page.evaluate("tokens") > renewals)

    wait(are_renewed, f"{renewals} renewals", RENEWAL_SECONDS)
    if transport == "longpoll":
        assert page_errors.pop().count("401") == 1
    else:
        assert connections(daemon) == before
    are_renewed()
    expected = list(range(next(numbers)))
    page.wait_for_function("count => received.length === count", arg=len(expected))
    assert page.evaluate("received") == expected
    assert page.evaluate("events") == [["state", "connecting"], ["state", "open"]]
    page.evaluate("client.close()")
