"""The internals of Twisted, Autobahn and txredisapi on which pushd depends: a release that changes one fails here.

First their code, by fingerprints without comments and indentation, and their attributes; then their behaviour, where no
other test runs it. docs/dependencies.md lists them with the reasons.
"""

import ast
import errno
import hashlib
import inspect
import socket
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import txredisapi
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import abstract, base, epollreactor, posixbase, tcp, unix
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.python.logfile import LogFile

from pushd.net.direct_send import DirectServer
from pushd.net.listeners import on_too_many_files
from pushd.net.monotonic_clock import use_monotonic_clock
from pushd.transports.websocket_reader import FrameReaderPool

ROOT = Path(__file__).parents[2]


def fingerprint(function: Callable[..., Any]) -> str:
    """Return 12 hexadecimal digits that change with the code of a function, and not with its comments."""
    lines = [line.partition("#")[0].strip() for line in inspect.getsource(function).splitlines()]
    return hashlib.sha256("\n".join(filter(None, lines)).encode()).hexdigest()[:12]


CODE: list[tuple[str, Callable[..., Any], str]] = [
    ("pushd/net/direct_send.py", tcp.Server.__init__, "761a26cf1681"),
    ("pushd/net/direct_send.py", tcp.Connection.__init__, "49620015890d"),
    ("pushd/net/direct_send.py", abstract.FileDescriptor.__init__, "7c774fa3eece"),
    ("pushd/net/direct_send.py", abstract.FileDescriptor.write, "1bcfa23120d6"),
    ("pushd/net/direct_send.py", abstract.FileDescriptor.doWrite, "4ee4fda4f684"),
    ("pushd/net/low_priority.py", tcp.Port.doRead, "e5cc52d8f666"),
    ("pushd/net/low_priority.py", posixbase._DisconnectSelectableMixin._disconnectSelectable, "3d5830d2ae49"),
    ("pushd/net/low_priority.py", epollreactor.EPollReactor._doReadOrWrite, "c9e416fdfc87"),
    ("pushd/net/listeners.py", tcp._accept, "71bc9171d69e"),
    ("pushd/net/listeners.py", tcp._BuffersLogs, "bb27d6405394"),
    ("pushd/net/inherited_sockets.py", unix.Port._fromListeningDescriptor, "1d804e128e24"),
    ("pushd/net/inherited_sockets.py", unix.Port.startListening, "359868420b1c"),
    ("pushd/net/proxy_protocol.py", V1Parser.parse, "b0fa4e45ba6f"),
    ("pushd/net/proxy_protocol.py", V2Parser.parse, "105dc74f4106"),
    ("pushd/log_file.py", LogFile._openFile, "0f23392134e6"),
    ("pushd/net/unix_sockets.py", unix.Port.connectionLost, "a3fa71ff983c"),
    ("pushd/net/monotonic_clock.py", base.ReactorBase.callLater, "57384f8a8b9e"),
    ("pushd/net/monotonic_clock.py", base.ReactorBase.timeout, "e667e0e24a10"),
    ("pushd/net/monotonic_clock.py", base.ReactorBase.runUntilCurrent, "6bae6ee9cf49"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol._connectionMade, "c30299214c03"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol._dataReceived, "409b5834cedf"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol._connectionLost, "334f23aed764"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol.consumeData, "944de45845aa"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol.processData, "b406da630052"),
    ("pushd/backends/redis/protocols.py", txredisapi.HiredisProtocol.dataReceived, "a699ec7436e6"),
    ("pushd/backends/redis/protocols.py", txredisapi.SubscriberProtocol.replyReceived, "4f7de1bf471d"),
]
ATTRIBUTES = {
    "pushd/net/direct_send.py": (
        tcp.Connection,
        ("dataBuffer", "_tempDataBuffer", "_tempDataLen", "offset", "producerPaused", "_writeDisconnected"),
    ),
    "pushd/net/listeners.py": (tcp.Port, ("_logger",)),
    "pushd/net/low_priority.py": (tcp.Port, ("numberAccepts",)),
}


@pytest.mark.parametrize(("module", "function", "expected"), CODE, ids=lambda each: getattr(each, "__qualname__", None))
def test_code_on_which_a_module_depends_is_unchanged(module: str, function: Callable[..., Any], expected: str) -> None:
    assert fingerprint(function) == expected, (
        f"{function.__module__}.{function.__qualname__} has changed: "
        f"compare {module} with it, then update the fingerprint to {fingerprint(function)}"
    )


@pytest.mark.parametrize("module", ATTRIBUTES)
def test_private_attributes_exist(module: str) -> None:
    owner, names = ATTRIBUTES[module]
    source = inspect.getsource(inspect.getmodule(owner) or owner) + inspect.getsource(abstract)
    for name in names:
        assert hasattr(owner, name) or f"self.{name}" in source, (
            f"{owner.__qualname__}.{name}, which {module} uses, is gone"
        )


MODULES = sorted({module for module, _, _ in CODE} | set(ATTRIBUTES) | {"pushd/net/certificates.py"})


@pytest.mark.parametrize("module", MODULES)
def test_each_module_that_depends_on_internals_is_documented(module: str) -> None:
    assert f"| `{module}` |" in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")


