"""Sessions of comet4j: the topics of a client, and what it is to receive next."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from pushd.core.cursor import MessageId, parse_id
from pushd.core.errors import Refusal
from pushd.core.peer import Peer
from pushd.core.poll import PollResult
from pushd.dialects.comet4j.wire import SYSTEM, WIRE, frame
from pushd.dialects.session_streams import StreamingSession

_REST_BYTES: Final = 16 << 10
"""Bytes of messages that a session keeps between two requests."""


class _Item(NamedTuple):
    """A part of what a client is to receive."""

    encoded: bytes
    cursor: MessageId | None
    """The cursor behind it; None if it moves none."""


class Session(StreamingSession):
    """A client."""

    leaves_streams = True
    """Its script reads nothing of what arrives in the last 50 ms of an answer, and does not notice its end."""

    cursor: MessageId

    def __init__(self, peer: Peer, topics: Sequence[str], cursor: MessageId, style: str) -> None:
        super().__init__(peer)
        self.style = style
        """Its work style: lpool or stream."""
        self._topics = topics
        self.cursor = cursor
        """Up to here everything was sent."""
        self.rest: deque[_Item] = deque()
        """What follows `cursor`, and was read together with what was sent last."""
        self._revivals = 0

    @property
    def topics(self) -> Sequence[str]:
        """See `StreamingSession`."""
        return self._topics

    def again(self, why: Refusal | None) -> bytes:
        """See `StreamingSession`. Each is another text, since the client ignores one that it had before."""
        self._revivals += 1
        return frame(SYSTEM, {"type": "revival", "number": self._revivals})

    def read(self, result: PollResult) -> None:
        """Take the messages and gaps that follow the cursor, as many as are kept between two requests."""
        items = [_Item(WIRE.gap(gap), None) for gap in result.gaps]
        size = 0
        for delivery in result.deliveries:
            encoded = delivery.frame(WIRE)
            if size and size + len(encoded) > _REST_BYTES:
                break  # the rest is read again
            size += len(encoded)
            items.append(_Item(encoded, parse_id(delivery.message.id) if delivery.message.is_kept else None))
        else:
            items.append(_Item(b"", parse_id(result.position)))
        self.rest.extend(items)

    def next(self) -> bytes:
        """Return the next message, and move the cursor behind it; ``b""`` if there is none."""
        encoded = b""
        while self.rest and not (encoded and self.rest[0].encoded):
            item = self.rest.popleft()
            encoded = encoded or item.encoded
            self.cursor = item.cursor or self.cursor
        return encoded
