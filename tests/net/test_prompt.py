"""Connections that send at once: on real sockets, since it is the kernel that says how much it takes."""

import pytest_twisted
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import deferLater
from zope.interface import implementer

from pushd.net.burst import handle_of
from pushd.net.listening import prepare
from pushd.net.prompt import PromptServer, PromptUnixServer, send_at_once, socket_of


@implementer(IPushProducer)
class Server(Protocol):
    """Notes what its transport says."""

    def __init__(self):
        self.said = []

    def connectionMade(self):
        self.transport.registerProducer(self, True)

    def pauseProducing(self):
        self.said.append("pause")

    def resumeProducing(self):
        self.said.append("resume")

    def stopProducing(self):
        self.said.append("stop")


class Factory(ServerFactory):
    """Makes one server."""

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

    return reactor.listenTCP(0, factory, interface="127.0.0.1") if kind == "tcp" else reactor.listenUNIX(path, factory)


@pytest_twisted.async_yield_fixture(params=["tcp", "unix"])
async def pair(request, tmp_path):
    """A server's end that sends at once, and the socket of a client."""
    import socket

    from twisted.internet import reactor

    factory = Factory()
    port = listen(request.param, factory, str(tmp_path / "socket"))
    send_at_once(port)
    client = socket.socket(socket.AF_INET if request.param == "tcp" else socket.AF_UNIX)
    client.connect(("127.0.0.1", port.getHost().port) if request.param == "tcp" else str(tmp_path / "socket"))
    client.setblocking(False)
    await until(lambda: factory.server.transport is not None)
    yield factory.server, client
    client.close()
    await until(lambda: factory.server.said[-1:] == ["stop"] or not factory.server.transport.connected)
    await port.stopListening()
    await deferLater(reactor, 0)


def receive(client, size):
    """Take up to `size` bytes that are there."""
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
    assert (receive(client, 100), server.said) == (b"", [])


async def test_unsent_bytes_are_buffered_in_order_and_pause_the_producer(pair):
    server, client = pair
    blocks = [bytes([number]) * (1 << 20) for number in range(24)]
    for block in blocks:
        server.transport.write(block)
    assert set(server.said) == {"pause"}
    heard = bytearray()

    def read():
        heard.extend(receive(client, 1 << 20))
        return len(heard) == 24 << 20

    await until(read)
    assert bytes(heard) == b"".join(blocks)
    await until(lambda: server.said[-1] == "resume")
    server.transport.write(b"again at once")
    assert client.recv(100) == b"again at once"


async def test_buffered_block_is_not_copied(pair):
    server, client = pair
    block = bytes(24 << 20)
    server.transport.write(block)
    assert server.said == ["pause"]
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
    assert isinstance(server.transport, PromptServer | PromptUnixServer)
    assert socket_of(server.transport) is server.transport.socket
    assert handle_of(server.transport) is not None


def test_other_transports_have_no_socket():
    from twisted.internet.testing import StringTransport

    assert socket_of(StringTransport()) is None
    assert handle_of(StringTransport()) is None


def test_other_ports_are_unchanged():
    class Port:
        transport = object

    port = Port()
    send_at_once(port)
    assert port.transport is object


async def test_keepalive_probes_are_staggered():
    import socket

    from twisted.internet import reactor

    made = []

    class Each(ServerFactory):
        noisy = False

        def buildProtocol(self, addr):
            made.append(Server())
            return made[-1]

    port = reactor.listenTCP(0, Each(), interface="127.0.0.1")
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
    await port.stopListening()
