"""Connections on which the load test and the doctor send requests of their own."""

import socket
from http.client import HTTPConnection, HTTPSConnection

from pushd.client import ConnectionFailed
from pushd.client.core.address import Address
from pushd.client.network.complete_response import CompleteResponse

_TIMEOUT_SECONDS = 30.0


def http_connection(address: Address, seconds: float = _TIMEOUT_SECONDS) -> HTTPConnection:
    """Return a connection, which is opened by its first request.

    :param seconds: read timeout.
    """
    connection_class = HTTPSConnection if address.is_secure else HTTPConnection
    connection = connection_class(address.host, address.port, timeout=seconds)
    connection.response_class = CompleteResponse
    return connection


def connect(address: Address) -> socket.socket:
    """Return a connected socket for requests that are encoded by `encode_head`.

    :raises ConnectionFailed: when the connection cannot be opened.
    """
    connection = http_connection(address)
    try:
        connection.connect()
    except OSError as error:
        raise unreachable(address, error) from error
    sock: socket.socket = connection.sock
    return sock


def encode_head(address: Address, method: str, path: str, lines: str = "") -> bytes:
    """Return the encoded request line and headers (RFC 9112, section 3).

    :param lines: additional header lines, each terminated by CRLF.
    """
    request = f"{method} {address.target(path)} HTTP/1.1\r\nHost: {address.authority}\r\n{lines}\r\n"
    return request.encode("ascii")


def unreachable(address: object, error: Exception) -> ConnectionFailed:
    """Return the exception for a connection that could not be opened.

    :param address: as it is shown.
    """
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectionFailed(f"{address} cannot be reached: {reason}", is_sent=False)
