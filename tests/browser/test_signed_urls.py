"""Signed URLs in Chromium: an EventSource, and a polyfill, that reconnect after the URL has expired for others."""

import time
from collections.abc import Iterator
from hashlib import sha256

import pytest
from playwright.sync_api import Page
from pushd_client import sign_url

from tests.auth.signed_url_vectors import SECRET
from tests.browser.daemon import Daemon, wait
from tests.browser.screen import open_blank
from tests.programs import find_node_package

pytestmark = [pytest.mark.system, pytest.mark.slow]

RECONNECT_SECONDS = 30.0
"""The daemon announces a delay of three seconds."""
SECONDS = 10
"""How long the URLs may be used first."""
TOKEN = "a token of a test"
SUBSCRIBE = """([kind, address]) => {
  window.received = [];
  window.failed = false;
  window.events = new window[kind](address);
  events.addEventListener("message", event => received.push(event.data));
  events.addEventListener("error", () => { failed = events.readyState === 2; });
}"""


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that accepts signed URLs, and the token of the test."""
    folder = tmp_path_factory.mktemp("signing")
    (folder / "web.key").write_bytes(SECRET)
    (folder / "tokens.toml").write_text(f"""[test]
sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
sub = "test"
subscribe = ["**"]
publish = ["**"]
operate = ["*"]
""")
    config = '[auth]\ntokens_file = "tokens.toml"\n[auth.url_keys]\nweb = "web.key"\n'
    daemon = Daemon(folder, config, {"Authorization": f"Bearer {TOKEN}"}).start()
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("kind", ["EventSource", "EventSourcePolyfill"])
def test_reconnect_after_exp_and_before_until_misses_nothing(
    page: Page, page_errors: list[str], signing: Daemon, kind: str
) -> None:
    channel = f"signed/{kind}"
    open_blank(page, signing)
    if kind == "EventSourcePolyfill":
        page.add_script_tag(path=find_node_package("event-source-polyfill") / "src" / "eventsource.js")
    now = int(time.time())
    url, unused = (
        sign_url(f"/sse/{topic}", ("web", SECRET), exp=now + SECONDS, until=now + 600) for topic in (channel, "other")
    )
    page.evaluate(SUBSCRIBE, [kind, url])
    signing.wait_for_subscribers(channel)
    signing.publish(channel, "first")
    wait(lambda: page.evaluate("received") == ["first"], "the first message")
    wait(lambda: time.time() > now + SECONDS, "the end of the first use")
    signing.cut(channel)
    signing.publish(channel, "missed")
    signing.wait_for_subscribers(channel, seconds=RECONNECT_SECONDS)
    signing.publish(channel, "live")
    wait(lambda: len(page.evaluate("received")) >= 3, "three messages")
    assert page.evaluate("received") == ["first", "missed", "live"]
    assert page_errors == []
    page.evaluate("events.close()")
    page.evaluate(SUBSCRIBE, ["EventSource", unused])
    wait(lambda: page.evaluate("failed"), "the refusal")
    assert "401" in page_errors.pop()
