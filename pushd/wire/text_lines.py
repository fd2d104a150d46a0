r"""Messages as lines of text, ``MSG CH ID TEXT``, with escapes for bytes that a line cannot contain.

``\\``, ``\n`` and ``\r`` stand for a backslash, LF and CR, ``\xNN`` for any byte. Control characters, everything that
some reader treats as a line end, and bytes that are not valid UTF-8 are escaped, so that a terminal displays the data
and executes no control sequence in it.
"""

import re

from pushd.core.delivery import StatelessWire
from pushd.core.errors import BadEscape
from pushd.core.message import Gap, Message

LINE_END = b"\r\n"

_UNSAFE = re.compile("[\\\\\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")
"""Control characters except tab, line ends of any reader, and (as surrogates) bytes that are not valid UTF-8."""
_NAMED_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPE = re.compile(rb"\\(?:([\\nr])|x([0-9A-Fa-f]{2})|)")
_UNESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def escape(data: bytes) -> bytes:
    """Return any bytes as UTF-8 text without line ends or control characters other than tab."""
    text = data.decode("utf-8", "surrogateescape")
    return _UNSAFE.sub(_escape_one, text).encode("utf-8")


def unescape(text: bytes) -> bytes:
    """Return the bytes that an escaped text stands for.

    :raises BadEscape: when a backslash does not begin a known escape.
    """
    return _ESCAPE.sub(_unescape_one, text) if b"\\" in text else text


class TextLines(StatelessWire):
    """Messages and control lines that a person can read in telnet."""

    data_only = False

    def message(self, message: Message) -> bytes:
        """Encode ``MSG CH ID TEXT``, with ``-`` as the id of an ephemeral message."""
        id = message.id if message.is_kept else "-"
        return f"MSG {message.channel} {id} ".encode() + escape(message.data) + LINE_END

    def gap(self, gap: Gap) -> bytes:
        """Encode ``GAP TOPIC FROM TO REASON``."""
        return f"GAP {gap.topic} {gap.start} {gap.end} {gap.reason}\r\n".encode()

    def end(self, channel: str) -> bytes:
        """Encode ``END CH``."""
        return f"END {channel}\r\n".encode()

    def expiring(self, at: int) -> bytes:
        """Encode ``EXPIRING UNIX``."""
        return b"EXPIRING %d\r\n" % at

    def ping(self) -> bytes:
        """Return ``b""``: TCP keepalive detects dead peers."""
        return b""


def _escape_one(match: re.Match[str]) -> str:
    character = match[0]
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _unescape_one(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return _UNESCAPED[match[1]]
    if match[2]:
        return bytes.fromhex(match[2].decode("ascii"))
    raise BadEscape("invalid escape; accepted are \\\\, \\n, \\r and \\xNN")
