"""`pushctl hooks`: what it prints, and what it asks the daemon for."""

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from pushd.ctl.main import main

HOOK = {
    "name": "app",
    "state": "retrying",
    "failure": "the response has the status 500",
    "backlog": 3,
    "oldest": 1795818000.5,
    "dead": 2,
}
IDLE = HOOK | {"name": "other", "state": "idle", "failure": None, "backlog": 0, "oldest": None, "dead": 0}
ANSWERS = {
    "GET /hooks": [HOOK, IDLE],
    "GET /hooks/app": HOOK,
    "POST /hooks/app/replay": {"hook": "app", "replayed": 2, "cursor": "E-9"},
    "POST /hooks/app/replay?since=E-9": {"hook": "app", "replayed": 0, "cursor": "E-9"},
}
Run = Callable[..., int]


@pytest.fixture
def run() -> Any:
    """Return what runs pushctl against a server with fixed answers."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = json.dumps(ANSWERS[f"{self.command} {self.path}"]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield lambda *words: main(["--url", f"http://127.0.0.1:{server.server_port}", "hooks", *words])
    server.shutdown()
    server.server_close()


def test_list(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out == (
        "app retrying: the response has the status 500; waiting 3 since 2026-11-27 22:20:00 UTC, dead 2\n"
        "other idle; waiting 0, dead 0\n"
    )
    assert run("app", "--json") == 0
    shown: Mapping[str, Any] = json.loads(capsys.readouterr().out)
    assert shown == HOOK


def test_replay(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("app", "--replay") == 0
    assert capsys.readouterr().out == "app: 2 events are sent again; newer ones are after E-9\n"
    assert run("app", "--replay", "--since", "E-9", "--json") == 0
    assert json.loads(capsys.readouterr().out)["replayed"] == 0


@pytest.mark.parametrize("words", [("--replay",), ("app", "--since", "E-9")], ids=" ".join)
def test_options_that_do_not_fit(run: Run, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as exit:
        run(*words)
    assert exit.value.code == 2
