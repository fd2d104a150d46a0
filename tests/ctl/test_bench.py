"""The load test: markers are found at any chunking, and lost or repeated deliveries are counted."""

import json
import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from pushd.ctl import bench
from pushd.ctl.api_client import ApiClient
from pushd.ctl.bench import BENCH_TRANSPORTS, BenchResult
from pushd.ctl.bench_client import MARKER_BYTES, BenchClient, encode_marker
from tests.ctl.pushctl_process import SECONDS, Pushctl
from tests.daemon.real import Daemon


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, BenchClient]]:
    """The peer's end of a connection, and the client."""
    other, sock = socket.socketpair()
    sock.setblocking(False)
    with other, sock:
        yield other, BenchClient(sock, 0)


@pytest.mark.parametrize("chunk_size", [1, 7, MARKER_BYTES, MARKER_BYTES + 3])
def test_markers_are_found_at_any_chunking(pair: tuple[socket.socket, BenchClient], chunk_size: int) -> None:
    other, client = pair
    data = (
        b"data: "
        + b"....\n\ndata: ".join(encode_marker("0badcafe", number, 10 * number) for number in range(5))
        + b"\n"
    )
    found: list[tuple[int, int]] = []
    for start in range(0, len(data), chunk_size):
        other.sendall(data[start : start + chunk_size])
        found += client.markers(client.read() or b"")
    assert found == [(number, 10 * number) for number in range(5)]


def test_end_of_stream_is_detected(pair: tuple[socket.socket, BenchClient]) -> None:
    other, client = pair
    assert client.read() == b""
    other.close()
    assert client.read() is None


@pytest.mark.parametrize(
    ("result", "is_ok"),
    [
        (BenchResult(expected=3, delivered=3), True),
        (BenchResult(expected=3, delivered=2), False),
        (BenchResult(expected=3, delivered=3, repeated=1), False),
    ],
)
def test_result_is_ok_if_each_message_arrived_once(result: BenchResult, is_ok: bool) -> None:
    assert result.is_ok is is_ok


@pytest.mark.system
@pytest.mark.parametrize("transport", BENCH_TRANSPORTS)
def test_small_load_is_delivered_and_channels_are_deleted(daemon: Daemon, pushctl: Pushctl, transport: str) -> None:
    more = ("--subscribers", "20", "--channels", "3", "--rate", "1000", "--seconds", "1", "--json")
    status, line, _ = pushctl.run("bench", "--transport", transport, *more)
    report = json.loads(line)
    assert (status, report["published"]) == (0, 1000)
    assert report["expected"] == report["delivered"] == 20_000 // 3 + 1
    assert (report["lost"], report["repeated"], report["cut"]) == (0, 0, 0)
    assert 0 < report["latency"]["p50"] <= report["latency"]["max"] < 30
    assert pushctl.lines("channels", "bench/") == []


@pytest.mark.system
def test_output_has_figures_and_histogram(pushctl: Pushctl) -> None:
    lines = pushctl.lines("bench", "--subscribers", "2", "--rate", "20", "--seconds", "1")
    assert lines[1].startswith("delivered  40 of 40, ")
    assert any("#" in line for line in lines)


@pytest.mark.system
def test_invalid_options_and_targets_are_refused(daemon: Daemon, pushctl: Pushctl) -> None:
    assert pushctl.run("bench", "--size", "1")[0] == 2
    assert pushctl.run("bench", "--subscribers", "0")[0] == 2
    assert pushctl.run("--url", "http://127.0.0.1:1", "bench")[0] == 3
    status, _, error = pushctl.run("--url", f"http://127.0.0.1:{daemon.http_port}/nowhere", "bench")
    assert (status, "refused: HTTP/1.1 404" in error) == (1, True)


def test_lost_messages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server acknowledges everything and delivers nothing."""
    monkeypatch.setattr(bench, "_DRAIN_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)

        def answer() -> None:
            subscriber = server.accept()[0]
            subscriber.sendall(b"+OK SUB x cursor=E-0\r\n")
            publisher = server.accept()[0]
            publisher.settimeout(SECONDS)
            while publisher.recv(1000):
                pass

        thread = Thread(target=answer, daemon=True)
        thread.start()
        address = server.getsockname()
        run = bench.BenchRun(
            ApiClient("http://127.0.0.1:1"), address, bench.BenchPlan("tcp", 1, rate=1, seconds=1), lambda *_: None
        )
        result = run.run()
        thread.join(SECONDS)
    assert (result.lost, result.is_ok, result.seconds > 0) == (1, False, True)
