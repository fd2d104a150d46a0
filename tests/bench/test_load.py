"""The load client in C: it counts what a server does wrong, and works with the real daemon."""

import os
import socketserver
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.cpu import place
from bench.load import Load, escape, start
from bench.programs import compile_c, find
from bench.stations import Crew, open_station
from bench.talk import Hearing, Telling


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if find("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("the load client needs a C compiler")
        pytest.skip("no C compiler is installed as cc")
    return compile_c("load", tmp_path_factory.mktemp("load"))


def test_bytes_are_written_in_one_line():
    assert escape(b"GET /\r\n%p \\ \x89") == rb"GET /\x0d\x0a%p \x5c \x89"


class Server(socketserver.ThreadingTCPServer):
    """A server with a list of its subscribers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Wrong)
        self.subscribers = []


class Wrong(socketserver.StreamRequestHandler):
    """A server that takes four messages in a line each and then does to them all that must not be."""

    server: Server

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
def test_what_a_server_does_wrong_is_counted(program, tmp_path):
    with Server() as server, ExitStack() as stack:
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        load = Load(stack.enter_context(start(program, tmp_path, place().load)))
        load.hear_by(Hearing(port, b"SUB\n", b"OK\n"))
        load.open(2)
        load.tell_by(Telling(port, b"%p\n", b"", hello=b"PUB\n"), size=100)
        seen = load.run(1, burst=4, deadline=1)
        load.close()
    assert (seen["messages"], seen["expected"], seen["delivered"]) == (4, 8, 6)
    wrong = {name: seen[name] for name in ("lost", "duplicated", "disordered", "misrouted", "late", "closed")}
    assert wrong == {"lost": 2, "duplicated": 2, "disordered": 2, "misrouted": 2, "late": 0, "closed": 0}
    assert seen["latency"]["count"] == 6
    assert 0 < seen["latency"]["p50"] <= seen["latency"]["max"] < 1e6


@pytest.mark.system
@pytest.mark.parametrize("technique", ["SSE", "WebSocket", "TCP", "NDJSON"])
def test_the_daemon_delivers_to_all(program, tmp_path, technique):
    with ExitStack() as stack:
        station = open_station(stack, Crew("pushd", technique, 20), program, Path(tmp_path) / "pushd", place())
        sample = station.run(5, burst=10)
        paced = station.run(5, rate=100)
    assert sample.delivered == 1000 and paced.delivered == 100
    assert sample.cpu > 0
    assert not any(station.faults.values())
