"""Whether Redis can be reached, for a check before the start: without the reactor, in a bounded time."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from typing import Final

import hiredis

from pushd.backends.redis.address import Address

_SECONDS: Final = 2.0
"""The most time for each step with one host."""
_LIMIT: Final = 4.0
"""The most time for all hosts, the resolution of their names included."""
_BLOCK: Final = 4096


def why_unreachable(address: Address, ca_file: str = "") -> str | None:
    """Return why no server of an address answers as it must; None if one does.

    :param ca_file: the trusted certificates for TLS; if empty, those of the system.
    """
    reasons: list[str | None] = []
    # A thread, because the time to resolve a name cannot be bounded otherwise.
    thread = Thread(target=lambda: reasons.append(_first_reason(address, ca_file)), daemon=True)
    thread.start()
    thread.join(_LIMIT)
    return reasons[0] if reasons else f"it has not answered within {_LIMIT:.0f} seconds"


def _first_reason(address: Address, ca_file: str) -> str | None:
    reasons = []
    for target in [address.path] if address.path else address.hosts:
        reason = _why_unreachable_at(target, address, ca_file)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0]


def _why_unreachable_at(target: str | tuple[str, int], address: Address, ca_file: str) -> str | None:
    try:
        with closing(_connect(target, address, ca_file)) as sock:
            commands = list(_commands(address))
            # Its type stub accepts a tuple with one part only.
            sock.sendall(b"".join([hiredis.pack_command(command) for command in commands]))  # type: ignore[arg-type]
            reader, replies = hiredis.Reader(), 0
            while replies < len(commands):
                reply = reader.gets()
                if isinstance(reply, hiredis.HiredisError):
                    return f"it answers {reply}"
                if reply is not False:
                    replies += 1
                elif data := sock.recv(_BLOCK):
                    reader.feed(data)
                else:
                    return "it closed the connection"
    except TimeoutError:
        return f"it has not answered within {_SECONDS:.0f} seconds"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not accepted: {error.verify_message}"
    except hiredis.ProtocolError:
        return "the server there is not Redis"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _commands(address: Address) -> Iterator[tuple[str, ...]]:
    if address.password is not None and not address.service:
        yield ("AUTH", *([address.user] if address.user else []), address.password)
    yield ("PING",)


def _connect(target: str | tuple[str, int], address: Address, ca_file: str) -> socket.socket:
    if isinstance(target, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_SECONDS)
        sock.connect(target)
        return sock
    sock = socket.create_connection(target, _SECONDS)
    if not address.tls:
        return sock
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        return context.wrap_socket(sock, server_hostname=target[0])
    except BaseException:
        sock.close()
        raise
