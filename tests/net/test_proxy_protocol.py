"""The PROXY protocol: a connection belongs to the client that its header names."""

import struct

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pushd.net.admission import Admission
from pushd.net.proxy_protocol import InvalidHeader, ProxyProtocolFactory, split_header
from pushd.net.sockets import attach_protocol

PREFIX = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(family: int, body: bytes, command: int = 0x21) -> bytes:
    """Return a header of version 2."""
    return PREFIX + bytes((command, family)) + struct.pack("!H", len(body)) + body


INET = version_2(0x11, bytes((192, 0, 2, 7, 127, 0, 0, 1)) + struct.pack("!2H", 4711, 80))
INET6 = version_2(0x21, bytes.fromhex("20010db8" + "0" * 23 + "1" + "0" * 32) + struct.pack("!2H", 4711, 80))
MAPPED = version_2(0x21, bytes.fromhex("0" * 20 + "ffffc0000207" + "0" * 32) + struct.pack("!2H", 4711, 80))
CLIENT = IPv4Address("TCP", "192.0.2.7", 4711)
HEADERS = [
    (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n", CLIENT),
    (b"PROXY TCP6 2001:DB8:0::1 ::1 4711 80\r\n", IPv6Address("TCP", "2001:db8::1", 4711)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n", CLIENT),
    (b"PROXY UNKNOWN ::1 ::1 1 2\r\n", None),
    (b"PROXY UNKNOWN\r\n", None),
    (INET, CLIENT),
    (INET6, IPv6Address("TCP", "2001:db8::1", 4711)),
    (MAPPED, CLIENT),
    (version_2(0x00, b"", 0x20), None),
    (version_2(0x11, INET[16:] + b"\x04\x00\x02ab"), CLIENT),
    (version_2(0x31, b"\0" * 216), None),
]
INVALID = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP4 192.0.2.300 127.0.0.1 4711 80\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 x 80\r\n",
    b"PROXY TCP6 fe80::1%$x ::1 4711 80\r\n",
    b"PROXY TCP4 \xff 127.0.0.1 4711 80\r\n",
    b"PROXY TCP9 1 2 3 4\r\n",
    b"PROXY " + b"x" * 200,
    b"\r\n\r\nQUIT",
    version_2(0x11, b"short"),
    version_2(0x77, b"x" * 36),
    version_2(0x11, b"x" * 5000),
    PREFIX + b"\x91\x11\x00\x00",
]


@pytest.mark.parametrize(("header", "client"), HEADERS)
def test_header_names_the_client(header, client):
    assert split_header(header + b"rest") == (client, b"rest")


@pytest.mark.parametrize(("header", "client"), HEADERS)
def test_header_may_be_incomplete(header, client):
    assert [split_header(header[:size]) for size in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize("data", INVALID)
def test_invalid_header_is_recognized(data):
    with pytest.raises(InvalidHeader):
        split_header(data)


class Recorder(Protocol):
    """Records what it receives."""

    def __init__(self, address):
        self.address = address
        self.received = b""
        self.is_lost = False

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason=connectionDone):
        self.is_lost = True


class Recording(ServerFactory):
    """Builds recorders."""

    def __init__(self):
        self.built = []

    def buildProtocol(self, addr):
        if addr.host == "192.0.2.99":
            return None
        self.built.append(Recorder(addr))
        return self.built[-1]


class Proxied:
    """A connection of a proxy."""

    def __init__(self, connections=10):
        self.clock, self.admission, self.factory = Clock(), Admission(connections, 1), Recording()
        self.invalid: list[str | None] = []
        outer = ProxyProtocolFactory(self.factory, self.clock, self.admission.admit, self.invalid.append)
        self.peer = IPv4Address("TCP", "127.0.0.1", 5)
        self.transport = StringTransport(peerAddress=self.peer)
        self.connection = outer.buildProtocol(self.peer)
        self.connection.makeConnection(self.transport)

    def is_aborted(self):
        return self.transport.disconnected


def test_protocol_is_built_for_the_client_and_receives_the_rest():
    proxied = Proxied()
    for byte in INET:
        proxied.connection.dataReceived(bytes((byte,)))
    (protocol,) = proxied.factory.built
    assert protocol.address == CLIENT
    assert protocol.transport.getPeer() == CLIENT
    proxied.connection.dataReceived(b"a")
    proxied.connection.dataReceived(b"b")
    assert protocol.received == b"ab"
    protocol.transport.write(b"answer")
    assert proxied.transport.value() == b"answer"
    other = Recorder(None)
    attach_protocol(protocol.transport, other)
    proxied.connection.dataReceived(b"c")
    assert other.received == b"c"
    proxied.connection.connectionLost(None)
    assert other.is_lost


def test_connection_without_a_client_address_is_that_of_the_proxy():
    proxied = Proxied()
    proxied.connection.dataReceived(b"PROXY UNKNOWN ::1 ::1 1 2\r\nx")
    assert [(each.address, each.received) for each in proxied.factory.built] == [(proxied.peer, b"x")]


@pytest.mark.parametrize("data", INVALID)
def test_invalid_header_ends_the_connection(data):
    proxied = Proxied()
    proxied.connection.dataReceived(data)
    proxied.connection.dataReceived(INET)
    assert (proxied.is_aborted(), proxied.invalid, proxied.factory.built) == (True, ["127.0.0.1"], [])
    proxied.connection.connectionLost(None)
    assert proxied.clock.getDelayedCalls() == []


def test_missing_header_ends_the_connection():
    proxied = Proxied()
    proxied.connection.dataReceived(INET[:20])
    proxied.clock.advance(4.9)
    assert not proxied.is_aborted()
    proxied.clock.advance(0.2)
    assert (proxied.is_aborted(), proxied.invalid) == (True, ["127.0.0.1"])


def test_waiting_connection_has_a_slot_until_its_protocol_is_built():
    proxied = Proxied()
    assert len(proxied.admission) == 1
    proxied.connection.dataReceived(INET)
    assert len(proxied.admission) == 0, "the protocol takes its own"
    lost = Proxied()
    lost.connection.connectionLost(None)
    assert len(lost.admission) == 0


def test_refused_client_is_disconnected():
    proxied = Proxied()
    proxied.connection.dataReceived(b"PROXY TCP4 192.0.2.99 127.0.0.1 4711 80\r\n")
    assert proxied.is_aborted()
    assert proxied.invalid == []


@pytest.mark.parametrize("is_begun", [True, False])
def test_closed_sending_side_is_passed_on(is_begun):
    proxied = Proxied()
    if is_begun:
        proxied.connection.dataReceived(INET)
    proxied.connection.readConnectionLost()
    assert proxied.transport.disconnecting
    proxied.connection.writeConnectionLost()