def test_documented_tests_exist() -> None:
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8").partition("## Internals")[2]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) >= len(MODULES)
    for row in rows:
        module, _, _, test = (cell.strip(" `") for cell in row.strip("|").split("|"))
        assert (ROOT / module).exists(), row
        assert (ROOT / test).exists(), row


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("_tempDataBuffer", "pushd/net/direct_send.py"),
        ("_tempDataLen", "pushd/net/direct_send.py"),
        ("_writeDisconnected", "pushd/net/direct_send.py"),
        ("_addressType", "pushd/net/direct_send.py"),
        ("_logger", "pushd/net/listeners.py"),
        ("numberAccepts", "pushd/net/low_priority.py"),
        ("_disconnectSelectable", "pushd/net/low_priority.py"),
        ("_bindPath", "pushd/net/inherited_sockets.py"),
        ("_openFile", "pushd/log_file.py"),
        ("lockFile", "pushd/net/unix_sockets.py"),
        ("connectionCreator", "pushd/net/certificates.py"),
        ("utf8validator", "pushd/transports/websocket_reader.py"),
        ("send_queue", "pushd/transports/websocket_reader.py"),
        ("current_frame", "pushd/transports/websocket_reader.py"),
        ("inside_message", "pushd/transports/websocket_reader.py"),
    ],
)
def test_internal_is_used_in_one_module(name: str, module: str) -> None:
    users = {file.relative_to(ROOT).as_posix() for file in (ROOT / "pushd").rglob("*.py") if name in names_in(file)}
    assert users == {module}


@cache
def names_in(file: Path) -> set[str]:
    """Return the attributes, and the strings, of a Python file."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return strings | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.fixture
def accepted() -> Iterator[Callable[[type[tcp.Server]], tcp.Server]]:
    """A function that makes a connection of a class, with the arguments that a port passes to it."""
    pairs: list[socket.socket] = []

    def make(transport_class: type[tcp.Server]) -> tcp.Server:
        near, far = socket.socketpair()
        pairs.extend((near, far))
        reactor: Any = MemoryReactor()
        port = tcp.Port(0, Factory(), reactor=reactor)
        return transport_class(near, Protocol(), ("::1", 80, 0, 0), port, 7, reactor)

    yield make
    for each in pairs:
        each.close()


def test_direct_connection_has_the_attributes_of_one_of_twisted(
    accepted: Callable[[type[tcp.Server]], tcp.Server],
) -> None:
    """`hostname`, `logstr` and `repstr` are only used by the methods that `DirectServer` overrides."""
    theirs, ours = accepted(tcp.Server), accepted(DirectServer)
    assert vars(theirs).keys() - {"hostname", "logstr", "repstr"} == vars(ours).keys() - {"low_priority"}
    for name in ("_tempDataBuffer", "_tempDataLen", "_addressType", "sessionno", "client", "connected"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.socket.getblocking() == ours.socket.getblocking()
    assert theirs.getPeer() == ours.getPeer()
    for connection in (theirs, ours):
        assert connection in connection.reactor.readers  # type: ignore[attr-defined]


class FullListener:
    """A listening socket of a process that cannot open more files, with two connections to accept."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = [
            OSError(errno.EMFILE, "too many open files"),
            (socket.socket(), ("10.0.0.1", 1234)),
            (socket.socket(), ("10.0.0.2", 1234)),
            OSError(errno.EAGAIN, "none"),
        ]

    def accept(self) -> Any:
        """Return or raise the next outcome."""
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


def test_port_logs_connections_closed_at_the_file_limit_to_its_logger() -> None:
    port: Any = tcp.Port(0, Factory(), reactor=MemoryReactor())
    port.socket, port.numberAccepts = FullListener(), 10
    logged: list[Any] = []
    port._logger = type(port._logger)(namespace="port", observer=logged.append)
    closed: list[str | None] = []
    on_too_many_files(port, closed.append)
    tcp._reservedFD.reserve()
    port.doRead()
    assert closed == ["10.0.0.1", "10.0.0.2"]
    assert logged == []


class TimersOnly(base.ReactorBase):
    """The timers of a reactor, without its file descriptors."""

    def installWaker(self) -> None:
        """Do nothing."""


def test_reactor_reads_the_time_from_its_attribute_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.seconds)
    reactor = TimersOnly()
    use_monotonic_clock(reactor)
    called: list[float] = []
    for delay in (5, 7):
        reactor.callLater(delay, lambda: called.append(clock.seconds()))
    reactor.callLater(9, called.append, -1).reset(8)
    assert reactor.timeout() == 5
    for _ in range(8):
        clock.advance(1)
        reactor.runUntilCurrent()
    assert called == [5, 7, -1]


REPLACED = {"is_closed", "send_queue", "utf8validator"}
"""What a copy of a reader gets of its own."""
SHARED = {
    "factory": "settings",
    "versions": "a setting",
    "perMessageCompressionAccept": "a setting",
    "allowedOrigins": "a setting",
    "allowedOriginsPatterns": "a setting",
    "trafficStats": "counters that are never read",
    "is_open": "of the handshake",
    "_valid_events": "a constant",
    "_results": "of observers, which no reader has",
    "_transport_details": "of the handshake",
}
"""What all copies share, and why they may."""


def test_copied_readers_share_no_state_of_a_connection() -> None:
    pool = FrameReaderPool(Clock(), 1000, 0)
    immutable = (type(None), bool, int, float, str, bytes, tuple)
    mutable = {name for name, value in vars(pool._first).items() if not isinstance(value, immutable)}
    assert mutable == REPLACED | SHARED.keys(), "Autobahn keeps other state: replace it in copies, or explain it here"
    connection: Any = type("Connection", (), {"transport": None})
    one, other = pool.lend(connection), pool.lend(connection)
    for name in REPLACED:
        assert getattr(one, name) is not getattr(other, name), name
