"""A supervisor hears one datagram for each thing it ought to know."""

import os
import socket
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from pushd.net.supervisor import Supervisor


class Ear:
    """The socket of a supervisor."""

    def __init__(self, address: bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def words(self) -> list[str]:
        """Give what came since the last time."""
        words = []
        while True:
            try:
                words.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return words

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def place(request, tmp_path: Path):
    """An ear, and what the environment calls it."""
    path = f"{tmp_path}/notify" if request.param == "path" else f"@pushd-test-{os.getpid()}"
    ear = Ear(os.fsencode(path) if path.startswith("/") else b"\0" + os.fsencode(path[1:]))
    yield ear, path
    ear.close()


def test_ready_is_sent_once_when_the_daemon_is_up(place):
    ear, path = place
    clock, up = Clock(), []
    supervisor = Supervisor(clock, lambda: bool(up), {"NOTIFY_SOCKET": path})
    supervisor.startService()
    clock.pump([0.1] * 50)
    assert ear.words() == []
    up.append(True)
    clock.pump([0.1] * 50)
    assert ear.words() == ["READY=1"]
    supervisor.stopping()
    supervisor.stopService()
    assert ear.words() == ["STOPPING=1"]
    assert not clock.getDelayedCalls()


def test_watchdog_is_notified_at_half_its_interval_until_stop(place):
    ear, path = place
    clock = Clock()
    supervisor = Supervisor(clock, lambda: False, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"})
    supervisor.startService()
    assert ear.words() == ["WATCHDOG=1"]
    clock.pump([1] * 10)
    assert ear.words() == ["WATCHDOG=1"] * 2
    supervisor.stopping()
    clock.pump([1] * 5)
    assert ear.words() == ["STOPPING=1", "WATCHDOG=1"]
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


def test_start_and_end_of_reload_are_sent(place):
    ear, path = place
    clock, up = Clock(), []
    supervisor = Supervisor(clock, lambda: bool(up), {"NOTIFY_SOCKET": path})
    supervisor.startService()
    clock.advance(2)
    supervisor.reloading()
    supervisor.reloaded()
    assert ear.words() == ["RELOADING=1\nMONOTONIC_USEC=2000000"]
    up.append(True)
    clock.advance(0.1)
    assert ear.words() == ["READY=1"]
    supervisor.reloading()
    assert ear.words() == ["RELOADING=1\nMONOTONIC_USEC=2100000"]
    supervisor.reloaded()
    assert ear.words() == ["READY=1"]
    supervisor.stopService()
    assert not clock.getDelayedCalls()
