"""The units for systemd, and the daemon as systemd runs it: it tells how it is, and takes sockets that it is handed."""

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
for number, handed in enumerate(sys.argv[1:3], 3):
    os.dup2(int(handed), number)
os.environ |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "pushd.socket:pushd.socket", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the sockets where systemd puts them (sd_listen_fds(3)), and becomes the daemon."""


@pytest.fixture
def analyze() -> str:
    """The program that judges units. Where there is none the test is skipped, but in continuous integration."""
    path = shutil.which("systemd-analyze")
    if path is None and os.environ.get("CI"):
        pytest.fail("no systemd-analyze here (Debian: apt-get install systemd)")
    if path is None:
        pytest.skip("no systemd-analyze here")
    return path


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that is there."""
    for name in UNITS:
        text = (ROOT / "etc" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/pushd/bin/twistd", "/bin/true"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(analyze: str, units: Path, name: str) -> None:
    instance = name.replace("@", "@1")
    (units / name).rename(units / instance)
    command = [analyze, "verify", "--man=no", str(units / instance)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    about = [line for line in done.stderr.splitlines() if "pushd" in line]
    assert (done.returncode, about) == (0, []), done.stderr


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_service_is_exposed_to_little(analyze: str, name: str) -> None:
    command = [analyze, "security", "--offline=yes", "--no-pager", str(ROOT / "etc" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) < 2.0


class Supervised:
    """The daemon as systemd starts it: with a socket to tell how it is, and with the sockets that it listens on."""

    def __init__(self, folder: Path) -> None:
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(folder / "notify"))
        self._ear.settimeout(SECONDS)
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
        """All it has logged."""
        return self._log.read_text(encoding="utf-8")

    def deliver_result(self, word: str) -> None:
        """Wait until it says a word, or what begins with it."""
        try:
            while not self._ear.recv(4096).decode().startswith(word):
                pass
        except TimeoutError:
            raise AssertionError(f"it did not say {word}: {self.log}") from None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self._ear.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A daemon that has just been started."""
    daemon = Supervised(tmp_path)
    yield daemon
    daemon.close()


def test_it_is_ready_when_it_listens_and_alive_until_it_has_stopped(supervised: Supervised) -> None:
    supervised.deliver_result("READY=1")
    for port in (supervised.http, supervised.tcp):
        socket.create_connection(("127.0.0.1", port), SECONDS).close()
    with socket.create_connection(("127.0.0.1", supervised.tcp), SECONDS) as lines:
        assert lines.recv(100).startswith(b"INFO ")
    supervised.deliver_result("WATCHDOG=1")
    supervised.deliver_result("WATCHDOG=1")
    supervised.process.send_signal(signal.SIGHUP)
    supervised.deliver_result("RELOADING=1\nMONOTONIC_USEC=")
    supervised.deliver_result("READY=1")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.deliver_result("STOPPING=1")
    assert eventually(lambda: supervised.process.poll() is not None, SECONDS)
    assert "Traceback" not in supervised.log
