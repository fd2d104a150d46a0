"""Listeners: endpoint strings, socket options, and one sentence for the operator when a port cannot be used."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import cycle
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from pushd.net.direct_send import enable_direct_send
from pushd.net.endpoint_errors import UnusableFiles, check_tls_files, reason_of

_PROBES = 3
_UNSENT = 128 << 10
"""About the most unsent bytes of a connection in the kernel. The default of Linux is 4 MiB: a copy for each slow
consumer that is not counted in its queue and delays its detection.
"""
_UNIX_MODE = "660"
# The arguments of the endpoints that have defaults, in their order.
_POSITIONAL = {"tcp": ("port", "interface", "backlog"), "unix": ("address", "mode", "backlog", "lockfile")}
# The index of the port among the arguments, for the kinds of endpoint that bind an address.
PORT_AT = {"tcp": 0, "tcp6": 0, "ssl": 0, "tls": 1}
_PIECE = re.compile(r"((?:\\.|[^\\:])*):", re.DOTALL)
_NAME_AND_VALUE = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)


class CannotStart(SystemExit, Exception):
    """The daemon cannot start. The text is one sentence for the operator.

    It is an Exception, so that twistd removes its pid file and reports the failure to the process that started it, and
    a SystemExit, so that Python exits with status 1 and without a traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class Reach(Enum):
    """From where clients can connect to a listener."""

    UNIX = "a Unix socket"
    LOOPBACK = "a loopback address"
    OTHERS = "other machines"


def reach_of(name: object) -> Reach:
    """Return from where clients can connect to a bound socket.

    :param name: its address as returned by ``getsockname``.
    """
    if not isinstance(name, tuple):
        return Reach.UNIX
    return Reach.LOOPBACK if _is_loopback(str(name[0])) else Reach.OTHERS


