"""SIGHUP reloads the configuration without closing connections."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.real import ROOT, TWISTD, Daemon, eventually
from tests.system.test_tls_and_unix import make_certificate

pytestmark = pytest.mark.system

SETTINGS = """\
[limits]
message = "{message}"
{more}
[source.{source}]
kind = "words"
channel = "words/{source}"
interval = "0.05s"
"""
SECONDS = 30


class Configured(Daemon):
    """A daemon whose configuration file can be changed."""

    def __init__(self, folder: Path, *options: str, **rest: Any) -> None:
        self._file = folder / "pushd.toml"
        self.write()
        super().__init__(folder, "--config", self._file.name, *options, **rest)

    def write(self, message: str = "1KiB", source: str = "first", more: str = "") -> None:
        """Write the file."""
        self._file.write_text(SETTINGS.format(message=message, source=source, more=more), encoding="utf-8")

    def reload(self) -> str:
        """Reload the configuration; return what is logged."""
        before = len(self.log)
        self._process.send_signal(signal.SIGHUP)
        output = re.compile("(Configuration reloaded|Configuration not reloaded)[^\n]*\n")
        assert eventually(lambda: output.search(self.log, before), SECONDS), self.log
        return self.log[before:]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Configured]:
    """A started daemon."""
    daemon = Configured(tmp_path)
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def test_changes_apply_at_once_without_closing_connections(daemon: Configured) -> None:
    sockets = daemon.websocket("/ws/a,words/*", v1=False), daemon.websocket()
    with daemon.lines() as lines, sockets[0] as socket, sockets[1] as publisher, daemon.http() as http:
        assert lines.command(b"SUB a").startswith(b"+OK SUB a cursor=")
        before = daemon.publish("a", b"before")["id"]
        large = b"x" * 3000
        assert http.request("POST", "/pub/a", body=large).status == 413
        daemon.write("8KiB", "second", "channels = 7")
        output = daemon.reload()
        assert "changed: limits.message, source.first, source.second\n" in output
        assert eventually(lambda: "Settings that need a restart: limits.channels\n" in daemon.log, SECONDS)
        publisher.send(json.dumps({"publish": "a", "data": large.decode()}))
        after = json.loads(publisher.recv(SECONDS))["id"]
        assert [message["id"] for message in daemon.history("a")] == [before, after]
        assert lines.reply().endswith(b" before")
        assert lines.reply() == f"MSG a {after} ".encode() + large
        received = iter(lambda: socket.recv(SECONDS), large.decode())
        assert "before" in list(received)
    assert eventually(lambda: daemon.history("words/second"), SECONDS)


def test_invalid_file_changes_nothing(daemon: Configured) -> None:
    daemon.write("8KiB", more="colour = 1")
    assert re.search(r"nothing changed: \S+/pushd.toml:[0-9]+: unknown key limits.colour", daemon.reload())
    daemon.write("8KiB", more='[backend]\nkind = "redis"')
    assert re.search(r"nothing changed: \S+/pushd.toml:[0-9]+: backend.kind: redis requires a URL", daemon.reload())
    daemon._file.unlink()
    assert re.search(r"nothing changed: \S+/pushd.toml: No such file", daemon.reload())
    assert daemon.request("POST", "/pub/a", body=b"x" * 3000).status == 413
    daemon.write()
    assert "changed: nothing\n" in daemon.reload()


def connect(port: int, certificate: Path) -> ssl.SSLSocket:
    """Connect to a listener, and verify its certificate."""
    plain = socket.create_connection(("127.0.0.1", port), SECONDS)
    context = ssl.create_default_context(cafile=str(certificate))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_renewed_certificate_is_used_by_new_connections(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    daemon = Configured(tmp_path, "--http", f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1")
    assert eventually(lambda: len(re.findall("http listens on", daemon.log)) == 2, SECONDS)
    port = int(re.findall(r"http listens on 127.0.0.1:(\d+)", daemon.log)[1])
    first = Path(shutil.copy(certificate, tmp_path / "first.pem"))
    with connect(port, first) as old:
        make_certificate(tmp_path)
        daemon.reload()
        with connect(port, certificate) as new, pytest.raises(ssl.SSLCertVerificationError):
            assert new.getpeercert(binary_form=True) != old.getpeercert(binary_form=True)
            connect(port, first)
        key.write_text("no key")
        daemon.write("8KiB")
        output = daemon.reload()
        assert "changed: limits.message" in output
        assert re.search(
            rf"http: certificates of 'ssl:0:privateKey={key}:.*' cannot be loaded .*; new connections use the previous",
            output,
        )
        with connect(port, certificate):
            old.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert old.recv(100).startswith(b"HTTP/1.1 200 ")
    daemon.stop()
    assert "Traceback" not in daemon.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")
def test_key_that_only_root_can_read_keeps_the_rest_of_a_reload(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    key.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    endpoint = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    daemon = Configured(tmp_path, "--http", endpoint, twistd=("--uid", "65534"))
    assert eventually(lambda: len(re.findall("http listens on", daemon.log)) == 2, SECONDS)
    daemon.publish("a")
    daemon.write("8KiB")
    output = daemon.reload()
    assert "Configuration reloaded; changed: limits.message\n" in output
    assert f"({key}: Permission denied); new connections use the previous certificates\n" in output
    assert daemon.request("POST", "/pub/a", body=b"x" * 3000).status == 202
    daemon.assert_healthy()
    daemon.stop()


def test_relative_paths_are_relative_to_the_directory_of_twistd(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    make_certificate(run)
    endpoint = "ssl:0:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1"
    daemon = Configured(
        tmp_path, "--http", endpoint, "--http", "unix:http.sock", "--data-dir", "data", twistd=("--rundir", "run")
    )
    assert eventually(lambda: len(re.findall("http listens on", daemon.log)) == 3, SECONDS), daemon.log
    daemon.publish("a")
    make_certificate(run)
    daemon.write("8KiB")
    assert "changed: limits.message" in daemon.reload()
    assert "previous certificates" not in daemon.log
    assert {path.name for path in run.iterdir()} >= {"data", "http.sock", "key.pem", "cert.pem"}
    daemon.assert_healthy()
    daemon.stop()


def test_signal_that_rotates_the_log_is_ignored_without_a_log_file(daemon: Configured) -> None:
    daemon.publish("a")
    daemon._process.send_signal(signal.SIGUSR1)
    assert eventually(lambda: "Signal USR1 is ignored: the log is not a file" in daemon.log, SECONDS)
    daemon.publish("a")


def test_log_file_may_be_truncated_and_renamed(tmp_path: Path) -> None:
    daemon = Configured(tmp_path, twistd=("--logfile", "own.log"), log="own.log")
    daemon.publish("a")
    log = tmp_path / "own.log"
    os.truncate(log, 0)
    daemon.reload()
    assert log.read_bytes().startswith(b"20")
    moved = log.rename(tmp_path / "moved.log")
    daemon._process.send_signal(signal.SIGUSR1)
    assert eventually(log.exists, SECONDS)
    before = moved.read_bytes()
    daemon.reload()
    assert moved.read_bytes() == before
    daemon._process.send_signal(signal.SIGUSR1)
    assert eventually((tmp_path / "own.log.1").exists, SECONDS)
    daemon.stop()


def test_log_on_a_terminal_without_utf_8_is_escaped(tmp_path: Path) -> None:
    daemon = Configured(tmp_path, environ={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    daemon.publish("a")
    daemon.write(more='"première" = 1')
    assert "unknown key limits.'premi\\xe8re" in daemon.reload()
    daemon.stop()


def test_daemon_exits_with_its_terminal(tmp_path: Path) -> None:
    """The terminal of a foreground daemon sends SIGHUP when it closes."""
    near, far = pty.openpty()
    log = tmp_path / "log"
    log.touch()
    listen = "tcp:0:interface=127.0.0.1"
    command = [*TWISTD[:-1], "--logfile", str(log), "pushd", "--http", listen, "--tcp", listen]
    become = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
    process = subprocess.Popen(
        [sys.executable, "-c", become, *command],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdin=far,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(far)
    try:
        assert eventually(lambda: "tcp listens on" in log.read_text(encoding="utf-8"), SECONDS)
        process.send_signal(signal.SIGHUP)
        reloaded = "Configuration reloaded; changed: nothing"
        assert eventually(lambda: reloaded in log.read_text(encoding="utf-8"), SECONDS)
        os.close(near)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
