"""Deliveries: messages on their way out, with the frames that all their subscribers share.

A message is encoded at most once per wire, and what goes out together is joined at most once per wire, whatever
the number of subscribers.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol, Self

from pushd.core.message import Gap, Message


class Wire(Protocol):
    """A format. It keeps no state of a peer, so that one frame serves all; equal wires are one object."""

    @property
    def name(self) -> str:
        """The name of the format, for those who count."""

    @property
    def data_only(self) -> bool:
        """Whether it carries data only, so that neither gap nor end can be told in it."""

    def message(self, message: Message) -> bytes:
        """Encode a message."""

    def gap(self, gap: Gap) -> bytes:
        """Encode the news that messages are gone; empty if bare."""

    def end(self, channel: str) -> bytes:
        """Encode the news that a channel has ended; empty if bare."""

    def ping(self) -> bytes:
        """Encode a sign of life; empty if the wire has none."""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames to what is written at once."""

    @property
    def is_stateful(self) -> bool:
        """Whether what follows a message depends on that message."""

    def after(self, message: Message) -> "Wire":
        """Give the wire for what follows a message: itself, if it is not fluid."""

    def last(self) -> bytes:
        """Encode what closes a stream in good order; empty where nothing does."""


class StatelessWire:
    """What most wires have in common: what they say does not depend on what they said."""

    is_stateful = False

    @property
    def name(self) -> str:
        """Give the name of the class."""
        return type(self).__name__.lower()

    def after(self, message: Message) -> Self:
        """Stay."""
        return self

    def last(self) -> bytes:
        """Say nothing."""
        return b""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames."""
        return b"".join(frames)


class DataOnlyWire(StatelessWire):
    """A wire that carries data only."""

    data_only = True

    def gap(self, gap: Gap) -> bytes:
        """Say nothing: there is no place for it."""
        return b""

    def end(self, channel: str) -> bytes:
        """Say nothing: there is no place for it."""
        return b""

    def ping(self) -> bytes:
        """Say nothing: there is no place for it."""
        return b""


class Delivery:
    """One message with its frames."""

    __slots__ = ("_frames", "holders", "message", "size")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.size = message.size
        """What it counts against limits in bytes."""
        self.holders = 0
        """In how many queues it waits; see `Budget`."""
        self._frames: dict[Wire, bytes] = {}

    def frame(self, wire: Wire) -> bytes:
        """Give the message in the format of `wire`."""
        frame = self._frames.get(wire)
        if frame is None:
            frame = self._frames[wire] = wire.message(self.message)
        return frame


def encode(deliveries: Iterable[Delivery], wire: Wire) -> tuple[list[bytes], Wire]:
    """Give the frames of deliveries that follow each other, and the wire for what follows them."""
    if not wire.is_stateful:
        return [delivery.frame(wire) for delivery in deliveries], wire
    frames = []
    for delivery in deliveries:
        frames.append(delivery.frame(wire))
        wire = wire.after(delivery.message)
    return frames, wire


class Batch:
    """Deliveries that go out together, in id order, with the blocks joined from their frames."""

    __slots__ = ("_blocks", "deliveries", "first", "last", "size")

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries = deliveries
        self.first = deliveries[0].message.seq
        self.last = deliveries[-1].message.seq
        self.size = deliveries[0].size if len(deliveries) == 1 else sum([delivery.size for delivery in deliveries])
        """The bytes of its messages."""
        self._blocks: dict[Wire, bytes] = {}

    def block(self, wire: Wire) -> bytes:
        """Give all its messages as the bytes of one write."""
        block = self._blocks.get(wire)
        if block is None:
            block = self._blocks[wire] = wire.block(encode(self.deliveries, wire)[0])
        return block


class Recent:
    """The newest deliveries, so that a crowd that returns at once shares frames too. Bounded in messages and bytes."""

    __slots__ = ("_bytes", "_deliveries", "_max_bytes", "_max_messages")

    def __init__(self, max_messages: int = 1024, max_bytes: int = 4 << 20) -> None:
        self._deliveries: OrderedDict[tuple[str, int], Delivery] = OrderedDict()
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    def of(self, message: Message) -> Delivery:
        """Give the delivery of a message: the same one as long as it is remembered."""
        if message.is_local:
            return Delivery(message)
        key = (message.epoch, message.seq)
        delivery = self._deliveries.get(key)
        if delivery is None:
            delivery = self._deliveries[key] = Delivery(message)
            self._bytes += delivery.size
            while self._bytes > self._max_bytes or len(self._deliveries) > self._max_messages:
                self._bytes -= self._deliveries.popitem(last=False)[1].size
        return delivery
