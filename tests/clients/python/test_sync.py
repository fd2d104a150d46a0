"""What only the blocking client has: threads share it, child processes do not share its connections."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pushd_client import Message, Pushd

from tests.daemon.real import ROOT, Daemon

pytestmark = pytest.mark.system

FORK = """
import os, sys
from pushd_client import Pushd

with Pushd(sys.argv[1]) as pushd:
    pushd.publish("fork", "parent 0")
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            for each in range(20):
                pushd.publish("fork", f"child {number} {each}")
            os._exit(0)
        children.append(child)
    for each in range(1, 20):
        pushd.publish("fork", f"parent {each}")
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    data = [message.data for message in pushd.history("fork", since="all")]
    assert len(set(data)) == len(data) == 100, data
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def test_threads_share_a_client(daemon: Daemon) -> None:
    def publish(name: int) -> list[str | None]:
        return [pushd.publish("threads", f"{name} {number}").id for number in range(25)]

    with Pushd(f"http://127.0.0.1:{daemon.http_port}") as pushd, ThreadPoolExecutor(8) as threads:
        ids = [id for part in threads.map(publish, range(8)) for id in part]
        assert len(set(ids)) == len(pushd.history("threads", since="all")) == 200


def test_child_processes_open_connections_of_their_own(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.http_port}"
    environ = {"PYTHONPATH": str(ROOT / "clients" / "python")}
    done = subprocess.run(
        [sys.executable, "-c", FORK, url], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_loop_that_is_left_closes_its_connection(daemon: Daemon, transport: str) -> None:
    with Pushd(f"http://127.0.0.1:{daemon.http_port}") as pushd:
        pushd.publish("left", "x")
        for item in pushd.subscribe("left", since="all", transport=transport):  # type: ignore[arg-type]
            assert isinstance(item, Message)
            break
        del item
        while pushd.call("GET", "/connections", query={"channel": "left"}):
            pass
