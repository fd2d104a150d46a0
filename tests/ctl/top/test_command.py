"""`pushctl top` on a terminal and without one."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from tests.ctl.pushctl_process import PUSHCTL, SECONDS, Pushctl
from tests.daemon.real import ROOT, Daemon

pytestmark = pytest.mark.system


class Terminal:
    """`pushctl top` on a pseudo-terminal."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(10, 100)
        self.process = subprocess.Popen(
            [*PUSHCTL, "--url", f"http://127.0.0.1:{daemon.http_port}", "top", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self._attributes = termios.tcgetattr(slave)
        self._slave = slave
        self.shown = b""

    def resize(self, height: int, width: int) -> None:
        """Change the size of the terminal."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._master, keys)

    def wait_for(self, words: bytes) -> None:
        """Read until words are shown; then forget what was shown before them."""
        deadline = time.monotonic() + SECONDS
        while words not in self.shown and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.1)[0]:
                self.shown += os.read(self._master, 1 << 16)
        assert words in self.shown, self.shown
        self.shown = self.shown.partition(words)[2]

    def end(self) -> int:
        """Return the exit status; the terminal must be as it was."""
        status = self.process.wait(SECONDS)
        self.wait_for(b"\x1b[?1049l")
        assert termios.tcgetattr(self._slave) == self._attributes
        os.close(self._master)
        os.close(self._slave)
        return status


def test_table_without_a_terminal(daemon: Daemon, pushctl: Pushctl) -> None:
    daemon.publish("top/1")
    with daemon.lines() as lines:
        lines.command(b"SUB top/1")
        totals, _, header, row = pushctl.lines("top", "top/", "--once", "--interval", "100ms")
        assert totals.endswith("1 channels")
        assert header.split() == ["IN/S", "OUT/S", "SUBSCRIBERS", "CONNECTIONS", "QUEUE", "CHANNEL"]
        assert row.split() == ["0.0", "0.0", "1", "1", "0", "B", "top/1"]
    process = pushctl.start("top", "top/", "--interval", "100ms")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(10)].count("\n") == 4
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130


def test_table_on_a_terminal(daemon: Daemon) -> None:
    for number in range(9):
        daemon.publish(f"live/{number}")
    terminal = Terminal(daemon, "live/", "--interval", "100ms")
    terminal.wait_for(b"live/6")
    terminal.resize(14, 60)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for(b"live/8")
    terminal.press(b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize(("signal_sent", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_signal_restores_the_terminal(daemon: Daemon, signal_sent: signal.Signals, status: int) -> None:
    terminal = Terminal(daemon, "live/")
    terminal.wait_for(b"CHANNEL")
    terminal.process.send_signal(signal_sent)
    assert terminal.end() == status
