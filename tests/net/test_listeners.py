"""Endpoint strings are parsed as Twisted parses them, and a port in use ends the start with one sentence."""

import errno
import os
import re
import socket

import pytest
from twisted.application import strports
from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.testing import MemoryReactor
from twisted.python.systemd import ListenFDs

from pushd.net.listeners import (
    CannotStart,
    Reach,
    StartOrExit,
    check_endpoint,
    exposed,
    inherited_name,
    is_local,
    is_on_loopback,
    prepare,
    reach_of,
    with_defaults,
)

BOUND = [
    ("tcp:8080", False),
    ("tcp:8080:127.0.0.1", False),
    ("tcp:8080:interface=", False),
    ("tcp:8080:interface=0.0.0.0", False),
    ("tcp:8080:interface=10.0.0.1", False),
    ("tcp:8080:interface=127.0.0.1", True),
    ("tcp:8080:interface=127.8.9.1", True),
    ("tcp:8080:interface=localhost", True),
    ("tcp:interface=127.0.0.1:port=8080", True),
    ("tcp:8080:interface=localhost.example.org", False),
    (r"tcp:8080:interface\=127.0.0.1", False),
    (r"tcp:8080:inter\face=127.0.0.1", True),
    ("tcp:8080:interface=127.0.0.1:interface=10.0.0.1", False),
    ("tcp:8080:interface=10.0.0.1:interface=127.0.0.1", True),
    (r"tcp:8080:interface=127.0.0.1\:interface=10.0.0.1", False),
    ("tcp6:8080", False),
    (r"tcp6:8080:interface=\:\:1", True),
    (r"tcp6:8080:interface=\:\:", False),
    ("haproxy:tcp:8080:interface=127.0.0.1", True),
    ("haproxy:tcp:8080", False),
]


def bound_interface(text: str) -> str:
    """Return the interface that Twisted binds for an endpoint string."""
    reactor = MemoryReactor()
    serverFromString(reactor, text).listen(Factory())
    return reactor.tcpServers[0][3]


@pytest.mark.parametrize(("text", "local"), BOUND)
def test_endpoint_bound_to_loopback_is_local(text, local):
    assert is_local(text) is local
    bound = bound_interface(text)
    assert not local or bound in ("localhost", "::1") or bound.startswith("127.")


@pytest.mark.parametrize(
    "text", ["unix:/run/pushd.sock", "unix:/run/pushd.sock:mode=660", "systemd:domain=INET:index=0"]
)
def test_unix_and_inherited_sockets_are_local(text):
    assert is_local(text)


@pytest.mark.parametrize("text", ["ssl:8443:privateKey=k.pem", "tls:certs:443", "stdio:", "autobahn:tcp\\:80", "x:"])
def test_other_endpoints_are_not_local(text):
    assert not is_local(text)


@pytest.mark.parametrize("text", [text for text, _ in BOUND if "interface=127.0.0.1:" not in text])
def test_valid_endpoint_strings_are_accepted(text):
    check_endpoint(text, MemoryReactor())


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("tcp:", "'tcp:' is not an endpoint string ('' is not a number)"),
        ("tcp:80:colour=red", "'tcp:80:colour=red' is not an endpoint string (unknown argument 'colour')"),
        ("pigeon:80", "'pigeon:80' is not an endpoint string (Unknown endpoint type: 'pigeon')"),
        ("tcp:80\\", "'tcp:80\\\\' is not an endpoint string ("),
        ("ssl:80:privateKey=nowhere.pem", "' cannot be used (nowhere.pem: No such file or directory)"),
        ("ssl:x:privateKey=nowhere.pem", "' is not an endpoint string ('x' is not a number)"),
        ("ssl:privateKey=nowhere.pem", "' is not an endpoint string (the port is missing)"),
        ("haproxy:ssl:70000:privateKey=nowhere.pem", "' has an invalid port: must be between 0 and 65535"),
        ("unix:x:mode=rw", "'unix:x:mode=rw' is not an endpoint string ('rw' is not a number)"),
        ("systemd:index=0", "'systemd:index=0' is not an endpoint string (an argument is missing)"),
        ("tls:nowhere:70000", "'tls:nowhere:70000' has an invalid port: must be between 0 and 65535"),
        ("unix:", "'unix:' is not an endpoint string (the path must not be empty)"),
        ("unix:address=", "'unix:address=' is not an endpoint string (the path must not be empty)"),
        ("tcp:70000", "'tcp:70000' has an invalid port: must be between 0 and 65535"),
        ("tcp:port=70000", "'tcp:port=70000' has an invalid port: must be between 0 and 65535"),
        ("tcp:-1", "'tcp:-1' has an invalid port: must be between 0 and 65535"),
    ],
)
def test_invalid_endpoint_string_is_reported(text, phrase):
    with pytest.raises(ValueError, match=re.escape(phrase)):
        check_endpoint(text, MemoryReactor())


