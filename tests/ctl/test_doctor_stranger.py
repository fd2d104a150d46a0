"""What the doctor finds that a client without a credential may do; and that its requests change nothing."""

import os
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pushd.ctl.api_client import ApiClient
from pushd.ctl.doctor.probe_run import Finding, ProbeReport
from pushd.ctl.doctor.report import format_json, format_text
from pushd.ctl.doctor.stranger import (
    STRANGER_PROBES,
    Level,
    Note,
    Permissions,
    find_permissions,
    is_loopback,
)
from tests.ctl.pushctl_process import SECONDS
from tests.daemon.real import Daemon, eventually

ALL = tuple(probe.action for probe in STRANGER_PROBES)
GRANTS = {
    "publish": "publish = ['**']",
    "delete channels": "manage = ['**']",
    "list the channels": "operate = ['channels']",
    "list the connections": "operate = ['connections']",
    "close connections": "operate = ['kick']",
    "read the history of all channels": "history = ['**']",
    "subscribe to all channels": "subscribe = ['**']\nhistory = []",
    "read the metrics": "operate = ['metrics']",
}
"""The grant that allows each action and nothing else."""


class ReloadedDaemon:
    """A daemon whose grant for anonymous peers the tests change."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "pushd.toml"
        self._write("")
        self.process = Daemon(folder, "--config", str(self._config))
        self.api = ApiClient(f"http://127.0.0.1:{self.process.http_port}")

    def allow(self, grant: str, *settings: str) -> None:
        """Reload with a grant for anonymous peers."""
        self._write(grant, *settings)
        start = len(self.process.log)
        os.kill(self.process.pid, signal.SIGHUP)
        assert eventually(lambda: "eload" in self.process.log[start:], SECONDS), self.process.log

    def _write(self, grant: str, *settings: str) -> None:
        lines = "\n".join(settings)
        self._config.write_text(f"[auth]\ntokens_file = ''\n{lines}\n[auth.anonymous]\n{grant}\n")


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReloadedDaemon]:
    """A daemon with authentication."""
    daemon = ReloadedDaemon(tmp_path_factory.mktemp("stranger"))
    yield daemon
    daemon.process.assert_healthy()
    daemon.process.stop()


@pytest.mark.system
@pytest.mark.parametrize("action", ALL)
def test_each_right_is_found(reloaded: ReloadedDaemon, action: str) -> None:
    reloaded.allow(GRANTS[action])
    assert find_permissions(reloaded.api) == Permissions((action,), is_loopback=True)


@pytest.mark.system
def test_nothing_is_found_where_nothing_is_allowed_and_nothing_is_changed(reloaded: ReloadedDaemon) -> None:
    reloaded.allow("")
    assert find_permissions(reloaded.api) == Permissions(is_loopback=True)
    reloaded.allow("operate = ['channels']")
    assert reloaded.process.request("GET", "/channels").json()["channels"] == []


@pytest.mark.system
def test_tokens_in_the_query_are_found(tmp_path: Path) -> None:
    config = tmp_path / "pushd.toml"
    config.write_text("[auth]\nquery_tokens = true\n")
    daemon = Daemon(tmp_path, "--config", str(config))
    try:
        found = find_permissions(ApiClient(f"http://127.0.0.1:{daemon.http_port}"))
    finally:
        daemon.stop()
    assert found == Permissions(is_loopback=True, has_query_tokens=True)


@pytest.mark.system
def test_everything_is_found_without_authentication_and_nothing_is_changed(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    try:
        daemon.publish("a", b"kept")
        with daemon.websocket("/ws/a"):
            found = find_permissions(ApiClient(f"http://127.0.0.1:{daemon.http_port}"))
            assert daemon.request("GET", "/channels").json()["channels"] == ["a"]
            assert len(daemon.request("GET", "/connections").json()) == 1
            assert len(daemon.history("a")) == 1
        daemon.assert_healthy()
    finally:
        daemon.stop()
    assert found == Permissions(ALL, is_loopback=True)


@pytest.fixture(params=[200, 302, 401, 403, 404, 429, 502])
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[int, ApiClient]]:
    """A server that is not pushd, which answers everything with one status and HTML."""

    class Page(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(request.param)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"<p/>")

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield request.param, ApiClient(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_of_others_allow_nothing(foreign: tuple[int, ApiClient]) -> None:
    status, api = foreign
    unknown = ALL if status in (429, 502) else ()
    assert find_permissions(api) == Permissions((), unknown, is_loopback=True)


def test_unreachable_address_allows_nothing() -> None:
    api = ApiClient("http://127.0.0.1:1")
    assert find_permissions(api) == Permissions((), ALL, is_loopback=False)
    assert not is_loopback(api)


def test_each_right_is_a_warning_unless_the_address_is_loopback() -> None:
    assert Permissions(("publish", "read the metrics")).notes() == (
        Note(Level.WARNING, "anyone may publish, without a token"),
        Note(Level.WARNING, "anyone may read the metrics, without a token"),
    )
    assert Permissions(("publish", "read the metrics"), is_loopback=True).notes() == (
        Note(Level.INFO, "programs on this machine may, without a token: publish, read the metrics"),
    )
    assert Permissions(is_loopback=True).notes() == Permissions().notes() == ()
    (note,) = Permissions(has_query_tokens=True, is_loopback=True).notes()
    assert (note.level, "auth.query_tokens" in note.text) == (Level.WARNING, True)
    (note,) = Permissions((), ("publish",)).notes()
    assert note == Note(Level.INFO, "no answer to whether anyone may publish")


def test_report_shows_the_notes() -> None:
    notes = Permissions(("publish",)).notes()
    findings = [Finding("publish", [], "summary", 202, 0.0), Finding("stranger", [], "refused", None, None, notes)]
    report = ProbeReport(findings, frozenset(), True, None)
    assert list(format_text(report))[1:] == [
        "publish    fine      summary",
        "stranger   warning   anyone may publish, without a token",
    ]
    first, second = format_json(report)
    assert '"outcome": ["fine"]' in first
    assert '"notes": []' in first
    assert '"outcome": ["warning"]' in second
    assert '"notes": [{"level": "warning", "text": "anyone may publish, without a token"}]' in second
