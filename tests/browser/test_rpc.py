"""docs/rpc.md, as it is: pages in Chromium call Python functions, and are called."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page

from tests.browser.daemon import Daemon, wait
from tests.browser.screen import open_blank
from tests.daemon.real import ROOT

pytestmark = pytest.mark.system

BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/rpc.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
SCRIPTS = [text for kind, text in BLOCKS if kind == "js"]
PROGRAMS = [text for kind, text in BLOCKS if kind == "python"]
SECONDS = 20


@pytest.fixture
def rpc(page: Page, daemon: Daemon) -> Page:
    """A page with the client of the document."""
    open_blank(page, daemon)
    page.add_script_tag(content=SCRIPTS[0])
    return page


def start(program: str, daemon: Daemon, folder: Path) -> "subprocess.Popen[str]":
    """Start a program of the document."""
    file = folder / "program.py"
    file.write_text(program, encoding="utf-8")
    environ = os.environ | {"PUSHD_URL": daemon.url, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(file)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def functions(daemon: Daemon, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The functions of the document."""
    process = start(PROGRAMS[0], daemon, tmp_path)
    daemon.wait_for_subscribers("math")
    yield process
    process.kill()
    process.communicate()


def call(page: Page, line: str) -> object:
    """Evaluate a call of the document."""
    return page.evaluate(f"(async () => {{ {SCRIPTS[1].splitlines()[0]} return await server.{line}; }})()")


def test_a_page_calls_python_functions(rpc: Page, functions: "subprocess.Popen[str]") -> None:
    lines = re.findall(r"server\.(call\(.*?\));", SCRIPTS[1])
    assert call(rpc, lines[0]) == 3
    assert call(rpc, 'call("math", "shout", "grüße")') == "GRÜSSE"
    with pytest.raises(Error, match="KeyError"):
        call(rpc, lines[1])
    with pytest.raises(Error, match="no-responders"):
        call(rpc, lines[2])


def test_many_calls_at_once_get_their_own_answers(rpc: Page, functions: "subprocess.Popen[str]") -> None:
    script = "[...Array(50).keys()].map((each) => server.call('math', 'add', each, 100))"
    opened = SCRIPTS[1].splitlines()[0]
    sums = rpc.evaluate(f"(async () => {{ {opened} return await Promise.all({script}); }})()")
    assert sums == [number + 100 for number in range(50)]


def test_a_call_fails_at_once_when_the_program_dies(rpc: Page, functions: "subprocess.Popen[str]") -> None:
    """The program is stopped before it can answer, and then killed."""
    functions.send_signal(19)  # SIGSTOP
    rpc.evaluate(
        f"""(async () => {{ {SCRIPTS[1].splitlines()[0]}
        window.outcome = null;
        server.call("math", "add", 1, 2).catch((error) => {{ window.outcome = error.message; }}); }})()"""
    )
    assert rpc.evaluate("window.outcome") is None
    functions.kill()
    wait(lambda: rpc.evaluate("window.outcome") == "no-reply", "the call fails", 5)


def test_a_server_calls_functions_of_a_page(rpc: Page, daemon: Daemon, tmp_path: Path) -> None:
    rpc.evaluate("document.title = 'My page'")
    rpc.evaluate(f"(async () => {{ {SCRIPTS[2]} }})()")
    caller = start(PROGRAMS[1], daemon, tmp_path)
    out, _ = caller.communicate(timeout=SECONDS)
    assert (out, caller.returncode) == ("My page\n", 0)
    assert rpc.evaluate("document.body.textContent") == "Hello from the server"


def test_curl_calls_functions_of_a_page(rpc: Page, daemon: Daemon) -> None:
    rpc.evaluate("document.title = 'My page'")
    rpc.evaluate(f"(async () => {{ {SCRIPTS[2]} }})()")
    url = f"{daemon.url}/request/pages/alice"
    for body, expected in (
        ('{"call":"title","args":[]}', '{"result":"My page"}'),
        ('{"call":"toString","args":[]}', '{"error":"Error: no function toString"}'),
    ):
        words = ["curl", "-s", "-H", "Content-Type: application/json", "-d", body, url]
        assert subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True).stdout == expected


def test_a_page_that_is_closed_answers_no_more(rpc: Page, daemon: Daemon, tmp_path: Path) -> None:
    rpc.evaluate(f"(async () => {{ {SCRIPTS[2]} }})()")
    rpc.goto("about:blank")
    wait(lambda: daemon.subscribers("pages/alice") == 0, "the page has left", 10)
    caller = start(PROGRAMS[1], daemon, tmp_path)
    out, _ = caller.communicate(timeout=SECONDS)
    assert "no-responders" in out
    assert caller.returncode == 1
