"""Deliveries: messages to be sent, with the encoded frames that all their subscribers share.

A message is encoded at most once per wire, and the frames of a batch are joined at most once per wire, whatever the
number of subscribers.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, Self

from pushd.core.cursor import MessageId
from pushd.core.message import Gap, Message


class Wire(Protocol):
    """The encoding of one format. It has no state of a connection, so all subscribers share its frames.

    Equal wires must be one object: frames are cached by wire.
    """

    @property
    def name(self) -> str:
        """The name of the format in the metrics."""

    @property
    def data_only(self) -> bool:
        """Whether only the data of messages is encoded: gaps and ends cannot be reported."""

    @property
    def has_begin(self) -> bool:
        """Whether the format has a begin object, with the start cursor."""

    @property
    def has_reply_to(self) -> bool:
        """Whether the format shows the channel for the reply to a request."""

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor and the id of the connection; ``b""`` if the format has no begin object."""

    def message(self, message: Message) -> bytes:
        """Encode a message."""

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap; ``b""`` if the wire is data-only."""

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel; ``b""`` if the wire is data-only."""

    def expiring(self, at: int) -> bytes:
        """Encode the warning that the credential expires at `at`, in unix seconds; ``b""`` if the format has none."""

    def expired(self, code: str) -> bytes:
        """Encode the last frame after a credential has lapsed, with the code of its refusal; ``b""`` if none."""

    def ping(self) -> bytes:
        """Encode a keepalive ping; ``b""`` if the format has none."""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames to the bytes of one write."""

    @property
    def is_stateful(self) -> bool:
        """Whether the encoding of a frame depends on the message before it."""

    def after(self, message: Message) -> "Wire":
        """Return the wire for the frame that follows a message: this one unless it is stateful."""

    def last(self) -> bytes:
        """Encode the regular end of the stream; ``b""`` if the format has none."""


class StatelessWire:
    """Base class of the wires whose frames do not depend on the message before."""

    is_stateful = False
    has_begin = False
    has_reply_to = False

    @property
    def name(self) -> str:
        """The name of the class in lower case."""
        return type(self).__name__.lower()

    def after(self, message: Message) -> Self:
        """Return this wire."""
        return self

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Return ``b""``: the format has no begin object."""
        return b""

    def expiring(self, at: int) -> bytes:
        """Return ``b""``: the format has no warning."""
        return b""

    def expired(self, code: str) -> bytes:
        """Return ``b""``: the format has no such frame."""
        return b""

    def last(self) -> bytes:
        """Return ``b""``."""
        return b""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames."""
        return b"".join(frames)


class DataOnlyWire(StatelessWire):
    """Base class of the wires that encode only the data of messages."""

    data_only = True

    def gap(self, gap: Gap) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def ping(self) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""


MEMORY_OVERHEAD: Final = 400
"""Bytes of memory of a queued message beyond its data, names and frames."""


class Delivery:
    """One message with its frames, one per wire."""

    __slots__ = ("_frames", "charged", "excluded", "holders", "message", "order", "rank", "size")

    def __init__(self, message: Message, excluded: int = 0) -> None:
        self.message = message
        self.order = message.order
        """See `Message.order`."""
        self.rank = 0
        """Its place among all messages of a reactor turn."""
        self.excluded = excluded
        """The number of the peer that does not receive it live; 0 if there is none."""
        self.size = message.size
        """The bytes that it counts against limits."""
        self.holders = 0
        """The number of queues that hold it; see `pushd.core.budget.SharedItem`."""
        self.charged = 0
        self._frames: dict[Wire, bytes] = {}

    @property
    def memory(self) -> int:
        """The bytes of memory of the message and its frames."""
        return MEMORY_OVERHEAD + self.size + sum([len(frame) for frame in self._frames.values()])

    def frame(self, wire: Wire) -> bytes:
        """Return the message as encoded by `wire`."""
        frame = self._frames.get(wire)
        if frame is None:
            frame = self._frames[wire] = wire.message(self.message)
        return frame


def encode(deliveries: Iterable[Delivery], wire: Wire) -> tuple[list[bytes], Wire]:
    """Return the frames of consecutive deliveries, and the wire for the frame that follows them."""
    if not wire.is_stateful:
        return [delivery.frame(wire) for delivery in deliveries], wire
    frames = []
    for delivery in deliveries:
        frames.append(delivery.frame(wire))
        wire = wire.after(delivery.message)
    return frames, wire


class Batch:
    """Deliveries that are sent together, in id order, with their joined frames, one block per wire."""

    __slots__ = ("_blocks", "deliveries", "first", "size")

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries = deliveries
        self.first = deliveries[0].order
        self.size = deliveries[0].size if len(deliveries) == 1 else sum([delivery.size for delivery in deliveries])
        """The bytes of its messages, as counted against limits."""
        self._blocks: dict[Wire, bytes] = {}

    def block(self, wire: Wire) -> bytes:
        """Return all its messages as encoded by `wire`, as the bytes of one write."""
        block = self._blocks.get(wire)
        if block is None:
            block = self._blocks[wire] = wire.block(encode(self.deliveries, wire)[0])
        return block


def _differ(one: Message, other: Message) -> bool:
    """Return whether two messages with the same id have different content."""
    return one is not other and (one.data != other.data or one.channel != other.channel)


class Recent:
    """A cache of the newest deliveries, so that subscribers that reconnect at the same time share frames too.

    :param max_messages: the most messages.
    :param max_bytes: the most bytes of messages.
    """

    __slots__ = ("_bytes", "_deliveries", "_max_bytes", "_max_messages")

    def __init__(self, max_messages: int = 1024, max_bytes: int = 4 << 20) -> None:
        self._deliveries: OrderedDict[tuple[str, int], Delivery] = OrderedDict()
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    def of(self, message: Message) -> Delivery:
        """Return the delivery of a message: the same one as long as it is cached."""
        if message.is_local or not message.is_kept:  # it has no id of its own
            return Delivery(message)
        key = (message.epoch, message.seq)
        delivery = self._deliveries.get(key)
        if delivery is not None and _differ(delivery.message, message):
            # Another client of a shared backend has forged the one that came first.
            self._bytes -= self._deliveries.pop(key).size
            delivery = None
        if delivery is None:
            delivery = self._deliveries[key] = Delivery(message)
            self._bytes += delivery.size
            while self._bytes > self._max_bytes or len(self._deliveries) > self._max_messages:
                self._bytes -= self._deliveries.popitem(last=False)[1].size
        return delivery
