"""Line connections of telnet clients."""

import pytest

from tests.transports.daemon import turns, until
from tests.transports.every_client import each_client
from tests.transports.line_client import TextLines
from tests.wire.test_telnet import INTERRUPT, PUTTY


class Telnet(TextLines):
    """A client that separates the telnet commands it receives from the lines."""

    def line(self, line: bytes) -> None:
        """See `LineClient`."""
        text = line.lstrip(b"\xff\xfc\xfe\x01\x03\x06\x18\x1f\x20\x27")
        self.answers = getattr(self, "answers", b"") + line[: len(line) - len(text)]
        super().line(text)


@each_client((Telnet,))
async def test_interrupt_is_answered_and_the_next_command_executed(daemon, client_class):
    client = client_class(daemon)
    client.open()
    for _ in range(3):
        client.answers = b""
        client.protocol.transport.write(INTERRUPT)
        assert await client.send("PING 1") == "PONG 1"
        assert client.answers == b"\xff\xfc\x06"


@each_client((Telnet,))
async def test_negotiation_and_interrupts_amid_a_command_do_not_change_it(daemon, client_class):
    client = client_class(daemon)
    client.open()
    client.protocol.transport.write(PUTTY)
    await client.subscribe("a")
    id = (await client.ask(b"PUB a he" + INTERRUPT + b"llo")).split()[0]
    received = await client.next()
    assert (received.id, received.data) == (id, b"hello")


@each_client((TextLines,))
@pytest.mark.parametrize("line", [b"PUB a \xff", b"PUB a \xff\xff", b"PUB a \xff\x01"])
async def test_other_bytes_that_are_not_utf_8_are_refused(daemon, client_class, line):
    client = client_class(daemon)
    client.open()
    assert (await client.send(line)).startswith("-ERR bad-utf8")


@each_client((TextLines,))
async def test_peer_that_reads_no_answers_is_not_read_any_more(daemon, client_class):
    client = client_class(daemon, small=True)
    client.open()
    await client.subscribe("a")
    (subscriber,) = daemon.subscribers("a")
    client.protocol.transport.pauseProducing()
    client.protocol.transport.write(b"\xff\xfd\x06" * (4 << 20))
    await until(lambda: subscriber.is_paused, "the daemon waits for the peer")
    await turns()
    assert client.protocol.transport._tempDataBuffer or client.protocol.transport.dataBuffer
    client.abort()
