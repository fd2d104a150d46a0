"""The systemd units, and the daemon under systemd: notifications and socket activation."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.real import ROOT, TWISTD, eventually

pytestmark = pytest.mark.system

UNITS = [*sorted(path.name for path in (ROOT / "etc").glob("pushd*.service")), "pushd.socket"]
SECONDS = 30
LIKE_SYSTEMD = """\
import os, sys
for number, descriptor in enumerate(sys.argv[1:3], 3):
    os.dup2(int(descriptor), number)
os.environ |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "pushd.socket:pushd.socket", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Passes the sockets like systemd (sd_listen_fds(3)), and executes the daemon."""


@pytest.fixture
def analyze() -> str:
    """The path of systemd-analyze. Without it, skip the test, or fail it in continuous integration."""
    path = shutil.which("systemd-analyze")
    if path is None and os.environ.get("CI"):
        pytest.fail("systemd-analyze is not installed (Debian: apt-get install systemd)")
    if path is None:
        pytest.skip("systemd-analyze is not installed")
    return path


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with an executable that exists."""
    for name in UNITS:
        text = (ROOT / "etc" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/pushd/bin/twistd", "/bin/true"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_valid(analyze: str, units: Path, name: str) -> None:
    instance = name.replace("@", "@1")
    (units / name).rename(units / instance)
    command = [analyze, "verify", "--man=no", str(units / instance)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    about = [line for line in done.stderr.splitlines() if "pushd" in line]
    assert (done.returncode, about) == (0, []), done.stderr


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_service_has_few_permissions(analyze: str, name: str) -> None:
    command = [analyze, "security", "--offline=yes", "--no-pager", str(ROOT / "etc" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) < 2.0


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_service_has_a_memory_limit(name: str) -> None:
    assert re.search(r"^MemoryMax=2G$", (ROOT / "etc" / name).read_text(encoding="utf-8"), re.MULTILINE)


class Supervised:
    """The daemon as systemd starts it: with a notification socket and with its listening sockets."""

    def __init__(self, folder: Path) -> None:
        self._notify_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify_socket.bind(str(folder / "notify"))
        self._notify_socket.settimeout(SECONDS)
        self._log = folder / "log"
        listening = [socket.create_server(("127.0.0.1", 0), backlog=100) for _ in range(2)]
        self.http, self.tcp = (each.getsockname()[1] for each in listening)
        copies = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in listening]
        for each in listening:
            each.close()
        endpoints = ["--http", "systemd:domain=INET:index=0", "--tcp", "systemd:domain=INET:index=1"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
        environ |= {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000"}
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LIKE_SYSTEMD, *map(str, copies), *TWISTD, *endpoints],
                cwd=folder,
                env=environ | {"PYTHONPATH": str(ROOT)},
                pass_fds=copies,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        for copy in copies:
            os.close(copy)

    @property
    def log(self) -> str:
        """The log."""
        return self._log.read_text(encoding="utf-8")

    def wait_for_notification(self, word: str) -> None:
        """Wait for a notification that begins with `word`."""
        try:
            while not self._notify_socket.recv(4096).decode().startswith(word):
                pass
        except TimeoutError:
            raise AssertionError(f"no notification {word}: {self.log}") from None

    def close(self) -> None:
        """Kill the daemon."""
        self.process.kill()
        self.process.wait()
        self._notify_socket.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A started daemon."""
    daemon = Supervised(tmp_path)
    yield daemon
    daemon.close()


def test_daemon_notifies_systemd(supervised: Supervised) -> None:
    supervised.wait_for_notification("READY=1")
    for port in (supervised.http, supervised.tcp):
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
    with socket.create_connection(("127.0.0.1", supervised.tcp), SECONDS) as lines:
        assert lines.recv(100).startswith(b"INFO ")
    supervised.wait_for_notification("WATCHDOG=1")
    supervised.wait_for_notification("WATCHDOG=1")
    supervised.process.send_signal(signal.SIGHUP)
    supervised.wait_for_notification("RELOADING=1\nMONOTONIC_USEC=")
    supervised.wait_for_notification("READY=1")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for_notification("STOPPING=1")
    assert eventually(lambda: supervised.process.poll() is not None, SECONDS)
    assert "Traceback" not in supervised.log
