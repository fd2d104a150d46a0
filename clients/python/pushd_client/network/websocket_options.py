"""What both WebSocket clients of the package `websockets` share."""

from typing import Any

from ..core.interface import Closed, HttpResponse
from ..errors import ConnectionFailed

SUBPROTOCOL = "pushd.v1"
CLOSE_SECONDS = 2.0
"""How long to wait for the answer to a close frame."""
_QUEUED_FRAMES = 16
"""The most frames that are received ahead of the program; then the connection is not read, and the daemon queues."""


def connect_options(idle_seconds: float, seconds: float, max_message_bytes: int, headers: Any) -> dict[str, Any]:
    """Return the arguments of `connect`.

    :param idle_seconds: the time without an answer after which the connection is lost.
    :param seconds: the time until it must be open.
    """
    return {
        "additional_headers": headers,
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "proxy": None,
        "user_agent_header": None,
        "open_timeout": seconds,
        "ping_interval": idle_seconds / 2,
        "ping_timeout": idle_seconds / 2,
        "close_timeout": CLOSE_SECONDS,
        "max_size": max_message_bytes,
        "max_queue": _QUEUED_FRAMES,
    }


def response_of(response: Any) -> HttpResponse:
    """Return the response to a handshake."""
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return HttpResponse(response.status_code, headers, bytes(response.body or b""))


def closed_by(error: Any) -> Closed:
    """Return with which code the daemon closed the connection.

    :raises ConnectionFailed: when it did not: the connection was lost.
    """
    if error.rcvd is None:
        raise ConnectionFailed("the connection was lost") from error
    return Closed(error.rcvd.code, error.rcvd.reason)
