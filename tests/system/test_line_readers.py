"""Clients that split a response into lines find one line per message, whatever their idea of a line end."""

import json
import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest
import requests

from tests.daemon.real import Daemon
from tests.system.programs.commands import java_command, node_command

pytestmark = pytest.mark.system

PROGRAM_SECONDS = 60.0
"""The compiler of Java takes seconds on a busy machine."""
TEXTS = ["a\u2028b", "a\u2029b", "a\u0085b", "a\nb\r\nc\rd", "\v\f\x1c\x1d\x1e", "Å ü € 😀", "\u2028id: 1\u2029data: 2"]
"""Line ends of Unicode (UAX 14), those of `str.splitlines`, and characters whose UTF-8 contains the byte 0x85."""


def read_by_httpx(url: str) -> list[str]:
    """Read with `iter_lines` of httpx, which splits as `str.splitlines` does."""
    with httpx.stream("GET", url, timeout=PROGRAM_SECONDS, trust_env=False) as response:
        return list(response.iter_lines())


def read_by_requests(url: str) -> list[str]:
    """Read with `iter_lines` of requests, which splits decoded text as `str.splitlines` does."""
    with requests.get(url, stream=True, timeout=PROGRAM_SECONDS) as response:
        response.encoding = "utf-8"
        return list(response.iter_lines(decode_unicode=True))


def read_by_node(url: str) -> list[str]:
    """Read with the readline of Node.js, which splits at U+2028 and U+2029."""
    output = run(*node_command("read_lines.js", url))
    return [json.loads(line) for line in output.split("\n")[:-1]]


def read_by_java(url: str) -> list[str]:
    """Read with `BodyHandlers.ofLines` of Java."""
    return run(*java_command("stream", url)).split("\n")[:-1]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=PROGRAM_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


READERS: dict[str, Callable[[str], list[str]]] = {
    "httpx": read_by_httpx,
    "requests": read_by_requests,
    "node": read_by_node,
    "java": read_by_java,
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with messages on a channel that has ended."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    for text in TEXTS:
        daemon.publish("lines", text.encode(), Content_Type="text/plain")
    daemon.request("POST", "/pub/lines?end=1")
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_stream_has_one_line_per_message(daemon: Daemon, read: Callable[[str], list[str]]):
    lines = [json.loads(line) for line in read(f"http://127.0.0.1:{daemon.http_port}/stream/lines?since=all")]
    assert [line.get("data") for line in lines[:-1]] == TEXTS
    assert lines[-1] == {"type": "end", "channel": "lines"}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_events_have_one_data_line_per_message(daemon: Daemon, read: Callable[[str], list[str]]):
    lines = read(f"http://127.0.0.1:{daemon.http_port}/sse/lines?since=all&format=json")
    assert {line.partition(":")[0] for line in lines} == {"", "retry", "id", "event", "data"}
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert data[0]["type"] == "begin"
    assert [each.get("data") for each in data[1:-1]] == TEXTS
    assert data[-1] == {"type": "end", "channel": "lines"}
