"""Direct send, on real sockets, since the kernel decides how many bytes it accepts."""

from typing import Any

import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IPushProducer, IReactorUNIX
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from zope.interface import implementer

from pushd.net.direct_send import DirectServer, DirectUnixServer, enable_direct_send, socket_of
from pushd.net.fan_out import direct_handle
from pushd.net.listeners import prepare


@implementer(IPushProducer)
class Server(Protocol):
    """Records the calls of its transport."""

    transport: Any

    def __init__(self):
        self.calls = []

    def connectionMade(self):
        self.transport.registerProducer(self, True)

    def pauseProducing(self):
        self.calls.append("pause")

    def resumeProducing(self):
        self.calls.append("resume")

    def stopProducing(self):
        self.calls.append("stop")


class Factory(ServerFactory):
    """Builds one protocol."""

    noisy = False

    def __init__(self):
        self.server = Server()

    def buildProtocol(self, addr):
        return self.server


async def until(condition):
    from twisted.internet import reactor

    while not condition():
        await deferLater(reactor, 0.001)


def listen(kind, factory, path):
    from twisted.internet import reactor

    if kind == "tcp":
        return reactor.listenTCP(0, factory, interface="127.0.0.1")
    return IReactorUNIX(reactor).listenUNIX(path, factory)


@pytest_twisted.async_yield_fixture(params=["tcp", "unix"])
async def pair(request, tmp_path):
    """A server protocol with direct send, and the socket of its client."""
    import socket

    from twisted.internet import reactor

    factory = Factory()
    port = listen(request.param, factory, str(tmp_path / "socket"))
    enable_direct_send(port)
    client = socket.socket(socket.AF_INET if request.param == "tcp" else socket.AF_UNIX)
    client.connect(("127.0.0.1", port.getHost().port) if request.param == "tcp" else str(tmp_path / "socket"))
    client.setblocking(False)
    await until(lambda: factory.server.transport is not None)
    yield factory.server, client
    client.close()
    await until(lambda: factory.server.calls[-1:] == ["stop"] or not factory.server.transport.connected)
    await port.stopListening()
    await deferLater(reactor, 0)


def receive(client, size):
    """Return up to `size` available bytes."""
    try:
        return client.recv(size)
    except BlockingIOError:
        return b""


async def test_bytes_are_sent_when_write_returns(pair):
    server, client = pair
    server.transport.write(b"now")
    assert client.recv(100) == b"now"
    server.transport.writeSequence([b"two ", b"pieces"])
    assert client.recv(100) == b"two pieces"
    server.transport.write(b"")
    assert (receive(client, 100), server.calls) == (b"", [])


async def test_unsent_bytes_are_buffered_in_order_and_pause_the_producer(pair):
    server, client = pair
    blocks = [bytes([number]) * (1 << 20) for number in range(24)]
    for block in blocks:
        server.transport.write(block)
    assert set(server.calls) == {"pause"}
    received = bytearray()

    def read():
        received.extend(receive(client, 1 << 20))
        return len(received) == 24 << 20

    await until(read)
    assert bytes(received) == b"".join(blocks)
    await until(lambda: server.calls[-1] == "resume")
    server.transport.write(b"again at once")
    assert client.recv(100) == b"again at once"


async def test_buffered_block_is_not_copied(pair):
    server, client = pair
    block = bytes(24 << 20)
    server.transport.write(block)
    assert server.calls == ["pause"]
    assert server.transport.dataBuffer is block
    assert len(receive(client, 1)) == 1


async def test_lost_connection_is_reported_by_the_reactor_not_by_write(pair):
    server, client = pair
    client.close()

    def is_found():
        server.transport.write(b"x")
        return not server.transport.connected

    await until(is_found)
    server.transport.write(b"too late")


async def test_socket_of_direct_connection_is_available(pair):
    server, _ = pair
    assert isinstance(server.transport, DirectServer | DirectUnixServer)
    assert socket_of(server.transport) is server.transport.socket
    assert direct_handle(server.transport) is not None


def test_other_transports_have_no_socket():
    from twisted.internet.testing import StringTransport

    assert socket_of(StringTransport()) is None
    assert direct_handle(StringTransport()) is None


def test_other_ports_are_unchanged():
    class Port:
        transport = object

    port = Port()
    enable_direct_send(port)
    assert port.transport is object


async def test_keepalive_probes_are_staggered():
    import socket

    from twisted.internet import reactor

    made: list[Server] = []

    class Each(ServerFactory):
        noisy = False

        def buildProtocol(self, addr):
            made.append(Server())
            return made[-1]

    port: Any = reactor.listenTCP(0, Each(), interface="127.0.0.1")
    prepare(port, 50)
    clients = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(9)]
    await until(lambda: len(made) == 9 and all(server.transport for server in made))
    sockets = [server.transport.socket for server in made]
    idle = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) for each in sockets]
    assert idle == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert {each.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for each in sockets} == {25_000}
    assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in sockets)
    for client in clients:
        client.close()
    await until(lambda: not any(server.transport.connected for server in made))
    await maybeDeferred(port.stopListening)
