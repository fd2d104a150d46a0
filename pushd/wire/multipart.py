"""Multipart streams (RFC 2046, section 5.1): ``x-mixed-replace``, whose newest part a browser shows, and ``mixed``.

The boundary line that ends a part is sent together with it, so that the part shows at once. Chromium paints an image
only when the headers of the next part are there, so after an image they are sent too; then the next image of the same
type is only a body. What a message looks like thus depends on the one before: that is what a fluid wire is.
"""

import base64
import re
from typing import Final

from pushd.core.delivery import SteadyWire
from pushd.core.message import Gap, Message

_IMAGE: Final = re.compile(r"image/", re.IGNORECASE)
_UNSAFE: Final = re.compile(r"[^\x21-\x7e]|%")


class Replace(SteadyWire):
    """Parts that replace each other. `after` is the type of the image whose headers are sent already, if any."""

    bare = False
    is_fluid = True

    def __init__(
        self, boundary: bytes, after: str | None = None, forms: "dict[str | None, Replace] | None" = None
    ) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._after = after
        self._forms = {} if forms is None else forms
        self._forms[after] = self

    def message(self, message: Message) -> bytes:
        """Encode a part and what makes it show; nothing where its data holds the boundary, which would forge one."""
        if self._delimiter[2:] in message.data:
            return b""
        if message.content_type == self._after:
            return message.data + self._next(message)
        part = _type_line(message) + b"\r\n" + message.data + self._next(message)
        if self._after is None:
            return part
        return message.data + self._delimiter + b"\r\n" + part

    def then(self, message: Message) -> "Replace":
        """Give the wire for what follows a message."""
        if self._delimiter[2:] in message.data:
            return self
        after = message.content_type if _IMAGE.match(message.content_type) else None
        return self._forms.get(after) or Replace(self._delimiter[4:], after, self._forms)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a header of the next part."""
        return self._aside(_gap_line(gap))

    def end(self, channel: str) -> bytes:
        """Say nothing: the stream ends with its last channel."""
        return b""

    def ping(self) -> bytes:
        """Encode a sign of life: a header of the next part. After an image there is none but the image again.

        The headers of the next image are out, and an empty image would wipe the picture off in Chromium.
        """
        return b"Pushd-Ping: 1\r\n" if self._after is None else b""

    def last(self) -> bytes:
        """Encode an empty part, since one is open, and the end."""
        return (b"\r\n" if self._after is None else b"") + self._delimiter + b"--\r\n"

    def _next(self, message: Message) -> bytes:
        """End a part; after an image, begin the next with the same type."""
        head = _type_line(message) + b"\r\n" if _IMAGE.match(message.content_type) else b""
        return self._delimiter + b"\r\n" + head

    def _aside(self, line: bytes) -> bytes:
        if self._after is None:
            return line
        # The headers of the next image are out: it stays empty, and the image that follows at once takes its place.
        return self._delimiter + b"\r\n" + line + b"Content-Type: " + self._after.encode("latin-1") + b"\r\n\r\n"


class ReplaceDocument(Replace):
    """Parts that replace a whole page, for a browser that does so itself, which is Firefox.

    It begins the next page with the headers of its part: so these wait for the message, after an image too. For the
    same reason the end is no empty part, which would be an empty page.
    """

    is_fluid = False

    def then(self, message: Message) -> "ReplaceDocument":
        """Stay the same, whatever comes."""
        return self

    def last(self) -> bytes:
        """Encode the end, in place of the part that is open."""
        return self._delimiter[2:] + b"--\r\n"

    def _next(self, message: Message) -> bytes:
        return self._delimiter + b"\r\n"


class Mixed(SteadyWire):
    """Parts that all stay, each with its length, id and channel."""

    bare = False

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary

    def message(self, message: Message) -> bytes:
        """Encode a part. Data that holds the boundary, which would forge one, is sent as base64."""
        data, coding = message.data, b""
        if self._delimiter[2:] in data:
            data, coding = base64.encodebytes(data), b"Content-Transfer-Encoding: base64\r\n"
        event = b"Pushd-Event: " + quoted(message.event) + b"\r\n" if message.event is not None else b""
        return b"%bContent-Length: %d\r\nPushd-Id: %b\r\nPushd-Channel: %b\r\n%b%b\r\n%b%b\r\n" % (
            _type_line(message),
            len(data),
            message.id.encode("ascii"),
            quoted(message.channel),
            event,
            coding,
            data,
            self._delimiter,
        )

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a header of the next part."""
        return _gap_line(gap)

    def end(self, channel: str) -> bytes:
        """Encode an end as a header of the next part."""
        return b"Pushd-End: " + quoted(channel) + b"\r\n"

    def ping(self) -> bytes:
        """Encode a sign of life: an empty part, since parsers bound the headers of one."""
        return b"Pushd-Ping: 1\r\n\r\n" + self._delimiter + b"\r\n"

    def last(self) -> bytes:
        """Encode an empty part, since one is open, and the end."""
        return b"\r\n" + self._delimiter + b"--\r\n"


def opening(boundary: bytes) -> bytes:
    """Give the first boundary line of a stream."""
    return b"--" + boundary + b"\r\n"


def _type_line(message: Message) -> bytes:
    return b"Content-Type: " + message.content_type.encode("latin-1") + b"\r\n"


def _gap_line(gap: Gap) -> bytes:
    return b"Pushd-Gap: " + b" ".join(map(quoted, gap)) + b"\r\n"


def quoted(text: str) -> bytes:
    """Percent-encode what a header can not hold."""
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8")), text).encode("ascii")
