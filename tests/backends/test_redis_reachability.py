"""Whether Redis can be reached: each outcome of a server, in a bounded time."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from pushd.backends.redis import reachability
from pushd.backends.redis.address import Address, parse_url
from pushd.backends.redis.reachability import why_unreachable


@contextmanager
def server(reply: bytes | None) -> Iterator[tuple[str, int]]:
    """Serve one connection; `reply` is sent after its first data, and None answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                if reply is None:
                    connection.recv(1000)  # until the client gives up
                else:
                    connection.sendall(reply)

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.mark.parametrize(
    ("credentials", "reply", "reason"),
    [
        ("", b"+PONG\r\n", None),
        ("", b"-NOAUTH Authentication required.\r\n", "it answers NOAUTH Authentication required."),
        ("user:s3cret@", b"+OK\r\n+PONG\r\n", None),
        (":s3cret@", b"-WRONGPASS invalid\r\n-NOAUTH\r\n", "it answers WRONGPASS invalid"),
        ("", b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server there is not Redis"),
        ("", b"", "it closed the connection"),
    ],
)
def test_answer_of_the_server_counts(credentials: str, reply: bytes, reason: str | None) -> None:
    with server(reply) as (host, port):
        assert why_unreachable(parse_url(f"redis://{credentials}{host}:{port}")) == reason


def test_silent_server_is_left_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "_SECONDS", 0.05)
    with server(None) as (host, port):
        assert why_unreachable(parse_url(f"redis://{host}:{port}")) == "it has not answered within 0 seconds"


def test_one_of_several_sentinels_is_enough() -> None:
    with socket.socket() as closed, server(b"+PONG\r\n") as host:
        closed.bind(("127.0.0.1", 0))
        assert why_unreachable(Address((closed.getsockname(), host), service="main", password="s3cret")) is None


def test_missing_unix_socket_is_reported() -> None:
    assert why_unreachable(parse_url("unix:///nowhere/redis.sock")) == "No such file or directory"


def test_server_without_tls_is_reported() -> None:
    with server(b"-ERR\r\n") as (host, port):
        reason = why_unreachable(parse_url(f"rediss://{host}:{port}"))
    assert reason is not None
    assert "b'" not in reason
