"""Listeners: what an endpoint string says, and a start that a taken port ends with one sentence."""

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

_PROBES = 3
_UNSENT = 128 << 10
"""Bytes of a connection that wait in the kernel at most, about, for the network to take them. Linux would let four MiB
wait, which is a private copy for each slow reader, hides for as long that it is slow, and is no part of its queue.
"""
# Where the port stands among the arguments of the kinds of endpoint that bind an address.
_PORT_AT = {"tcp": 0, "tcp6": 0, "ssl": 0, "tls": 1}
_PIECE = re.compile(r"((?:\\.|[^\\:])*):", re.DOTALL)
_NAME_AND_VALUE = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)


class CannotStart(SystemExit, Exception):
    """The daemon can not start, and one sentence says why.

    It is an Exception, so that twistd removes its pid file and tells whoever waits for the daemon to start, and
    a SystemExit, so that Python then leaves with status 1 and without a traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class Reach(Enum):
    """From where a listener can be reached."""

    UNIX = "a Unix socket"
    LOOPBACK = "a loopback address"
    OTHERS = "other machines"


def reach_of(name: object) -> Reach:
    """Return from where a bound socket can be reached.

    :param name: its address as ``getsockname`` gives it, whatever an endpoint string said.
    """
    if not isinstance(name, tuple):
        return Reach.UNIX
    return Reach.LOOPBACK if _is_loopback(str(name[0])) else Reach.OTHERS


def is_on_loopback(transport: Any) -> bool:
    """Return whether a connection was accepted by a listener that is bound to a loopback address, or by one that
    `prepare` has not seen. One that is bound to every address is none of those, though it can be reached by loopback.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    return getattr(getattr(transport, "server", None), "reach", Reach.LOOPBACK) is Reach.LOOPBACK


def prepare(port: Any, dead_peer: int) -> None:
    """Set up a listening port: its connections send at once, in small pieces too, the kernel does not hide who reads
    slowly, and dead peers are found.

    :param dead_peer: seconds; see `find_dead_peers`.
    """
    enable_direct_send(port)
    sock = port.socket
    port.reach = reach_of(sock.getsockname())
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        port.probe_after = cycle(set_dead_peer_timeout(sock, dead_peer))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option := getattr(socket, "TCP_NOTSENT_LOWAT", None):
            sock.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


def on_too_many_files(port: Any, told: Callable[[str | None], None]) -> None:
    """Let `told` be called with the host of each connection that a port closes at once, since the process may open no
    more files. Twisted would write three lines a connection to the log.
    """
    usual = port._logger.observer

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "EMFILE" not in event["log_format"]:
            usual(event)
        elif address := event.get("address"):
            told(address[0] if isinstance(address, tuple) else None)

    port._logger = Logger(namespace=port._logger.namespace, observer=observe)


def set_dead_peer_timeout(sock: socket.socket, seconds: int) -> Sequence[int]:
    """Let TCP give a peer up of which nothing was heard for `seconds`, whether it owes us data (RFC 5482) or not
    (RFC 9293, 3.8.4). The connections that a listening socket accepts have this from it.

    Half of the time is for each: what is sent to a peer that fell silent starts the clock of unanswered data, and then
    the probes stop.

    Gives the seconds of silence after which a connection may be probed: they are to be dealt out. A crowd that was
    written to at once would else be probed at once, again and again, and where the probes overrun a queue of the
    network, peers are given up that are well.
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
    """Raise ValueError with a phrase where Twisted could not listen on such an endpoint string."""
    try:
        serverFromString(reactor, text)
        kind, plain, named = _read(text)
        port = int(named["port"] if "port" in named else plain[_PORT_AT[kind]]) if kind in _PORT_AT else 0
    except Exception as error:  # each kind of endpoint fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{text!r} is not an endpoint string ({reason})") from error
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} has a port beyond 65535")


def is_local(text: str) -> bool:
    """Return whether an endpoint string allows only this machine to connect, as far as the text tells: a socket that
    systemd hands over may be bound to any address, see `inherited_name` and `reach_of`.
    """
    kind, _, named = _read(text)
    if kind == "haproxy":
        return is_local(text.partition(":")[2])
    return kind in ("unix", "systemd") or (kind in _PORT_AT and _is_loopback(named.get("interface", "")))


def inherited_name(text: str, reactor: Any) -> object | None:
    """Return the address, as ``getsockname`` does, of a socket that systemd hands over and on which nobody listens yet;
    None for any other endpoint string.

    :raises OSError: the descriptor is not a socket.
    """
    kind, _, _ = _read(text)
    if kind == "haproxy":
        return inherited_name(text.partition(":")[2], reactor)
    if kind != "systemd":
        return None
    endpoint: Any = serverFromString(reactor, text)
    with socket.socket(fileno=os.dup(endpoint.fileno)) as sock:
        name: object = sock.getsockname()
        return name


def exposed(text: str, name: object) -> str:
    """Return the sentence about an endpoint that turned out to be bound to an address that other machines reach."""
    host, port = name[:2] if isinstance(name, tuple) else (name, "")
    shown = f"[{host}]" if ":" in str(host) else host
    return (
        f"{text} is bound to {shown}:{port}, which is open to other machines: bind it to a loopback address, "
        "or start with --open to let anyone publish and subscribe"
    )


class StartOrExit(MultiService):
    """A service whose start ends the process with one sentence where a child can not have its port, or start at all."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is handed the sentence before CannotStart is raised."""
        super().__init__()
        self._report = tell

    def privilegedStartService(self) -> None:
        """Start the children while the process may still have the rights of root."""
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
    place = error.port if error.interface is None else f"{error.interface or '*'}:{error.port}"
    return f"can not listen on {place}: {reason}"


def _is_loopback(interface: str) -> bool:
    try:
        address = ipaddress.ip_address(interface)
    except ValueError:
        return interface == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _read(text: str) -> tuple[str, list[str], dict[str, str]]:
    """The kind, the plain and the named arguments, read the way Twisted reads them."""
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
