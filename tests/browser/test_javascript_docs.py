"""docs/javascript.md, as it is: its pages and scripts in Chromium."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.daemon import Daemon, wait
from tests.daemon.real import ROOT

pytestmark = pytest.mark.system

BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/javascript.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
PAGES = [text for kind, text in BLOCKS if kind == "html"]
CALLBACK, ITERATOR, PUBLISH, REQUEST, PRESENCE, TOKEN = [text for kind, text in BLOCKS if kind == "js"]
OPEN = """async () => {
  const { connect } = await import("/client.js");
  Object.assign(window, { connect, client: connect("/"), shown: [], show: (value) => shown.push(value) });
}"""

SHOW = """html => {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const old of template.content.querySelectorAll("script")) { // parsed as data, so it does not run
    const script = document.createElement("script");
    for (const { name, value } of old.attributes) script.setAttribute(name, value);
    script.textContent = old.textContent;
    old.replaceWith(script);
  }
  document.body.replaceChildren(template.content);
}"""


@pytest.fixture
def run(page: Page, daemon: Daemon) -> Callable[[str], None]:
    """Run a script in a page with a client."""
    page.goto(f"{daemon.url}/health/live")
    page.evaluate(OPEN)
    return lambda script: page.evaluate(f"(async () => {{ {script} }})()")


def load(page: Page, daemon: Daemon, html: str) -> None:
    """Show a page of the document as one of the daemon's own."""
    page.goto(f"{daemon.url}/health/live")
    page.evaluate(SHOW, html)


def test_page_shows_news(page: Page, daemon: Daemon) -> None:
    load(page, daemon, PAGES[0])
    wait(lambda: json.loads(daemon.request("GET", "/connections?channel=news/sport")[1]), "a subscriber")
    daemon.publish("news/sport", "goal")
    expect(page.locator("#news")).to_have_text("goal")


def test_callback_and_iterator(page: Page, daemon: Daemon, run: Callable[[str], None]) -> None:
    daemon.publish("chat/42", "before")
    run(CALLBACK)
    page.wait_for_function("shown.length === 1")
    assert page.evaluate("shown[0].data") == "before"
    daemon.publish("answers/1", "one")
    daemon.publish("answers/1", "two", end=1)
    run("shown.length = 0;" + ITERATOR)
    assert page.evaluate("shown") == ["one", "two"]


def test_publish_and_request(daemon: Daemon, page: Page, run: Callable[[str], None]) -> None:
    run("client.subscribe('chat/42', (m) => show(m.data.text ?? m.data))")
    daemon.wait_for_subscribers("chat/42")
    run(PUBLISH)
    page.wait_for_function("shown.length === 2")
    assert page.evaluate("shown") == ["hello", "typing"]
    lines = REQUEST.splitlines()
    run("\n".join(lines[:2]))
    daemon.wait_for_subscribers("clock")
    run(lines[2] + "show(now)")
    assert page.evaluate("shown[2]") > 0


def test_presence(page: Page, run: Callable[[str], None]) -> None:
    run(PRESENCE)
    page.wait_for_function("shown.some(([name]) => name === 'Alice')")


def test_token(page: Page, run: Callable[[str], None]) -> None:
    run(TOKEN + "show(secured.state)")
    assert page.evaluate("shown") == ["idle"]


def test_element_puts_html_into_its_target(page: Page, daemon: Daemon) -> None:
    daemon.publish("score", "<i>1:0</i>")
    load(page, daemon, PAGES[1])
    expect(page.locator("#score i")).to_have_text("1:0")
    daemon.publish("score", "<i>2:0</i>")
    expect(page.locator("#score i")).to_have_text("2:0")
