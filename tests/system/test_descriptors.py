"""At the limit of open files new connections are closed, and existing ones continue."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.daemon.clients import Client
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system

_ROOM = 10
_CLIENTS = 60
_WATCHED_SECONDS = 1.0
_SECONDS = 30.0
"""In which everything happens that has to, even on a busy machine."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of its own."""
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.stop()


def test_at_the_limit_of_open_files(daemon: Daemon) -> None:
    process = psutil.Process(daemon.pid)
    with daemon.lines() as lines, daemon.http() as http:
        assert lines.command(b"SUB a").startswith(b"+OK SUB a cursor=")
        assert http.request("GET", "/health/live").status == 200
        # The daemon has calculated its connection limit from the old value at its start.
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + _ROOM,) * 2)
        start, began = len(daemon.log), time.monotonic()
        with ExitStack() as stack:
            clients = [
                stack.enter_context(Client(port)) for port in (daemon.http_port, daemon.tcp_port) * (_CLIENTS // 2)
            ]
            for client in clients[-_CLIENTS // 2 :]:
                assert client.rest() == b""
            assert eventually(lambda: process.cpu_percent(_WATCHED_SECONDS) < 25, _SECONDS), "the loop spins"
            http.send_request("POST", "/pub/a", body=b"still here")
            assert http.response().status == 201
            assert lines.reply().endswith(b" still here")
            lines_logged = daemon.log[start:].splitlines()
            most = 5 + time.monotonic() - began  # one a second
            assert 1 <= len(lines_logged) <= most and all(
                "refused, too-many-connections" in line for line in lines_logged
            ), lines_logged
            metrics = http.request("GET", "/metrics").body.decode()
            refused = re.search(r'^pushd_refusals_total{code="too-many-connections"} (\S+)$', metrics, re.MULTILINE)
            assert refused and _CLIENTS - _ROOM <= float(refused[1]) <= _CLIENTS
        assert eventually(lambda: is_admitted(daemon), _SECONDS), "there is room again"
    daemon.assert_healthy()


def is_admitted(daemon: Daemon) -> bool:
    with Client(daemon.tcp_port) as client:
        return client.line().startswith(b"INFO ")