@pytest.mark.parametrize(
    ("name", "reach"),
    [
        (("127.0.0.1", 80), Reach.LOOPBACK),
        (("127.8.9.1", 80), Reach.LOOPBACK),
        (("::1", 80, 0, 0), Reach.LOOPBACK),
        (("::ffff:127.0.0.1", 80, 0, 0), Reach.LOOPBACK),
        (("0.0.0.0", 80), Reach.OTHERS),
        (("10.0.0.1", 80), Reach.OTHERS),
        (("::", 80, 0, 0), Reach.OTHERS),
        (("fe80::1%lo", 80, 0, 1), Reach.OTHERS),
        (("::ffff:10.0.0.1", 80, 0, 0), Reach.OTHERS),
        ((3, 80), Reach.OTHERS),
        ("/run/pushd.sock", Reach.UNIX),
        ("", Reach.UNIX),
        (b"\0pushd", Reach.UNIX),
    ],
)
def test_reach_of_a_listener_follows_from_its_bound_address(name, reach):
    assert reach_of(name) is reach


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("domain", ["INET", "INET6", "UNIX"])
@pytest.mark.parametrize("prefix", ["", "haproxy:"])
def test_address_of_an_inherited_socket_is_that_of_the_socket_not_of_its_endpoint_string(
    monkeypatch, family, host, domain, prefix
):
    with socket.create_server((host, 0), family=family) as listener:
        inherited = ListenFDs([listener.fileno()])
        monkeypatch.setattr("twisted.internet.endpoints._SystemdParser._sddaemon", inherited)
        name = inherited_name(f"{prefix}systemd:domain={domain}:index=0", MemoryReactor())
        assert name == listener.getsockname()


@pytest.mark.parametrize("text", [text for text, _ in BOUND] + ["unix:/run/pushd.sock"])
def test_other_endpoints_are_not_inherited(text):
    assert inherited_name(text, MemoryReactor()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:80", "tcp:80:backlog=9"),
        ("tcp:80:127.0.0.1:7", "tcp:80:127.0.0.1:7"),
        ("tcp:80:backlog=7", "tcp:80:backlog=7"),
        ("haproxy:tcp:80", "haproxy:tcp:80:backlog=9"),
        (r"tcp6:80:interface=\:\:", r"tcp6:80:interface=\:\:"),
        ("unix:/a", "unix:/a:backlog=9:mode=660"),
        ("unix:/a:mode=666", "unix:/a:mode=666:backlog=9"),
        ("unix:/a:600", "unix:/a:600:backlog=9"),
        ("unix:address=/a:lockfile=0", "unix:address=/a:lockfile=0:backlog=9:mode=660"),
        ("haproxy:unix:/a:backlog=7", "haproxy:unix:/a:backlog=7:mode=660"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ],
)
def test_defaults_are_added_where_they_are_not_given(text, expected):
    assert with_defaults(text, 9) == expected


