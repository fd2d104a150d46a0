"""A listener that other machines can reach needs --open; the address of the bound socket decides."""

import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from pushd.net.listeners import CannotStart
from tests.daemon.clients import SECONDS, Http
from tests.daemon.real import ROOT, TWISTD, eventually
from tests.transports.daemon import RunningDaemon

pytestmark = pytest.mark.system

START_SECONDS = 30
LIKE_SYSTEMD = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "pushd.socket", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Passes a socket like systemd (sd_listen_fds(3)), and executes the daemon."""
ENDPOINTS = (
    "systemd:domain=INET:index=0",
    "systemd:domain=INET:name=pushd.socket",
    "haproxy:systemd:domain=INET:index=0",
)


class StartedDaemon(NamedTuple):
    """A daemon started with a socket."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """Its output."""
        return self.log.read_text(encoding="utf-8")


class Systemd:
    """Starts daemons with a bound socket."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def start(self, listener: socket.socket, listen: str, *options: str) -> StartedDaemon:
        """Start a daemon that logs to a file."""
        copy = fcntl.fcntl(listener, fcntl.F_DUPFD, 10)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
        log = self._folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    LIKE_SYSTEMD,
                    str(copy),
                    *TWISTD,
                    "--log-format",
                    "text",
                    *listen.split(),
                    *options,
                ],
                cwd=self._folder,
                env=environ | {"PYTHONPATH": str(ROOT)},
                pass_fds=[copy],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        os.close(copy)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return StartedDaemon(process, log)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """Starts daemons, and stops them after the test."""
    with ExitStack() as stack:
        yield Systemd(tmp_path, stack)


def bound(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")


def listen_options(key: str, endpoint: str) -> str:
    return f"--http {endpoint} --tcp none" if key == "http" else f"--http none --tcp {endpoint}"


@pytest.mark.parametrize(
    ("key", "endpoint", "check"),
    [
        *(("http", endpoint, ()) for endpoint in ENDPOINTS),
        ("tcp", ENDPOINTS[0], ()),
        *((key, ENDPOINTS[0], ("--check",)) for key in ("http", "tcp")),
    ],
)
def test_exposed_systemd_socket_is_refused(systemd: Systemd, key: str, endpoint: str, check: tuple[str, ...]) -> None:
    with bound("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        daemon = systemd.start(listener, listen_options(key, endpoint), *check)
        assert daemon.process.wait(START_SECONDS) == 1
    assert daemon.output == (
        f"pushd: option --{key}: {endpoint} is bound to 0.0.0.0:{port}, which is open to other machines: "
        "bind it to a loopback address, or start with --open to let anyone publish and subscribe\n"
    )


@pytest.mark.parametrize("domain", ["INET6", "UNIX"])
def test_domain_of_the_endpoint_does_not_count(systemd: Systemd, domain: str) -> None:
    with bound("::") as listener:
        daemon = systemd.start(listener, listen_options("http", f"systemd:domain={domain}:index=0"))
        assert daemon.process.wait(START_SECONDS) == 1
    assert re.fullmatch(
        r"pushd: option --http: [^\n]* is bound to \[::\]:[0-9]+, which is open to [^\n]*\n", daemon.output
    )


@pytest.mark.parametrize("domain", ["INET", "INET6", "UNIX"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_client_has_its_address_whatever_the_domain_of_the_endpoint(systemd: Systemd, domain: str, host: str) -> None:
    with bound(host) as listener:
        port = listener.getsockname()[1]
        daemon = systemd.start(listener, listen_options("http", f"systemd:domain={domain}:index=0"))
        assert eventually(lambda: f"http listens on {host}:{port}" in daemon.output, START_SECONDS), daemon.output
        with socket.create_connection((host, port), SECONDS) as sock, socket.create_connection((host, port)) as other:
            Http(other).open_stream("/stream/a")
            (connection,) = Http(sock).request("GET", "/connections").json()
            assert connection["address"] == host
    assert "Traceback" not in daemon.output


@pytest.mark.parametrize("domain", ["INET", "UNIX"])
def test_unix_socket_of_systemd_serves_and_stays(systemd: Systemd, tmp_path: Path, domain: str) -> None:
    path = tmp_path / "pushd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        daemon = systemd.start(listener, listen_options("http", f"systemd:domain={domain}:index=0"))
        assert eventually(lambda: f"http listens on {path}" in daemon.output, START_SECONDS), daemon.output
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(SECONDS)
            sock.connect(str(path))
            assert Http(sock).request("GET", "/health/ready").status == 200
        daemon.process.terminate()
        daemon.process.wait(START_SECONDS)
        assert path.stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in daemon.output


def test_open_daemon_warns_and_serves_every_host(systemd: Systemd) -> None:
    with bound("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        daemon = systemd.start(listener, listen_options("http", ENDPOINTS[0]), "--open")
        assert eventually(lambda: "listens on" in daemon.output, START_SECONDS), daemon.output
        assert f"Anyone who can connect to {ENDPOINTS[0]} may publish and subscribe" in daemon.output
        with Http(port) as http:
            assert http.request("GET", "/channels", {"Host": "push.example.org"}).status == 200


def test_loopback_systemd_socket_checks_the_host(systemd: Systemd) -> None:
    host = "127.8.9.1"
    with bound(host) as listener:
        port = listener.getsockname()[1]
        daemon = systemd.start(listener, listen_options("http", ENDPOINTS[0]))
        assert eventually(lambda: "listens on" in daemon.output, START_SECONDS), daemon.output
        assert "Anyone who can connect" not in daemon.output
        with socket.create_connection((host, port), SECONDS) as sock:
            assert Http(sock).request("GET", "/channels", {"Host": "evil.example"}).status == 421


@pytest.mark.parametrize("key", ["http.listen", "tcp.listen"])
@pytest.mark.parametrize(
    "endpoint", ["tcp:0:interface=0.0.0.0", r"tcp6:0:interface=\:\:", "haproxy:tcp:0:interface=0.0.0.0"]
)
async def test_daemon_checks_the_bound_address(key: str, endpoint: str) -> None:
    """The check of the bound socket does not depend on the check of the endpoint string."""
    daemon = RunningDaemon({key: endpoint})
    try:
        with pytest.raises(CannotStart, match=rf"^{key}: .* is bound to .*, which is open to other machines"):
            await daemon.start()
    finally:
        await daemon.stop()


async def test_open_listener_is_logged(tmp_path: Path) -> None:
    daemon = await RunningDaemon({"http.listen": "tcp:0:interface=0.0.0.0", "access.open": "true"}).start()
    try:
        warnings = [line for line in daemon.log if line.startswith("Anyone who can connect to")]
        assert warnings == ["Anyone who can connect to tcp:0:interface=0.0.0.0 may publish and subscribe"]
    finally:
        await daemon.stop()
