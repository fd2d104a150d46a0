"""The load client in C: it counts the faults of a server, and works with the real daemon."""

import os
import socketserver
import threading
from contextlib import ExitStack
from io import BufferedIOBase
from pathlib import Path

import pytest

from bench.cpu import choose_cpus
from bench.load_client import LoadClient, escape, start
from bench.programs import compile_c, find
from bench.scripts import PublishScript, SubscribeScript
from bench.testbed import Scenario, open_testbed


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if find("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("the load client needs a C compiler")
        pytest.skip("no C compiler is installed as cc")
    return compile_c("load", tmp_path_factory.mktemp("load"))


def test_bytes_are_escaped_to_one_line():
    assert escape(b"GET /\r\n%p \\ \x89") == rb"GET /\x0d\x0a%p \x5c \x89"


class WrongServer(socketserver.ThreadingTCPServer):
    """The listener of `Wrong`, with its subscribers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Wrong)
        self.subscribers: list[BufferedIOBase] = []


class Wrong(socketserver.StreamRequestHandler):
    """A server that receives four messages, one per line, and commits every kind of fault with them."""

    server: WrongServer

    def handle(self):
        if self.rfile.readline() == b"SUB\n":
            self.server.subscribers.append(self.wfile)
            self.wfile.write(b"OK\n")
            self.rfile.readline()
            return
        one, two, three, four = (self.rfile.readline() for _ in range(4))
        elsewhere = three.replace(b"~00000000", b"~00000007")
        for subscriber in self.server.subscribers:
            # In two pieces, the first of which ends within a message; of the third there is only a foreign one.
            whole = one + four + two + two + elsewhere
            subscriber.write(whole[:150])
            subscriber.flush()
            subscriber.write(whole[150:])
        self.rfile.readline()


@pytest.mark.system
def test_faults_of_a_server_are_counted(program, tmp_path):
    with WrongServer() as server, ExitStack() as stack:
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        load = LoadClient(stack.enter_context(start(program, tmp_path, choose_cpus().load)))
        load.set_subscribe_script(SubscribeScript(port, b"SUB\n", b"OK\n"))
        load.open(2)
        load.set_publish_script(PublishScript(port, b"%p\n", b"", hello=b"PUB\n"), size=100)
        seen = load.run(1, burst=4, deadline=1)
        load.close()
    assert (seen["messages"], seen["expected"], seen["delivered"]) == (4, 8, 6)
    wrong = {name: seen[name] for name in ("lost", "duplicated", "disordered", "misrouted", "late", "closed")}
    assert wrong == {"lost": 2, "duplicated": 2, "disordered": 2, "misrouted": 2, "late": 0, "closed": 0}
    assert seen["latency"]["count"] == 6
    assert 0 < seen["latency"]["p50"] <= seen["latency"]["max"] < 1e6


@pytest.mark.system
@pytest.mark.parametrize("transport", ["SSE", "WebSocket", "TCP", "NDJSON"])
def test_daemon_delivers_to_all(program, tmp_path, transport):
    with ExitStack() as stack:
        testbed = open_testbed(
            stack, Scenario("pushd", transport, 20), program, Path(tmp_path) / "pushd", choose_cpus()
        )
        sample = testbed.run(5, burst=10)
        paced = testbed.run(5, rate=100)
    assert sample.delivered == 1000 and paced.delivered == 100
    assert sample.cpu > 0
    assert not any(testbed.faults.values())
