"""One block of bytes for many sockets at once.

A `socket.send` from Python costs a third more than the system call: the method, its arguments, the interpreter's lock
given up and taken again. Where a C compiler was there at the installation, a loop in C does without (docs/benchmarks.md
shows what it gains); elsewhere it is a loop in Python.
"""

from typing import Any

from pushd.core.dispatcher import SendEach, send_one_by_one
from pushd.net.prompt import socket_of

send_each: SendEach
try:
    from pushd.net._burst import send_each
except ImportError:
    send_each = send_one_by_one

IS_COMPILED = send_each is not send_one_by_one


def handle_of(transport: Any) -> Any:
    """Give what `send_each` needs of a connection; None where its bytes can not be handed to the kernel as they are."""
    sock = socket_of(transport)
    if sock is None:
        return None
    return sock.fileno() if IS_COMPILED else sock.send
