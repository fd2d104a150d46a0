"""The supervisor receives one datagram per notification."""

import os
import socket
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from pushd.net.supervisor import Supervisor


class NotifySocket:
    """The notification socket of a supervisor."""

    def __init__(self, address: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def datagrams(self) -> list[str]:
        """Return the datagrams received since the last call."""
        datagrams = []
        while True:
            try:
                datagrams.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return datagrams

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request, tmp_path: Path):
    """A notification socket, and its name in the environment."""
    path = f"{tmp_path}/notify" if request.param == "path" else f"@pushd-test-{os.getpid()}"
    notify_socket = NotifySocket(os.fsencode(path) if path.startswith("/") else b"\0" + os.fsencode(path[1:]))
    yield notify_socket, path
    notify_socket.close()


def test_ready_is_sent_once_when_the_daemon_is_up(address):
    notify_socket, path = address
    clock, up = Clock(), list[bool]()
    supervisor = Supervisor(clock, lambda: bool(up), {"NOTIFY_SOCKET": path})
    supervisor.startService()
    clock.pump([0.1] * 50)
    assert notify_socket.datagrams() == []
    up.append(True)
    clock.pump([0.1] * 50)
    assert notify_socket.datagrams() == ["READY=1"]
    supervisor.stopping()
    supervisor.stopService()
    assert notify_socket.datagrams() == ["STOPPING=1"]
    assert not clock.getDelayedCalls()


def test_watchdog_is_notified_at_half_its_interval_until_stop(address):
    notify_socket, path = address
    clock = Clock()
    supervisor = Supervisor(clock, lambda: False, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"})
    supervisor.startService()
    assert notify_socket.datagrams() == ["WATCHDOG=1"]
    clock.pump([1] * 10)
    assert notify_socket.datagrams() == ["WATCHDOG=1"] * 2
    supervisor.stopping()
    clock.pump([1] * 5)
    assert notify_socket.datagrams() == ["STOPPING=1", "WATCHDOG=1"]
    supervisor.stopService()
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nothing_is_sent_without_a_notify_socket(environ):
    clock = Clock()
    supervisor = Supervisor(clock, lambda: True, environ | {"WATCHDOG_USEC": "10000000"})
    supervisor.startService()
    assert not clock.getDelayedCalls()
    supervisor.stopping()
    supervisor.stopService()


def test_missing_supervisor_is_ignored(tmp_path):
    clock = Clock()
    supervisor = Supervisor(clock, lambda: True, {"NOTIFY_SOCKET": f"{tmp_path}/gone"})
    supervisor.startService()
    supervisor.stopping()
    supervisor.stopService()
    assert not clock.getDelayedCalls()


def test_start_and_end_of_reload_are_sent(address):
    notify_socket, path = address
    clock, up = Clock(), list[bool]()
    supervisor = Supervisor(clock, lambda: bool(up), {"NOTIFY_SOCKET": path})
    supervisor.startService()
    clock.advance(2)
    supervisor.reloading()
    supervisor.reloaded()
    assert notify_socket.datagrams() == ["RELOADING=1\nMONOTONIC_USEC=2000000"]
    up.append(True)
    clock.advance(0.1)
    assert notify_socket.datagrams() == ["READY=1"]
    supervisor.reloading()
    assert notify_socket.datagrams() == ["RELOADING=1\nMONOTONIC_USEC=2100000"]
    supervisor.reloaded()
    assert notify_socket.datagrams() == ["READY=1"]
    supervisor.stopService()
    assert not clock.getDelayedCalls()
