"""Load: marks are found wherever the stream is cut, and what is lost, doubled or cut off is seen."""

import json
import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from pushd.ctl import load
from pushd.ctl.ear import SMALLEST, Ear, encode
from pushd.ctl.load import TECHNIQUES, Outcome
from pushd.ctl.web import Web
from tests.ctl.program import SECONDS, Ctl
from tests.doors.real import Daemon


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Ear]]:
    """The other end, and a subscriber."""
    other, sock = socket.socketpair()
    sock.setblocking(False)
    with other, sock:
        yield other, Ear(sock, 0)


@pytest.mark.parametrize("cut", [1, 7, SMALLEST, SMALLEST + 3])
def test_marks_are_found_once_wherever_the_stream_is_cut(pair: tuple[socket.socket, Ear], cut: int) -> None:
    other, ear = pair
    data = b"data: " + b"....\n\ndata: ".join(encode("0badcafe", number, 10 * number) for number in range(5)) + b"\n"
    found: list[tuple[int, int]] = []
    for start in range(0, len(data), cut):
        other.sendall(data[start : start + cut])
        found += ear.marks(ear.read() or b"")
    assert found == [(number, 10 * number) for number in range(5)]


def test_the_end_of_a_stream_is_seen(pair: tuple[socket.socket, Ear]) -> None:
    other, ear = pair
    assert ear.read() == b""
    other.close()
    assert ear.read() is None


@pytest.mark.parametrize(
    ("outcome", "is_good"),
    [
        (Outcome(expected=3, delivered=3), True),
        (Outcome(expected=3, delivered=2), False),
        (Outcome(expected=3, delivered=3, repeated=1), False),
    ],
)
def test_it_is_good_where_each_arrived_once(outcome: Outcome, is_good: bool) -> None:
    assert outcome.is_good is is_good


@pytest.mark.system
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_daemon_bears_a_little_by_each_technique_and_nothing_is_left_behind(
    daemon: Daemon, ctl: Ctl, technique: str
) -> None:
    more = ("--subscribers", "20", "--channels", "3", "--rate", "1000", "--seconds", "1", "--json")
    status, line, _ = ctl.run("bench", "--transport", technique, *more)
    told = json.loads(line)
    assert (status, told["published"]) == (0, 1000)
    assert told["expected"] == told["delivered"] == 20_000 // 3 + 1
    assert (told["lost"], told["repeated"], told["cut"]) == (0, 0, 0)
    assert 0 < told["latency"]["p50"] <= told["latency"]["max"] < 30
    assert ctl.lines("channels", "bench/") == []


@pytest.mark.system
def test_it_is_told_in_words_and_as_a_plot(ctl: Ctl) -> None:
    lines = ctl.lines("bench", "--subscribers", "2", "--rate", "20", "--seconds", "1")
    assert lines[1].startswith("delivered  40 of 40, ")
    assert any("#" in line for line in lines)


@pytest.mark.system
def test_what_can_not_be_begun_is_refused(daemon: Daemon, ctl: Ctl) -> None:
    assert ctl.run("bench", "--size", "1")[0] == 2
    assert ctl.run("bench", "--subscribers", "0")[0] == 2
    assert ctl.run("--url", "http://127.0.0.1:1", "bench")[0] == 3
    status, _, error = ctl.run("--url", f"http://127.0.0.1:{daemon.http_port}/nowhere", "bench")
    assert (status, "refused: HTTP/1.1 404" in error) == (1, True)


def test_where_nothing_arrives_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says yes to all and delivers nothing."""
    monkeypatch.setattr(load, "_LAST_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def answer() -> None:
            listener = server.accept()[0]
            listener.sendall(b"+OK SUB x\r\n")
            publisher = server.accept()[0]
            publisher.settimeout(SECONDS)
            while publisher.recv(1000):
                pass

        thread = Thread(target=answer, daemon=True)
        thread.start()
        address = server.getsockname()
        run = load.Load(Web("http://127.0.0.1:1"), address, load.Plan("tcp", 1, rate=1, seconds=1), lambda *_: None)
        outcome = run.run()
        thread.join(SECONDS)
    assert (outcome.lost, outcome.is_good, outcome.seconds > 0) == (1, False, True)
