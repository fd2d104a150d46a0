"""The clients of CometD and faye in Chromium, which are cut again and again, receive everything once and in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from tests.browser.daemon import Daemon
from tests.browser.screen import open_blank
from tests.programs import find_node_package
from tests.system.bayeux import CuttingRelay

pytestmark = [pytest.mark.system, pytest.mark.slow]

COMETD = """async ([transport, name]) => {
  const { CometD } = await import("/npm/cometd/cometd.js");
  const { AckExtension } = await import("/npm/cometd/AckExtension.js");
  const client = new CometD(name);
  for (const type of client.getTransportTypes()) if (type !== transport) client.unregisterTransport(type);
  client.registerExtension("ack", new AckExtension({ cometd: client }));
  client.configure({ url: location.origin + "/cometd", backoffIncrement: 50, maxBackoff: 100, logLevel: "error" });
  window.received = [];
  await new Promise((done) => client.handshake((reply) => {
    client.subscribe("/room/a", (message) => received.push(message.data), done);
  }));
}"""
FAYE = """async ([transport]) => {
  const client = new Faye.Client(location.origin + "/bayeux", { retry: 0.05 });
  for (const type of ["websocket", "eventsource", "long-polling"]) if (type !== transport) client.disable(type);
  window.received = [];
  await client.subscribe("/room/a", (data) => received.push(data));
}"""


@pytest.fixture
def bayeux(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that serves Bayeux."""
    daemon = Daemon(tmp_path, '[dialects]\nenable = ["bayeux"]\n').start()
    try:
        yield daemon
    finally:
        daemon.stop()


def serve_package(route: Route) -> None:
    """Answer a request for a file of a package of npm."""
    name, _, path = route.request.url.partition("/npm/")[2].partition("/")
    route.fulfill(path=find_node_package(name) / path, content_type="text/javascript")


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
def test_cometd_that_is_cut(page: Page, page_errors: list[str], bayeux: Daemon, transport: str) -> None:
    relay = CuttingRelay(bayeux.port)
    page.route("**/npm/**", serve_package)
    page.goto(f"http://127.0.0.1:{relay.port}/health/live")
    page.evaluate(COMETD, [transport, transport])
    for number in range(20):
        for count in range(50):
            bayeux.publish("room/a", str(number * 50 + count))
        relay.cut()
    page.wait_for_function("received.length >= 1000", timeout=60_000)
    assert page.evaluate("received") == [str(number) for number in range(1000)]
    relay.close()
    page.goto("about:blank")
    page_errors.clear()  # of the connections that were cut


RELOAD = """async (transport) => {
  const { CometD } = await import("/npm/cometd/cometd.js");
  const { AckExtension } = await import("/npm/cometd/AckExtension.js");
  const { ReloadExtension } = await import("/npm/cometd/ReloadExtension.js");
  const client = window.client = new CometD();
  client.registerExtension("ack", new AckExtension({ cometd: client }));
  for (const type of client.getTransportTypes()) if (type !== transport) client.unregisterTransport(type);
  client.registerExtension("reload", new ReloadExtension({ cometd: client }));
  client.configure({ url: location.origin + "/cometd", logLevel: "error" });
  window.received = [];
  await new Promise((done) => client.handshake(() => {
    client.subscribe("/room/a", (message) => received.push(message.data), done);
  }));
  return client.getClientId();
}"""


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
def test_session_survives_a_reload_of_the_page(page: Page, bayeux: Daemon, transport: str) -> None:
    page.route("**/npm/**", serve_package)
    page.goto(f"http://127.0.0.1:{bayeux.port}/health/live")
    id = page.evaluate(RELOAD, transport)
    bayeux.publish("room/a", "before")
    page.wait_for_function("received.length >= 1")
    page.evaluate("client.reload()")
    page.reload()
    bayeux.publish("room/a", "meanwhile")
    assert page.evaluate(RELOAD, transport) == id
    bayeux.publish("room/a", "after")
    page.wait_for_function("received.includes('after')")
    assert page.evaluate("received")[-2:] == ["meanwhile", "after"]
    page.goto("about:blank")


@pytest.mark.parametrize("transport", ["callback-polling"])
def test_cometd_by_scripts(page: Page, bayeux: Daemon, transport: str) -> None:
    page.route("**/npm/**", serve_package)
    open_blank(page, bayeux)
    page.evaluate(COMETD, [transport, transport])
    bayeux.publish("room/a", "</script>\u2028")
    page.wait_for_function("received.length >= 1")
    assert page.evaluate("received") == ["</script>\u2028"]


@pytest.mark.parametrize("transport", ["eventsource", "long-polling", "websocket"])
def test_faye(page: Page, bayeux: Daemon, transport: str) -> None:
    open_blank(page, bayeux)
    page.add_script_tag(path=find_node_package("faye") / "client" / "faye-browser.js")
    page.evaluate(FAYE, [transport])
    for number in range(5):
        bayeux.publish("room/a", str(number))
    page.wait_for_function("received.length >= 5")
    assert page.evaluate("received") == ["0", "1", "2", "3", "4"]
    page.goto("about:blank")