def test_socket_that_exists_is_accessible_to_its_user_and_group_only(tmp_path):
    reactor = MemoryReactor()
    serverFromString(reactor, with_defaults(f"unix:{tmp_path}/sock", 9)).listen(Factory())
    assert reactor.unixServers[0][:4:3] == (f"{tmp_path}/sock", 0o660)


def test_error_about_an_exposed_listener_names_endpoint_and_address():
    sentence = exposed("systemd:domain=INET:index=0", ("0.0.0.0", 80))
    assert sentence.startswith("systemd:domain=INET:index=0 is bound to 0.0.0.0:80, which is open to other machines")


class Accepted(Protocol):
    """Fires a Deferred with its transport."""

    def __init__(self, accepted: Deferred[ITCPTransport]) -> None:
        self._accepted = accepted

    def connectionMade(self) -> None:
        self._accepted.callback(ITCPTransport(self.transport))


class Accepting(ServerFactory):
    """Accepts one connection."""

    noisy = False

    def __init__(self) -> None:
        self.accepted: Deferred[ITCPTransport] = Deferred()

    def buildProtocol(self, addr: IAddress | None) -> Accepted:
        return Accepted(self.accepted)


@pytest.mark.parametrize(
    ("interface", "is_prepared", "is_on"),
    [("127.0.0.1", True, True), ("0.0.0.0", True, False), ("0.0.0.0", False, True)],
)
async def test_connection_from_loopback_to_another_listener_is_not_on_loopback(interface, is_prepared, is_on):
    """A listener that was not prepared counts as one on loopback, for which the rules are stricter."""
    from twisted.internet import reactor

    factory = Accepting()
    port = reactor.listenTCP(0, factory, interface=interface)
    if is_prepared:
        prepare(port, 50)
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    with socket.create_connection(("127.0.0.1", address.port)):
        transport = await factory.accepted
        assert is_on_loopback(transport) is is_on
    transport.abortConnection()
    await maybeDeferred(port.stopListening)


class Failing(Service):
    """A child that cannot start."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def privilegedStartService(self) -> None:
        raise self.error

    startService = privilegedStartService


@pytest.mark.parametrize("start", ["privilegedStartService", "startService"])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            CannotListenError("127.0.0.1", 80, OSError(errno.EACCES, os.strerror(errno.EACCES))),
            "cannot listen on 127.0.0.1:80: Permission denied",
        ),
        (
            CannotListenError("", 80, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))),
            "cannot listen on *:80: Address already in use",
        ),
        (
            CannotListenError(None, "/run/pushd.sock", "Cannot acquire lock"),
            "cannot listen on /run/pushd.sock: Cannot acquire lock",
        ),
        (
            CannotListenError(None, b"/run/pushd.sock", OSError(errno.ENOENT, os.strerror(errno.ENOENT))),
            "cannot listen on /run/pushd.sock: No such file or directory",
        ),
    ],
)
def test_port_that_cannot_be_opened_ends_the_process_with_one_sentence(start, error, sentence):
    reported: list[str] = []
    root = StartOrExit(reported.append)
    Failing(error).setServiceParent(root)
    with pytest.raises(CannotStart) as caught:
        getattr(root, start)()
    assert (reported, str(caught.value), caught.value.code) == ([sentence], sentence, 1)


def test_other_failure_of_the_start_is_raised():
    root = StartOrExit(lambda sentence: pytest.fail(sentence))
    Failing(RuntimeError("a bug")).setServiceParent(root)
    with pytest.raises(RuntimeError, match="a bug"):
        root.startService()


def test_exception_is_handled_by_twistd_and_python():
    """twistd removes its pid file after an Exception; Python prints no traceback of a SystemExit."""
    assert issubclass(CannotStart, Exception)
    assert issubclass(CannotStart, SystemExit)


def test_port_in_use_ends_the_process_with_one_sentence():
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        root = StartOrExit(lambda sentence: None)
        text = f"tcp:{port}:interface=127.0.0.1"
        strports.service(text, Factory(), reactor=reactor).setServiceParent(root)
        with pytest.raises(CannotStart, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"):
            root.privilegedStartService()
