"""Fan-out of one block of bytes to many sockets.

`socket.send` in Python costs a third more than the system call: for the method call, its arguments, and releasing the
interpreter lock and acquiring it again. If a C compiler was available at installation, a loop in C avoids this cost
(docs/benchmarks.md shows the gain). Otherwise the loop is in Python.
"""

from typing import Any

from pushd.core.dispatcher import SendEach, send_one_by_one
from pushd.net.direct_send import socket_of

send_each: SendEach
try:
    from pushd.net._fan_out import send_each
except ImportError:
    send_each = send_one_by_one

IS_COMPILED = send_each is not send_one_by_one


def direct_handle(transport: Any) -> Any:
    """Return what `send_each` takes for a connection; None if its bytes cannot be sent unchanged, as with TLS.

    It is the file descriptor, or without the C extension the `send` method of the socket.
    """
    sock = socket_of(transport)
    if sock is None:
        return None
    return sock.fileno() if IS_COMPILED else sock.send
