"""`pushctl health` prints why the daemon is not ready or what is degraded, and exits accordingly."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pushd.ctl.main import main

ANSWERS: dict[str, tuple[int, object]] = {
    "ready": (200, {"ready": True}),
    "degraded": (200, {"ready": True, "degraded": ["callback \x1b[2J fails"]}),
    "down": (503, {"ready": False, "reason": "Redis is unreachable", "degraded": ["hooks"]}),
    "busy": (503, {"error": {"code": "overloaded", "message": "too much to do"}}),
    "else": (404, {"error": {"code": "not-found", "message": "no such address"}}),
}


class FixedAnswers(BaseHTTPRequestHandler):
    """Answers each request as its path names."""

    def do_GET(self) -> None:
        """Answer."""
        status, answer = ANSWERS[self.path.split("/")[1]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the answers."""
    with HTTPServer(("127.0.0.1", 0), FixedAnswers) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "options", "status", "lines"),
    [
        ("ready", ["--strict"], 0, ["ready"]),
        ("degraded", [], 0, ["ready", "degraded: callback \\u001b[2J fails"]),
        ("degraded", ["--strict"], 1, ["ready", "degraded: callback \\u001b[2J fails"]),
        ("down", [], 1, ["not ready: Redis is unreachable", "degraded: hooks"]),
        ("busy", [], 1, ["not ready: too much to do"]),
        ("down", ["--json"], 1, [json.dumps(ANSWERS["down"][1])]),
        ("else", [], 1, []),
    ],
)
def test_state_and_reason(
    url: str, name: str, options: list[str], status: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", f"{url}/{name}", "health", *options]) == status
    assert capsys.readouterr().out.splitlines() == lines
