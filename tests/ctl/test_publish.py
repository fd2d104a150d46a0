"""When `pushctl pub` sends an Idempotency-Key, and what it repeats."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pushd.ctl.main import main


class Daemon(HTTPServer):
    """Answers publishes as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Publishes)
        self.ids = True
        """Whether the channel keeps its messages."""
        self.failures: list[int] = []
        """The statuses of the next answers; 0: none, the connection is closed."""
        self.requests: list[tuple[str, str | None]] = []
        """The body and the key of each request."""

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Publishes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        daemon = self.server
        assert isinstance(daemon, Daemon)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        daemon.requests.append((body, self.headers["Idempotency-Key"]))
        status = daemon.failures.pop(0) if daemon.failures else 201
        if not status:
            return
        answer: object = {"id": "e-1" if daemon.ids else None, "channel": "a", "subscribers": 0}
        if status >= 400:
            answer = {"error": {"code": "overloaded", "message": "later"}}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon in another thread; nobody waits between repeats."""
    monkeypatch.setattr("pushd.client.core.backoff.Backoff.uniform", staticmethod(lambda low, high: 0.0))
    monkeypatch.setattr("pushd.client.core.backoff.Delays.delay", lambda *_: 0.0)
    with Daemon() as daemon:
        thread = threading.Thread(target=daemon.serve_forever, args=[0.01])
        thread.start()
        yield daemon
        daemon.shutdown()
        thread.join()


def publish_lines(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, *options: str, lines: str = "1\n2\n3\n") -> int:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    return main(["pub", "a", "--lines", "--url", daemon.url, *options])


@pytest.mark.parametrize("line", [1, 2])
def test_line_that_was_not_answered_is_repeated_with_its_key(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, line: int
) -> None:
    daemon.failures = [*[201] * (line - 1), 0, 503]
    assert publish_lines(daemon, monkeypatch) == 0
    expected = ["1", "2", "3"]
    expected[line - 1 : line] = [str(line)] * 3
    assert [body for body, _ in daemon.requests] == expected
    keys = [key for _, key in daemon.requests]
    assert None not in keys
    assert len({*daemon.requests}) == len({*keys}) == 3


@pytest.mark.parametrize("options", [["--retry", "0"], ["--no-keep"]])
def test_message_that_is_not_kept_has_no_key(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.ids = False
    daemon.failures = [201, 0]
    assert publish_lines(daemon, monkeypatch, *options) == 3
    assert daemon.requests == [("1", None), ("2", None)]
    assert "line 2 may have been published, later lines were not" in capsys.readouterr().err


def test_single_message_is_repeated_if_that_is_asked_for(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.failures = [0]
    assert main(["pub", "a", "x", "--url", daemon.url]) == 3
    assert "it may have been published" in capsys.readouterr().err
    daemon.failures = [0, 503]
    assert main(["pub", "a", "x", "--url", daemon.url, "--retry", "30s"]) == 0
    (_, first), *rest = daemon.requests
    keys = {key for _, key in rest}
    assert (first, len(rest), len(keys)) == (None, 3, 1)
    assert None not in keys
