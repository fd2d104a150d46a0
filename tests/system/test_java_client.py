"""The HTTP client of Java: long polls in a loop, and a stream that is read by lines."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.daemon.real import Daemon, eventually
from tests.system.programs.commands import java_command

pytestmark = pytest.mark.system

PROGRAM_SECONDS = 60.0
"""The compiler of Java takes seconds on a busy machine."""
TEXTS = [f"message {number}" for number in range(100)]
_numbers = count(1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with the default settings."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"java/{next(_numbers)}"


@contextmanager
def running(log: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the client; at the end it must have succeeded, or is killed."""
    with log.open("w") as errors:
        process = subprocess.Popen(java_command(*arguments), stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield process
        assert process.wait(PROGRAM_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.communicate()


def publish(daemon: Daemon, channel: str, texts: list[str]) -> None:
    """Publish as fast as possible, then end the channel."""
    with daemon.http() as http:
        for text in texts:
            assert http.request("POST", f"/pub/{channel}", None, text.encode()).status in (201, 202)
        assert http.request("POST", f"/pub/{channel}?end=1").status in (201, 202)


def test_polls_with_the_cursor_of_the_last_response_miss_nothing(daemon: Daemon, channel: str, tmp_path: Path):
    """Each poll returns one message, so most of them are published between two polls."""
    with running(tmp_path / "log", "poll", f"http://127.0.0.1:{daemon.http_port}/longpoll/{channel}") as client:
        assert client.stdout
        assert client.stdout.readline() == "nothing\n"
        publish(daemon, channel, TEXTS)
        assert client.stdout.read().splitlines() == [*TEXTS, "nothing"]


def test_lines_of_a_stream_arrive_at_once(daemon: Daemon, channel: str, tmp_path: Path):
    with running(tmp_path / "log", "stream", f"http://127.0.0.1:{daemon.http_port}/stream/{channel}") as client:
        assert client.stdout
        assert eventually(lambda: daemon.request("GET", f"/pub/{channel}").status == 200, PROGRAM_SECONDS)
        for text in ("first", "second"):
            daemon.publish(channel, text.encode())
            assert json.loads(client.stdout.readline())["data"] == text
        publish(daemon, channel, TEXTS)
        lines = [json.loads(line) for line in client.stdout.read().splitlines()]
    assert [line.get("data") for line in lines] == [*TEXTS, None]
