"""Connections in the back row are read a slice in each turn of the reactor, those that came forward at once."""

import socket

import pytest_twisted
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from pushd.net.back_row import BackRow, come_forward, sit_behind
from pushd.net.prompt import send_at_once

_AT_ONCE = 5
"""How many reads take as long as the row may in a turn."""


@implementer(IHalfCloseableProtocol)
class Reader(Protocol):
    """Takes a while for all that it reads, by the clock of the stage."""

    def __init__(self, stage):
        self.stage = stage
        self.heard = b""
        self.lost = []

    def dataReceived(self, data):
        if data == b"break":
            raise ValueError("broken")
        self.heard += data
        self.stage.order.append(self)
        self.stage.clock.advance(0.001 / _AT_ONCE)

    def readConnectionLost(self):
        self.lost.append("read")

    def writeConnectionLost(self):
        pass

    def connectionLost(self, reason):
        self.lost.append(reason.type.__name__)
        if self.heard == b"break at the end":
            raise KeyError("broken")


class Stage(ServerFactory):
    """A port whose connections sit in a back row, and its clients."""

    noisy = False

    def __init__(self, kind, path):
        from twisted.internet import reactor

        self.reactor = reactor
        self.clock = Clock()
        self.seconds = self.clock.seconds
        self.order = []
        """Who was read, in that order."""
        self.readers = []
        self.clients = []
        self.row = BackRow(self)
        self._path = path
        self.port = (
            reactor.listenTCP(0, self, interface="127.0.0.1") if kind == "tcp" else reactor.listenUNIX(path, self)
        )
        send_at_once(self.port)
        sit_behind(self.port, self.row)
        self.row.start()

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
        raise AssertionError("it does not come to that")

    async def turn(self):
        await deferLater(self.reactor, 0.0005)

    async def stop(self):
        for client in self.clients:
            client.close()
        await self.until(lambda: all(reader.lost for reader in self.readers))
        for reader in self.readers:
            reader.transport.abortConnection()
        self.row.stop()
        await self.port.stopListening()
        await self.turn()


@pytest_twisted.async_yield_fixture(params=["tcp", "unix"])
async def stage(request, tmp_path):
    stage = Stage(request.param, str(tmp_path / "socket"))
    yield stage
    await stage.stop()


async def test_many_connections_are_read_one_slice_per_turn(stage):
    await stage.connect(4 * _AT_ONCE)
    for client in stage.clients:
        client.send(b"here")
    stage.row.doRead()
    assert len(stage.order) == _AT_ONCE
    stage.row.doRead()
    assert len(set(stage.order)) == 2 * _AT_ONCE, "nobody twice while others wait"
    await stage.until(lambda: len(stage.order) == 4 * _AT_ONCE)
    assert {reader.heard for reader in stage.readers} == {b"here"}


async def test_prioritized_connection_is_read_by_the_reactor(stage):
    await stage.connect(3 * _AT_ONCE)
    publisher = stage.readers[-1]
    come_forward(publisher.transport)
    come_forward(publisher.transport)
    assert len(stage.row) == 3 * _AT_ONCE - 1
    for client in stage.clients:
        client.send(b"here")
    await stage.turn()
    await stage.turn()
    assert publisher in stage.order[: 2 * _AT_ONCE + 1], "a turn or two after it sent"
    publisher.transport.pauseProducing()
    stage.clients[-1].send(b" again")
    await stage.until(lambda: len(stage.order) == 3 * _AT_ONCE)
    await stage.turn()
    assert publisher.heard == b"here"
    publisher.transport.resumeProducing()
    await stage.until(lambda: publisher.heard == b"here again")
    assert len(stage.row) == 3 * _AT_ONCE - 1


async def test_paused_connection_is_not_read(stage):
    await stage.connect(2)
    paused, other = stage.readers
    paused.transport.pauseProducing()
    for client in stage.clients:
        client.send(b"here")
    await stage.until(lambda: other.heard)
    await stage.turn()
    assert (paused.heard, len(stage.row)) == (b"", 1)
    paused.transport.resumeProducing()
    await stage.until(lambda: paused.heard == b"here")


async def test_half_closed_connection_is_reported_and_no_longer_read(stage):
    await stage.connect(2)
    stage.clients[0].shutdown(socket.SHUT_WR)
    await stage.until(lambda: stage.readers[0].lost == ["read"])
    assert len(stage.row) == 1


async def test_lost_connection_is_removed(stage):
    await stage.connect(2)
    stage.clients[0].send(b"here")
    stage.readers[0].transport.abortConnection()
    stage.clients[1].close()
    await stage.until(lambda: all(reader.lost for reader in stage.readers))
    assert len(stage.row) == 0


async def test_read_failure_is_logged_and_closes_only_that_connection(stage, expected_failures):
    await stage.connect(2)
    stage.clients[0].send(b"break")
    stage.clients[1].send(b"here")
    await stage.until(lambda: stage.readers[0].lost and stage.readers[1].heard)
    assert stage.readers[0].lost == ["ValueError"]
    assert [event["log_failure"].type for event in expected_failures] == [ValueError]


async def test_close_failure_is_logged_and_others_are_read(stage, expected_failures):
    await stage.connect(2)
    stage.clients[0].send(b"break at the end")
    await stage.until(lambda: stage.readers[0].heard)
    stage.clients[0].send(b"break")
    stage.clients[1].send(b"here")
    await stage.until(lambda: stage.readers[0].lost and stage.readers[1].heard)
    assert [event["log_failure"].type for event in expected_failures] == [ValueError, KeyError]


async def test_connections_are_returned_to_the_reactor_on_stop(stage):
    await stage.connect(2)
    stage.row.stop()
    assert len(stage.row) == 0
    stage.readers[0].transport.pauseProducing()
    for client in stage.clients:
        client.send(b"here")
    await stage.until(lambda: stage.readers[1].heard == b"here")
    assert stage.readers[0].heard == b""
    stage.readers[0].transport.resumeProducing()
    await stage.until(lambda: stage.readers[0].heard == b"here")


async def test_port_accepts_few_connections_per_turn(stage):
    for _ in range(40):
        stage.dial()
    stage.port.doRead()
    first = len(stage.readers)
    assert 0 < first <= 10
    stage.port.doRead()
    assert len(stage.readers) <= 20, "and not more in the next"
    await stage.until(lambda: len(stage.readers) == 40)


def test_other_transports_are_unchanged():
    come_forward(StringTransport())
    come_forward(None)
