"""`pushctl pub --lines` and `pushctl sub` go on after the daemon was killed or restarted: no loss, no duplicates."""

from pathlib import Path

import pytest

from tests.backends.redis_server import free_port
from tests.ctl.pushctl_process import SECONDS, Pushctl
from tests.daemon.real import eventually
from tests.system.durable import DurableDaemon

pytestmark = pytest.mark.system

TRANSPORTS = ("stream", "sse", "longpoll", "tcp")
LINES = 40
"""Published between two restarts."""
ENDS = ("kill", "stop", "kill")
"""How a daemon ends: at once (SIGKILL), or in order."""


class Restarting:
    """A daemon with durable history, which is started again on the same ports."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.http_port, self.tcp_port = free_port(), free_port()
        self.process = self._start()

    def _start(self) -> DurableDaemon:
        listen = (f"tcp:{port}:interface=127.0.0.1" for port in (self.http_port, self.tcp_port))
        options = [word for pair in zip(("--http", "--tcp"), listen, strict=True) for word in pair]
        return DurableDaemon(self._home, *options, "--stop-patience", "0", "--stop-spread", "0")

    def restart(self, end: str) -> None:
        """End it in some way, and start it again."""
        getattr(self.process, end)()
        self.process = self._start()


@pytest.mark.slow
def test_lines_are_published_and_received_once(tmp_path: Path) -> None:
    daemon = Restarting(tmp_path)
    pushctl = Pushctl(daemon.process)
    pushctl.environ |= {
        "PUSHCTL_URL": f"http://127.0.0.1:{daemon.http_port}",
        "PUSHCTL_TCP": f"127.0.0.1:{daemon.tcp_port}",
    }
    total = LINES * (len(ENDS) + 1)
    subscribers = [pushctl.start("sub", "a", "--transport", name, "--count", str(total)) for name in TRANSPORTS]
    path = "/connections?channel=a"
    assert eventually(lambda: daemon.process.request("GET", path).body.count(b'"id"') == len(TRANSPORTS), SECONDS)
    publisher = pushctl.start("pub", "a", "--lines")
    assert publisher.stdin is not None and publisher.stdout is not None
    numbers = iter(range(total))
    for end in (*ENDS, None):
        publisher.stdin.write("".join(f"{next(numbers)}\n" for _ in range(LINES)))
        publisher.stdin.flush()
        if end is not None:
            for _ in range(LINES // 2):  # the others are published during the restart
                publisher.stdout.readline()
            daemon.restart(end)
    expected = [str(number) for number in range(total)]
    for subscriber in subscribers:
        out, error = subscriber.communicate(timeout=SECONDS)
        assert (subscriber.returncode, out.splitlines()) == (0, expected), error
        assert "reconnecting" in error
    publisher.communicate(timeout=SECONDS)
    assert publisher.returncode == 0
    path = f"/history/a?since=all&limit={total}"
    assert [message["data"] for message in daemon.process.request("GET", path).json()] == expected
    daemon.process.stop()
