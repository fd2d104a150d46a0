r"""The text of a line connection: ``MSG CH ID TEXT``, with escapes for what a line can not hold.

``\\``, ``\n`` and ``\r`` stand for a backslash, LF and CR, ``\xNN`` for any byte. Escaped are controls,
everything that some reader takes for a line end, and bytes that are not UTF-8, so that a terminal shows what
was sent and obeys none of it.
"""

import re

from pushd.core.delivery import SteadyWire
from pushd.core.errors import BadEscape
from pushd.core.message import Gap, Message

LINE_END = b"\r\n"

_UNSAFE = re.compile("[\\\\\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")
"""Controls but the tab, all that ends a line for some reader, and (as surrogates) the bytes that are not UTF-8."""
_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPE = re.compile(rb"\\(?:([\\nr])|x([0-9A-Fa-f]{2})|)")
_MEANT = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def escape(data: bytes) -> bytes:
    """Make any bytes fit into a line of UTF-8."""
    text = data.decode("utf-8", "surrogateescape")
    return _UNSAFE.sub(_escape_one, text).encode("utf-8")


def unescape(text: bytes) -> bytes:
    """Undo `escape`.

    :raises BadEscape: a backslash starts none of the escapes.
    """
    return _ESCAPE.sub(_unescape_one, text) if b"\\" in text else text


class TextLines(SteadyWire):
    """Messages and news as lines that a person reads in telnet."""

    bare = False

    def message(self, message: Message) -> bytes:
        """Encode ``MSG CH ID TEXT``."""
        return f"MSG {message.channel} {message.id} ".encode() + escape(message.data) + LINE_END

    def gap(self, gap: Gap) -> bytes:
        """Encode ``GAP TOPIC FROM TO REASON``."""
        return f"GAP {gap.topic} {gap.start} {gap.end} {gap.reason}\r\n".encode()

    def end(self, channel: str) -> bytes:
        """Encode ``END CH``."""
        return f"END {channel}\r\n".encode()

    def ping(self) -> bytes:
        """Say nothing: TCP's own keepalive finds the dead."""
        return b""


def _escape_one(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _NAMED:
        return _NAMED[letter]
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def _unescape_one(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return _MEANT[found[1]]
    if found[2]:
        return bytes.fromhex(found[2].decode("ascii"))
    raise BadEscape("a backslash begins \\\\, \\n, \\r or \\xNN")
