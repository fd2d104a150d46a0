"""Multipart streams (RFC 2046, section 5.1): ``x-mixed-replace``, whose newest part browsers show, and ``mixed``.

The boundary line that ends a part is sent together with the part, so that it is shown immediately. Chromium paints an
image only once the headers of the next part have arrived. So they are sent with the image, and the next image of the
same type is only a body. The encoding of a message therefore depends on the previous one: the wire is stateful.
"""

import base64
import re
from typing import Final

from pushd.core.delivery import StatelessWire
from pushd.core.message import Gap, Message

_IMAGE: Final = re.compile(r"image/", re.IGNORECASE)
_EMPTY_PART: Final = b"Content-Length: 0\r\n\r\n"
"""The rest of the headers of a part without a body."""
_UNSAFE: Final = re.compile(r"[^\x21-\x7e]|%")


class Replace(StatelessWire):
    """Parts that replace each other.

    :param boundary: separates the parts, without the leading ``--``.
    :param after: the content type of the image part whose headers have been sent already; None if there is none.
    :param states: the wire for each value of `after`, shared by all of them.
    """

    data_only = False
    is_stateful = True

    def __init__(
        self, boundary: bytes, after: str | None = None, states: "dict[str | None, Replace] | None" = None
    ) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._after = after
        self._states = {} if states is None else states
        self._states[after] = self

    def message(self, message: Message) -> bytes:
        """Encode a part and the bytes that make a browser show it.

        Data that contains the boundary would forge a part: a gap is encoded instead; nothing for an ephemeral one.
        """
        if self._delimiter[2:] in message.data:
            return self.gap(_gap_of(message)) if message.is_kept else b""
        if message.content_type == self._after:
            return message.data + self._next(message)
        part = _type_line(message) + b"\r\n" + message.data + self._next(message)
        if self._after is None:
            return part
        return message.data + self._delimiter + b"\r\n" + part

    def after(self, message: Message) -> "Replace":
        """Return the wire that encodes the next message."""
        if self._delimiter[2:] in message.data:
            return self
        after = message.content_type if _IMAGE.match(message.content_type) else None
        return self._states.get(after) or Replace(self._delimiter[4:], after, self._states)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a header of the next part."""
        return self._control_header(_gap_line(gap))

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the stream ends with its last channel."""
        return b""

    def ping(self) -> bytes:
        """Encode a ping as a header of the next part. Return ``b""`` after an image: it has to be sent again instead.

        The headers of the next image have been sent, and Chromium shows nothing for an empty image.
        """
        return b"Pushd-Ping: 1\r\n" if self._after is None else b""

    def last(self) -> bytes:
        """Encode the closing boundary, with the open part left empty."""
        return (b"\r\n" if self._after is None else b"") + self._delimiter + b"--\r\n"

    def _next(self, message: Message) -> bytes:
        """Return the boundary line after a part; after an image also the headers of the next one, of the same type."""
        head = _type_line(message) + b"\r\n" if _IMAGE.match(message.content_type) else b""
        return self._delimiter + b"\r\n" + head

    def _control_header(self, line: bytes) -> bytes:
        if self._after is None:
            return line
        # The headers of the next image have been sent: it stays empty, and the image that follows replaces it.
        return self._delimiter + b"\r\n" + line + b"Content-Type: " + self._after.encode("latin-1") + b"\r\n\r\n"


class ReplaceDocument(Replace):
    """Parts that replace a whole page, for a browser that navigates to the stream itself, as Firefox can.

    The browser starts the next page when it receives the headers of a part. So they are sent with the message, after
    an image too. For the same reason the stream does not end with an empty part, which would be an empty page.
    """

    is_stateful = False

    def after(self, message: Message) -> "ReplaceDocument":
        """Return this wire, whatever the message."""
        return self

    def last(self) -> bytes:
        """Encode the closing boundary in place of the open part."""
        return self._delimiter[2:] + b"--\r\n"

    def _next(self, message: Message) -> bytes:
        return self._delimiter + b"\r\n"