def is_on_loopback(transport: Any) -> bool:
    """Return whether a connection was accepted by a listener that is bound to a loopback address, or by one that
    `prepare` was not called with. A listener that is bound to all addresses does not count, though loopback reaches it.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    return getattr(getattr(transport, "server", None), "reach", Reach.LOOPBACK) is Reach.LOOPBACK


def prepare(port: Any, dead_peer: int) -> None:
    """Set the options of a listening port: its connections send directly and without Nagle's algorithm, the kernel
    buffers little for slow consumers, and dead peers are detected.

    :param dead_peer: seconds; see `set_dead_peer_timeout`.
    """
    enable_direct_send(port)
    sock = port.socket
    port.reach = reach_of(sock.getsockname())
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        port.probe_after = cycle(set_dead_peer_timeout(sock, dead_peer))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option := getattr(socket, "TCP_NOTSENT_LOWAT", None):
            sock.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


def on_too_many_files(port: Any, callback: Callable[[str | None], None]) -> None:
    """Call `callback` with the host of each connection that a port closes at once because the process cannot open more
    files.

    Twisted closes them itself, and only logs that, in three lines for each. So the logger of the port is replaced by
    one whose observer recognizes these lines.
    """
    usual = port._logger.observer

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "EMFILE" not in event["log_format"]:
            usual(event)
        elif address := event.get("address"):
            callback(address[0] if isinstance(address, tuple) else None)

    port._logger = Logger(namespace=port._logger.namespace, observer=observe)


def set_dead_peer_timeout(sock: socket.socket, seconds: int) -> Sequence[int]:
    """Set the socket options by which TCP closes a connection whose peer was silent for `seconds`, with unacknowledged
    data (RFC 5482) or without (RFC 9293, section 3.8.4). Connections inherit them from a listening socket.

    Each of the two timeouts is half of `seconds`: data sent to a silent peer starts the timeout of unacknowledged data
    and stops the probes.

    Return the idle times, in seconds, that the caller distributes among the connections. Otherwise many connections
    that were written to at once would be probed at once, again and again. Where the probes overflow a queue of the
    network, connections of live peers would be closed.
    """
    patience = max(2, seconds // 2)
    interval = max(1, patience // (_PROBES + 2))
    idle = max(1, patience - _PROBES * interval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", patience * 1000),
    ):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return range(max(1, idle // 4), idle + 1)


def check_endpoint(text: str, reactor: Any) -> None:
    """Check an endpoint string.

    :raises UnusableFiles: when it is valid, but names files that cannot be used.
    :raises ValueError: with a phrase for the operator, when Twisted could not listen on it.
    """
    try:
        _check_place(text)
        _check_files(text)
        try:
            serverFromString(reactor, text)
        except LookupError:
            _check_inherited(text)
    except (UnusableFiles, _InvalidPort):
        raise
    except Exception as error:  # each kind of endpoint fails in its own way
        raise ValueError(f"{text!r} is not an endpoint string ({reason_of(error)})") from error


class _InvalidPort(ValueError):
    """A port is out of range."""


def _check_place(text: str) -> None:
    """Check the port or the path of an endpoint string."""
    kind, plain, named = read_endpoint(without_proxy_protocol(text)[0])
    if kind == "unix" and not named.get("address", plain[0] if plain else ""):
        raise ValueError("the path must not be empty")
    if kind not in PORT_AT:
        return
    at = PORT_AT[kind]
    port = named.get("port", plain[at] if len(plain) > at else None)
    if port is None:
        raise ValueError("the port is missing")
    if not 0 <= int(port) <= 65535:
        raise _InvalidPort(f"{text!r} has an invalid port: must be between 0 and 65535")


def _check_files(text: str) -> None:
    kind, _, named = read_endpoint(without_proxy_protocol(text)[0])
    try:
        if kind == "ssl":
            check_tls_files(named)
    except (OSError, ValueError) as error:
        raise UnusableFiles(f"{text!r} cannot be used ({reason_of(error)})") from error


def is_local(text: str) -> bool:
    """Return whether an endpoint string lets only this machine connect, judged by its text. A socket inherited from
    systemd may be bound to any address: see `inherited_name` and `reach_of`.
    """
    kind, _, named = read_endpoint(text)
    if kind == "haproxy":
        return is_local(text.partition(":")[2])
    return kind in ("unix", "systemd") or (kind in PORT_AT and _is_loopback(named.get("interface", "")))


def with_defaults(text: str, backlog: int) -> str:
    """Return an endpoint string with our defaults where they differ from those of Twisted.

    :param backlog: connections that may wait to be accepted. A Unix socket is accessible to its user and group only.
    """
    kind, plain, named = read_endpoint(text)
    if kind == "haproxy":
        prefix, _, inner = text.partition(":")
        return f"{prefix}:{with_defaults(inner, backlog)}"
    defaults: dict[str, object] = {}
    if kind in ("tcp", "unix"):
        defaults["backlog"] = backlog
    if kind == "unix":
        defaults["mode"] = _UNIX_MODE
    # Arguments by position: the address, then in the order of Twisted.
    given = {*named, *_POSITIONAL.get(kind, ())[: len(plain)]}
    return text + "".join([f":{name}={value}" for name, value in defaults.items() if name not in given])


def without_proxy_protocol(text: str) -> tuple[str, bool]:
    """Return the endpoint string behind ``haproxy:``, and whether there was that prefix."""
    kind, _, inner = text.partition(":")
    return (without_proxy_protocol(inner)[0], True) if kind.lower() == "haproxy" else (text, False)


def inherited_name(text: str, reactor: Any) -> object | None:
    """Return the address, like ``getsockname``, of a socket that is inherited from systemd and is not listening yet;
    None for any other endpoint string.

    :raises OSError: when the descriptor is not a socket.
    :raises LookupError: when systemd has passed no such socket.
    """
    kind, _, _ = read_endpoint(text)
    if kind == "haproxy":
        return inherited_name(text.partition(":")[2], reactor)
    if kind != "systemd":
        return None
    endpoint: Any = serverFromString(reactor, text)
    with socket.socket(fileno=os.dup(endpoint.fileno)) as sock:
        name: object = sock.getsockname()
        return name


def _check_inherited(text: str) -> None:
    """Check the endpoint string of a socket that systemd has not passed, as in a shell.

    :raises ValueError: when it is invalid, or is of another kind.
    """
    kind, plain, named = read_endpoint(without_proxy_protocol(text)[0])
    domain = named.get("domain", plain[0] if plain else "")
    if kind != "systemd" or not hasattr(socket, f"AF_{domain}"):
        raise ValueError("domain must be INET, INET6 or UNIX")


def exposed(text: str, name: object) -> str:
    """Return the sentence for an endpoint that is bound to an address that other machines can reach."""
    host, port = name[:2] if isinstance(name, tuple) else (name, "")
    shown = f"[{host}]" if ":" in str(host) else host
    return (
        f"{text} is bound to {shown}:{port}, which is open to other machines: bind it to a loopback address, "
        "or start with --open to let anyone publish and subscribe"
    )


class StartOrExit(MultiService):
    """A service that ends the process with one sentence when a child cannot listen on its port, or cannot start."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """`report` is called with the sentence before CannotStart is raised."""
        super().__init__()
        self._report = report

    def privilegedStartService(self) -> None:
        """Start the children, perhaps with the privileges of root."""
        self._start(super().privilegedStartService)

    def startService(self) -> None:
        """Start the children."""
        self._start(super().startService)

    def _start(self, start: Callable[[], None]) -> None:
        try:
            start()
        except CannotListenError as error:
            sentence = _cannot_listen(error)
            self._report(sentence)
            raise CannotStart(sentence) from error
        except CannotStart as error:
            self._report(str(error))
            raise


def _cannot_listen(error: CannotListenError) -> str:
    reason = getattr(error.socketError, "strerror", None) or error.socketError
    port = os.fsdecode(error.port) if isinstance(error.port, bytes) else error.port
    place = port if error.interface is None else f"{error.interface or '*'}:{port}"
    return f"cannot listen on {place}: {reason}"


def _is_loopback(interface: str) -> bool:
    try:
        address = ipaddress.ip_address(interface)
    except ValueError:
        return interface == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def read_endpoint(text: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the kind, the positional and the named arguments of an endpoint string, parsed as Twisted does."""
    plain: list[str] = []
    named: dict[str, str] = {}
    for piece in _PIECE.findall(text + ":"):
        pair = _NAME_AND_VALUE.fullmatch(piece)
        if pair:
            named[_unescape(pair[1])] = _unescape(pair[2])
        else:
            plain.append(_unescape(piece))
    return plain[0].lower(), plain[1:], named


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
