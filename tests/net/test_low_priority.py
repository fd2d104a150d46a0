"""Low-priority connections are read for one slice per reactor turn, prioritized ones by the reactor itself."""

import socket
from typing import Any

import pytest_twisted
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorUNIX
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from pushd.net.direct_send import enable_direct_send
from pushd.net.low_priority import LowPriorityReaders, deprioritize, prioritize

_AT_ONCE = 5
"""The number of reads in one time slice."""


@implementer(IHalfCloseableProtocol)
class Reader(Protocol):
    """Advances the clock of the harness with each read."""

    def __init__(self, harness):
        self.harness = harness
        self.received = b""
        self.lost = []

    def dataReceived(self, data):
        if data == b"break":
            raise ValueError("broken")
        self.received += data
        self.harness.order.append(self)
        self.harness.clock.advance(0.001 / _AT_ONCE)

    def readConnectionLost(self):
        self.lost.append("read")

    def writeConnectionLost(self):
        pass

    def connectionLost(self, reason=connectionDone):
        self.lost.append(reason.type.__name__)
        if self.received == b"break at the end":
            raise KeyError("broken")


class Harness(ServerFactory):
    """A port whose connections are read with low priority, and its clients."""

    noisy = False

    def __init__(self, kind, path):
        from twisted.internet import reactor

        self.reactor = reactor
        self.clock = Clock()
        self.seconds = self.clock.seconds
        self.order = []
        """The protocols in the order in which they were read."""
        self.readers = []
        self.clients = []
        self.low_priority = LowPriorityReaders(self)
        self._path = path
        self.port: Any = (
            reactor.listenTCP(0, self, interface="127.0.0.1")
            if kind == "tcp"
            else IReactorUNIX(reactor).listenUNIX(path, self)
        )
        enable_direct_send(self.port)
        deprioritize(self.port, self.low_priority)
        self.low_priority.start()

    def __getattr__(self, name):
        return getattr(self.reactor, name)

    def buildProtocol(self, addr):
        self.readers.append(Reader(self))
        return self.readers[-1]

    def dial(self):
        if hasattr(self.port.getHost(), "port"):
            client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(self._path)
        self.clients.append(client)
        return client

    async def connect(self, count):
        for _ in range(count):
            self.dial()
        await self.until(lambda: len(self.readers) == len(self.clients))

    async def until(self, holds):
        for _ in range(2000):
            if holds():
                return
            await self.turn()
        raise AssertionError("the condition did not become true")

    async def turn(self):
        await deferLater(self.reactor, 0.0005)

    async def stop(self):
        for client in self.clients:
            client.close()
        await self.until(lambda: all(reader.lost for reader in self.readers))
        for reader in self.readers:
            reader.transport.abortConnection()
        self.low_priority.stop()
        await self.port.stopListening()
        await self.turn()


@pytest_twisted.async_yield_fixture(params=["tcp", "unix"])
async def harness(request, tmp_path):
    harness = Harness(request.param, str(tmp_path / "socket"))
    yield harness
    await harness.stop()


async def test_many_connections_are_read_one_slice_per_turn(harness):
    await harness.connect(4 * _AT_ONCE)
    for client in harness.clients:
        client.send(b"here")
    harness.low_priority.doRead()
    assert len(harness.order) == _AT_ONCE
    harness.low_priority.doRead()
    assert len(set(harness.order)) == 2 * _AT_ONCE, "a connection was read twice while others waited"
    await harness.until(lambda: len(harness.order) == 4 * _AT_ONCE)
    assert {reader.received for reader in harness.readers} == {b"here"}


async def test_prioritized_connection_is_read_by_the_reactor(harness):
    await harness.connect(3 * _AT_ONCE)
    publisher = harness.readers[-1]
    prioritize(publisher.transport)
    prioritize(publisher.transport)
    assert len(harness.low_priority) == 3 * _AT_ONCE - 1
    for client in harness.clients:
        client.send(b"here")
    await harness.turn()
    await harness.turn()
    assert publisher in harness.order[: 2 * _AT_ONCE + 1], "not read within two turns"
    publisher.transport.pauseProducing()
    harness.clients[-1].send(b" again")
    await harness.until(lambda: len(harness.order) == 3 * _AT_ONCE)
    await harness.turn()
    assert publisher.received == b"here"
    publisher.transport.resumeProducing()
    await harness.until(lambda: publisher.received == b"here again")
    assert len(harness.low_priority) == 3 * _AT_ONCE - 1


async def test_paused_connection_is_not_read(harness):
    await harness.connect(2)
    paused, other = harness.readers
    paused.transport.pauseProducing()
    for client in harness.clients:
        client.send(b"here")
    await harness.until(lambda: other.received)
    await harness.turn()
    assert (paused.received, len(harness.low_priority)) == (b"", 1)
    paused.transport.resumeProducing()
    await harness.until(lambda: paused.received == b"here")


async def test_half_closed_connection_is_reported_and_no_longer_read(harness):
    await harness.connect(2)
    harness.clients[0].shutdown(socket.SHUT_WR)
    await harness.until(lambda: harness.readers[0].lost == ["read"])
    assert len(harness.low_priority) == 1


async def test_lost_connection_is_removed(harness):
    await harness.connect(2)
    harness.clients[0].send(b"here")
    harness.readers[0].transport.abortConnection()
    harness.clients[1].close()
    await harness.until(lambda: all(reader.lost for reader in harness.readers))
    assert len(harness.low_priority) == 0


async def test_read_failure_is_logged_and_closes_only_that_connection(harness, expected_failures):
    await harness.connect(2)
    harness.clients[0].send(b"break")
    harness.clients[1].send(b"here")
    await harness.until(lambda: harness.readers[0].lost and harness.readers[1].received)
    assert harness.readers[0].lost == ["ValueError"]
    assert [event["log_failure"].type for event in expected_failures] == [ValueError]


async def test_close_failure_is_logged_and_others_are_read(harness, expected_failures):
    await harness.connect(2)
    harness.clients[0].send(b"break at the end")
    await harness.until(lambda: harness.readers[0].received)
    harness.clients[0].send(b"break")
    harness.clients[1].send(b"here")
    await harness.until(lambda: harness.readers[0].lost and harness.readers[1].received)
    assert [event["log_failure"].type for event in expected_failures] == [ValueError, KeyError]


async def test_connections_are_returned_to_the_reactor_on_stop(harness):
    await harness.connect(2)
    harness.low_priority.stop()
    assert len(harness.low_priority) == 0
    harness.readers[0].transport.pauseProducing()
    for client in harness.clients:
        client.send(b"here")
    await harness.until(lambda: harness.readers[1].received == b"here")
    assert harness.readers[0].received == b""
    harness.readers[0].transport.resumeProducing()
    await harness.until(lambda: harness.readers[0].received == b"here")


async def test_port_accepts_few_connections_per_turn(harness):
    for _ in range(40):
        harness.dial()
    harness.port.doRead()
    first = len(harness.readers)
    assert 0 < first <= 10
    harness.port.doRead()
    assert len(harness.readers) <= 20, "more in the next turn"
    await harness.until(lambda: len(harness.readers) == 40)


def test_other_transports_are_unchanged():
    prioritize(StringTransport())
    prioritize(None)