class ReplaceSized(StatelessWire):
    """Parts that replace each other, each with its length, for programs: many readers of camera streams require it.

    No headers are sent ahead, since the length of the next part is unknown. An empty part ends the stream.

    :param boundary: separates the parts, without the leading ``--``.
    """

    data_only = False
    is_stateful = True

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._following: ReplaceSized | None = _ReplaceSizedAgain(self._delimiter)

    @property
    def name(self) -> str:
        """The name of `Replace`: in the metrics they are one format."""
        return "replace"

    def message(self, message: Message) -> bytes:
        """Encode a part; a gap or nothing if the data contains the boundary, as in `Replace`."""
        if self._delimiter[2:] in message.data:
            return self.gap(_gap_of(message)) if message.is_kept else b""
        return b"%bContent-Length: %d\r\n\r\n%b%b\r\n" % (
            _type_line(message),
            len(message.data),
            message.data,
            self._delimiter,
        )

    def after(self, message: Message) -> "ReplaceSized":
        """Return the wire for the next message."""
        if self._following is None or self._delimiter[2:] in message.data:
            return self
        return self._following

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a header of the next part."""
        return _gap_line(gap)

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the stream ends with its last channel."""
        return b""

    def ping(self) -> bytes:
        """Encode a ping as a header of the next part. Return ``b""`` after a message, which is sent again instead."""
        return b"Pushd-Ping: 1\r\n"

    def last(self) -> bytes:
        """Encode the closing boundary after an empty part."""
        return _EMPTY_PART + self._delimiter + b"--\r\n"


class _ReplaceSizedAgain(ReplaceSized):
    """The wire after the first message."""

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        self._following = None

    def ping(self) -> bytes:
        return b""


class Mixed(StatelessWire):
    """One part per message, with its length, its id unless it is ephemeral, and its channel. All parts stay."""

    data_only = False

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary

    def message(self, message: Message) -> bytes:
        """Encode a part. Data that contains the boundary is sent as base64, since it would forge a part."""
        data, encoding = message.data, b""
        if self._delimiter[2:] in data:
            data, encoding = base64.encodebytes(data), b"Content-Transfer-Encoding: base64\r\n"
        event = b"Pushd-Event: " + percent_encoded(message.event) + b"\r\n" if message.event is not None else b""
        return b"%bContent-Length: %d\r\n%bPushd-Channel: %b\r\n%b%b\r\n%b%b\r\n" % (
            _type_line(message),
            len(data),
            b"Pushd-Id: " + message.id.encode("ascii") + b"\r\n" if message.is_kept else b"",
            percent_encoded(message.channel),
            event,
            encoding,
            data,
            self._delimiter,
        )

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a header of the next part."""
        return _gap_line(gap)

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel as a header of the next part."""
        return b"Pushd-End: " + percent_encoded(channel) + b"\r\n"

    def ping(self) -> bytes:
        """Encode a ping as an empty part, since parsers limit the number of headers of a part."""
        return b"Pushd-Ping: 1\r\n" + _EMPTY_PART + self._delimiter + b"\r\n"

    def last(self) -> bytes:
        """Encode the closing boundary, with the open part left empty."""
        return _EMPTY_PART + self._delimiter + b"--\r\n"


def first_boundary(boundary: bytes) -> bytes:
    """Return the first boundary line of a stream."""
    return b"--" + boundary + b"\r\n"


def _type_line(message: Message) -> bytes:
    return b"Content-Type: " + message.content_type.encode("latin-1") + b"\r\n"


def _gap_of(message: Message) -> Gap:
    return Gap(message.channel, f"{message.epoch}-{message.seq - 1}", message.id, "boundary")


def _gap_line(gap: Gap) -> bytes:
    return b"Pushd-Gap: " + b" ".join(map(percent_encoded, gap)) + b"\r\n"


def percent_encoded(text: str) -> bytes:
    """Return a text as a header value, with every byte percent-encoded that is not printable ASCII, and ``%``."""
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8")), text).encode("ascii")
