"""The WebSocket parser returns complete messages for any segmentation, also after another connection had the reader."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from websockets.frames import Frame, Opcode

from pushd.transports.websocket_reader import FrameReader, FrameReaderPool
from tests.wire.test_websocket_frames import read as frames_of

MOST = 1000
few = settings(max_examples=50)
PAYLOADS = st.text(max_size=8).map(str.encode) | st.binary(max_size=8) | st.sampled_from([b"x" * 125, b"\xc3"])
HEADS = [b"\x81\xff" + bytes(8), b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4), b"\x81\xfe\x03\xe9" + bytes(4)]
"""Of lengths that are wrong or too large."""
CUTS = st.lists(st.integers(0, 300), max_size=6)


def readers() -> FrameReaderPool:
    """Return a pool of readers without a timeout for closing handshakes."""
    return FrameReaderPool(Clock(), MOST, 0)


class Transport(StringTransport):
    """A transport without producers."""

    def unregisterProducer(self) -> None:
        """See `ITransport`."""


class Client:
    """A connection that borrows a reader whenever it receives bytes, as a WebSocket does."""

    def __init__(self, lent_by: FrameReaderPool) -> None:
        self.transport = Transport()
        self.messages: list[tuple[bytes, bool]] = []
        self._readers = lent_by
        self._reader: FrameReader | None = None

    def message(self, payload: bytes, is_binary: bool) -> None:
        self.messages.append((payload, is_binary))

    def receive(self, data: bytes) -> None:
        """Parse bytes; after a close they are ignored."""
        if self.transport.disconnecting:
            return
        reader = self._reader = self._reader or self._readers.lend(self)
        reader.read(data)
        if reader.is_at_rest:
            self._readers.give_back(reader)
            self._reader = None

    @property
    def is_at_rest(self) -> bool:
        return self._reader is None


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut data in pieces, none of them empty."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """Make a frame of a client by another's hand."""
    return Frame(opcode, payload, fin).serialize(mask=True)


def sent(messages: Sequence[tuple[list[str], bool]]) -> bytes:
    """Make messages of fragments, with a ping before each fragment."""
    stream = b""
    for fragments, is_binary in messages:
        for at, fragment in enumerate(fragments):
            opcode = Opcode.CONT if at else Opcode.BINARY if is_binary else Opcode.TEXT
            stream += masked(Opcode.PING, b"%d" % at)
            stream += masked(opcode, fragment.encode(), fin=at == len(fragments) - 1)
    return stream


MESSAGES = st.lists(st.tuples(st.lists(st.text(max_size=60), min_size=1, max_size=3), st.booleans()), max_size=3)


@few
@given(MESSAGES, MESSAGES, CUTS, CUTS)
def test_two_connections_receive_their_own_messages_for_any_segmentation(
    ones: list[tuple[list[str], bool]], others: list[tuple[list[str], bool]], cuts: list[int], other_cuts: list[int]
) -> None:
    shared = readers()
    one, other = Client(shared), Client(shared)
    pieces, other_pieces = cut(sent(ones), cuts), cut(sent(others), other_cuts)
    for at in range(max(len(pieces), len(other_pieces))):
        for client, listed in ((one, pieces), (other, other_pieces)):
            if at < len(listed):
                client.receive(listed[at])
    for client, messages in ((one, ones), (other, others)):
        assert client.messages == [("".join(fragments).encode(), is_binary) for fragments, is_binary in messages]
        pongs = [(10, b"%d" % at) for fragments, _ in messages for at in range(len(fragments))]
        assert frames_of(client.transport.value()) == pongs
        assert client.is_at_rest


@few
@given(
    st.lists(
        st.builds(
            lambda first, payload: bytes((first, 0x80 | min(len(payload), 125))) + bytes(4) + payload[:125],
            st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0xC1]) | st.integers(0, 255),
            PAYLOADS | st.integers(0, 5000).map(lambda code: code.to_bytes(2)),
        )
        | st.binary(max_size=12)
        | st.sampled_from(HEADS),
        max_size=6,
    ).map(b"".join),
    CUTS,
)
def test_any_input_is_parsed_alike_for_any_segmentation(data: bytes, cuts: list[int]) -> None:
    whole, in_pieces = Client(readers()), Client(readers())
    whole.receive(data)
    for piece in cut(data, cuts):
        in_pieces.receive(piece)
    assert (in_pieces.messages, in_pieces.transport.value()) == (whole.messages, whole.transport.value())
    answers = frames_of(whole.transport.value())
    assert {opcode for opcode, _ in answers} <= {8, 10}
    assert [opcode for opcode, _ in answers].count(8) <= 1, "one close at most"
    for payload, is_binary in whole.messages:
        assert len(payload) <= MOST
        assert is_binary or payload.decode() is not None
