"""`<pushd-source>` in Chromium with the libraries that it is for: htmx, in both of its generations, and Turbo."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon
from tests.browser.screen import open_blank
from tests.programs import find_node_package

pytestmark = pytest.mark.system

HTMX = ("htmx.org", "htmx2")
LOAD = """([daemon, html]) => {
  document.body.innerHTML = html;
  globalThis.htmx?.process(document.body);
  return import(daemon + "/client-element.js");
}"""


def load(page: Page, daemon: Daemon, library: Path, html: str) -> None:
    """Show a page with a library and the element."""
    open_blank(page, daemon)
    page.add_script_tag(path=library)
    page.evaluate(LOAD, [daemon.url, html])


@pytest.mark.parametrize("package", HTMX)
def test_htmx_swaps_messages_and_is_triggered_by_them(page: Page, daemon: Daemon, package: str) -> None:
    channel = f"elements/{package}"
    html = f"""
      <pushd-source topics="{channel}" target="#list" swap="beforeend"></pushd-source>
      <ul id="list"></ul><b id="count"></b>
      <p id="answer" hx-get="/health/live" hx-trigger="message from:pushd-source"></p>"""
    load(page, daemon, find_node_package(package) / "dist" / "htmx.js", html)
    daemon.wait_for_subscribers(channel)
    for number in ("1", "2"):
        daemon.publish(channel, f"<li>{number}</li><b id='count' hx-swap-oob='true'>{number} of 2</b>")
    expect(page.locator("#list li")).to_have_text(["1", "2"])
    expect(page.locator("#count")).to_have_text("2 of 2")
    expect(page.locator("#list b")).to_have_count(0)
    expect(page.locator("#answer")).to_contain_text("live")


def test_turbo_renders_messages_as_streams(page: Page, daemon: Daemon) -> None:
    library = find_node_package("@hotwired/turbo") / "dist" / "turbo.es2017-umd.js"
    html = '<pushd-source topics="elements/turbo" turbo></pushd-source><ul id="list"></ul>'
    load(page, daemon, library, html)
    daemon.wait_for_subscribers("elements/turbo")
    stream = '<turbo-stream action="{}" target="{}"><template><li id="one">{}</li></template></turbo-stream>'
    daemon.publish("elements/turbo", stream.format("append", "list", "first"))
    expect(page.locator("#list li")).to_have_text(["first"])
    daemon.publish("elements/turbo", stream.format("replace", "one", "second"))
    expect(page.locator("#list li")).to_have_text(["second"])
    page.locator("pushd-source").evaluate("element => element.remove()")
    daemon.wait_for_subscribers("elements/turbo", 0)
