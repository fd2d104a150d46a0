"""What `pushctl sub` prints and does when its token expires, by a server that says so."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from pushd.ctl.main import main

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
BEGIN = {"type": "begin", "cursor": "e-0", "connection": "c"}
MESSAGE = {"id": "e-1", "channel": "a", "time": 1.0, "content_type": "text/plain", "data": "one"}
EXPIRING = {"type": "expiring", "at": 1_800_000_000}
EXPIRED = {"type": "expired", "code": "token-expired"}
WARNING = "the token expires at 08:00:00 UTC, and there is no other"
Script = Callable[[bytes], int]


@pytest.fixture
def server() -> Iterator[Script]:
    """Return a function that starts a server, which answers one connection with some bytes, and returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[Thread] = []

        def answer(content: bytes) -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(content)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass

        def start(content: bytes) -> int:
            thread = Thread(target=answer, args=(content,))
            thread.start()
            threads.append(thread)
            port: int = listener.getsockname()[1]
            return port

        yield start
        for thread in threads:
            thread.join(10)


@pytest.mark.parametrize("transport", ["stream", "sse"])
def test_expired_token_ends_a_stream_without_a_reconnect(
    server: Script, transport: str, capfd: pytest.CaptureFixture[str]
) -> None:
    form = "data: {}\n\n" if transport == "sse" else "{}\n"
    items = [BEGIN, MESSAGE, EXPIRING, EXPIRED, MESSAGE]
    port = server(HEAD + "".join(form.format(json.dumps(item)) for item in items).encode())
    url = f"http://127.0.0.1:{port}"
    assert main(["--url", url, "sub", "a", "--transport", transport, "--token", "t"]) == 1
    out, error = capfd.readouterr()
    assert out == "one\n"
    assert error.splitlines() == [
        f"pushctl: {url}: {WARNING}",
        "pushctl: token-expired: the token is not valid any more",
    ]


def test_expired_token_ends_a_line_connection(server: Script, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (
        b"INFO {}\r\n+OK AUTH alice\r\n+OK FORMAT json\r\n+OK SUB a cursor=e-0\r\n%b\r\n%b\r\nEXPIRING 1800000000\r\n"
        b"-ERR token-expired token has expired\r\n"
    )
    port = server(lines % (json.dumps(BEGIN).encode(), json.dumps(MESSAGE).encode()))
    assert main(["--tcp", f"127.0.0.1:{port}", "sub", "a", "--transport", "tcp", "--token", "t"]) == 1
    out, error = capfd.readouterr()
    assert out == "one\n"
    first, second = error.splitlines()
    assert first.endswith(WARNING)
    assert second == "pushctl: token-expired: token has expired"


def test_objects_are_printed_as_json(server: Script, capfd: pytest.CaptureFixture[str]) -> None:
    gap = {"type": "gap", "topic": "a", "from": "e-0", "to": "e-5", "reason": "evicted"}
    port = server(HEAD + "".join(json.dumps(item) + "\n" for item in (BEGIN, gap, MESSAGE, EXPIRED)).encode())
    assert main(["--url", f"http://127.0.0.1:{port}", "sub", "a", "--json"]) == 1
    out, error = capfd.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [gap, MESSAGE]
    assert re.fullmatch("pushctl: token-expired: .*\n", error)
