"""Makes docs/images/first-minute.png, the picture of README.md: `python -m tests.browser.picture`.

It runs what the picture shows: a daemon, curl, telnet and pushctl, and Chromium with the page /demo/chat.
"""

import html
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_chromium
from tests.pages.dialog import Dialog
from tests.pages.sandbox import Sandbox
from tests.pages.shell import Shell

FILE: Final = Path(__file__).parents[2] / "docs/images/first-minute.png"
_CURL: Final = "curl -N localhost:8080/sse/demo/chat"
_TELNET: Final = "telnet localhost 8081"
_CTL: Final = "pushctl sub demo/chat --since all"
_PUBLISH: Final = "curl -d 'Hello from the shell' localhost:8080/pub/demo/chat"
_HEIGHT: Final = 560
_STYLE: Final = """
body { margin: 0; padding: 12px; background: #d7dce3; font: 13px/1.35 monospace; }
pre { margin: 0 0 10px; padding: 9px 12px; background: #14181f; color: #dfe5ee; border-radius: 6px;
      white-space: pre-wrap; word-break: break-all; }
b { color: #8fd18b; font-weight: normal; }
"""


def make(folder: Path, file: Path) -> None:
    """Make the picture.

    :param folder: an empty directory for the programs.
    """
    sandbox = Sandbox(folder / "sandbox")
    shell = Shell(sandbox)
    dialog = None
    try:
        shell.start("twistd -n --pidfile= pushd").wait_for(".* pushd .* has started: .*")
        stream = shell.start(_CURL)
        stream.wait_for("data: .*")
        dialog = Dialog(
            "", _TELNET, "SUB demo/chat\n+OK SUB demo/chat cursor=…\nMSG demo/chat … Hello from the shell", sandbox
        )
        assert not dialog.advance(0.5)
        lines = shell.start(_CTL)
        with running_chromium() as chromium:
            page = _open(chromium, 480)
            page.goto(f"http://localhost:{sandbox.ports[8080]}/demo/chat")
            expect(page.get_by_text("connected")).to_be_visible()
            receipt, status = shell.run(_PUBLISH)
            assert status == 0
            expect(page.locator("li").get_by_text("Hello from the shell")).to_be_visible()
            lines.wait_for("Hello from the shell")
            stream.wait_for("data: Hello from the shell")
            assert dialog.advance(30)
            page.screenshot(path=folder / "page.png")
            shells = _open(chromium, 640)
            texts = {_PUBLISH: receipt, _CURL: stream.output, _TELNET: _typed(dialog.output), _CTL: lines.output}
            shells.set_content(f"<style>{_STYLE}</style>" + "".join(map(_pane, texts, texts.values())))
            shells.screenshot(path=folder / "shells.png")
    finally:
        if dialog is not None:
            dialog.close()
        shell.close()
    _join(folder / "shells.png", folder / "page.png", file)


def _open(chromium: Browser, width: int) -> Page:
    return chromium.new_context(viewport={"width": width, "height": _HEIGHT}).new_page()


def _typed(received: str) -> str:
    """Return what telnet shows: what was received, and the line that was typed."""
    return received.replace("+OK SUB", "SUB demo/chat\n+OK SUB", 1)


def _pane(command: str, output: str) -> str:
    """Return a command and its output as HTML."""
    return f"<pre><b>$ {html.escape(command)}</b>\n{html.escape(output.strip())}</pre>"


def _join(left: Path, right: Path, file: Path) -> None:
    """Join two pictures side by side."""
    with Image.open(left) as shells, Image.open(right) as page:
        joined = Image.new("RGB", (shells.width + page.width, _HEIGHT), "white")
        joined.paste(shells, (0, 0))
        joined.paste(page, (shells.width, 0))
        joined.quantize(64).save(file, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary), Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
