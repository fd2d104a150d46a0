"""The internals of Twisted, Autobahn and txredisapi on which pushd depends: a release that changes one fails here.

Each entry is a function whose behaviour a module of pushd relies on, and the fingerprint of its code without comments
and indentation. docs/dependencies.md lists them with the reasons.
"""

import ast
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import txredisapi
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.application.internet import StreamServerEndpointService
from twisted.internet import abstract, base, epollreactor, posixbase, tcp

ROOT = Path(__file__).parents[2]


def fingerprint(function: Callable[..., Any]) -> str:
    """Return 12 hexadecimal digits that change with the code of a function, and not with its comments."""
    lines = [line.partition("#")[0].strip() for line in inspect.getsource(function).splitlines()]
    return hashlib.sha256("\n".join(filter(None, lines)).encode()).hexdigest()[:12]


INTERNALS: list[tuple[str, Callable[..., Any], str]] = [
    ("pushd/net/direct_send.py", tcp.Server.__init__, "761a26cf1681"),
    ("pushd/net/direct_send.py", abstract.FileDescriptor.write, "1bcfa23120d6"),
    ("pushd/net/direct_send.py", abstract.FileDescriptor.doWrite, "4ee4fda4f684"),
    ("pushd/net/low_priority.py", tcp.Port.doRead, "e5cc52d8f666"),
    ("pushd/net/low_priority.py", posixbase._DisconnectSelectableMixin._disconnectSelectable, "3d5830d2ae49"),
    ("pushd/net/low_priority.py", epollreactor.EPollReactor._doReadOrWrite, "c9e416fdfc87"),
    ("pushd/net/shared_port.py", posixbase.PosixReactorBase.listenSSL, "39a6758112cd"),
    ("pushd/service/listener.py", StreamServerEndpointService.privilegedStartService, "41314d8ce1ba"),
    ("pushd/tap.py", base.ReactorBase.callLater, "57384f8a8b9e"),
    ("pushd/tap.py", base.ReactorBase.timeout, "e667e0e24a10"),
    ("pushd/tap.py", base.ReactorBase.runUntilCurrent, "6bae6ee9cf49"),
    ("pushd/transports/websocket_reader.py", WebSocketProtocol._connectionMade, "c30299214c03"),
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
    "pushd/service/listener.py": (StreamServerEndpointService, ("_waitingForPort",)),
}


@pytest.mark.parametrize(
    ("module", "function", "expected"), INTERNALS, ids=lambda each: getattr(each, "__qualname__", None)
)
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


@pytest.mark.parametrize("module", sorted({module for module, _, _ in INTERNALS} | set(ATTRIBUTES)))
def test_each_module_that_depends_on_internals_is_documented(module: str) -> None:
    assert f"`{module}`" in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")


def test_private_attributes_of_libraries_are_used_in_one_module_each() -> None:
    names = {
        "_tempDataBuffer",
        "_writeDisconnected",
        "_logger",
        "numberAccepts",
        "_waitingForPort",
        "_disconnectSelectable",
    }
    found: dict[str, set[str]] = {name: set() for name in names}
    for file in (ROOT / "pushd").rglob("*.py"):
        attributes = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        for name in names & attributes:
            found[name].add(file.relative_to(ROOT).as_posix())
    assert all(len(files) == 1 for files in found.values()), found
