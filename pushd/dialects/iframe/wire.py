"""Messages as script tags.

A message is text in a string, which the browser parses as JSON: as an object of the script itself, a property
``__proto__`` would change its prototype, and two of them would be a syntax error. The function is named once, in the
first bytes of the page, so that pages with different callbacks share all frames.
"""

from typing import Final

from pushd.core.cursor import MessageId
from pushd.core.delivery import StatelessWire
from pushd.core.message import Gap, Message
from pushd.wire.json_messages import encode, encode_begin, encode_end, encode_expired, encode_expiring, encode_gap
from pushd.wire.json_messages import encode_message as _encode_message

_PADDING: Final = b"<!--" + b" " * 2048 + b"-->\n"
"""Browsers show nothing of a page before they have read 256 bytes to 1 KiB."""
_PAGE: Final = (
    b'<!DOCTYPE html><html><head><meta charset="utf-8"><title>pushd</title></head><body>\n'
    b"<script>var alive=1;"
    b"function _(t){var s=document.currentScript;if(s)s.parentNode.removeChild(s);alive=1;if(t)%b(JSON.parse(t))}"
    b'setInterval(function(){if(!alive&&document.readyState!="complete")location.replace("about:blank");alive=0},%d)'
    b"</script>\n"
)
"""The tag of each message is removed from the page, which would grow otherwise.

Browsers fire no event when the connection of a page is cut. A page that receives nothing, not even a keepalive, leaves,
so that its frame fires `load` as at the end.
"""


def preamble(callback: bytes, seconds: float) -> bytes:
    """Return the first bytes of a page.

    :param callback: a checked name.
    :param seconds: the interval of keepalives.
    """
    return _PAGE % (callback, 2000 * seconds) + _PADDING


def _script(text: bytes) -> bytes:
    """Return a script that passes JSON to the function.

    Without ``<`` it can contain neither ``</script`` nor ``<!--``; the encoding of JSON has escaped U+2028 and U+2029.
    """
    return b"<script>_(%b)</script>\n" % encode(text.decode("utf-8")).replace(b"<", b"\\u003c")


class Scripts(StatelessWire):
    """JSON messages and control objects, each as a script tag."""

    data_only = False
    has_begin = True
    has_reply_to = True
    name = "iframe"

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor."""
        return _script(encode_begin(cursor, connection))

    def message(self, message: Message) -> bytes:
        """Encode a message."""
        return _script(_encode_message(message))

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap."""
        return _script(encode_gap(gap))

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel."""
        return _script(encode_end(channel))

    def expiring(self, at: int) -> bytes:
        """Encode the warning that the credential expires."""
        return _script(encode_expiring(at))

    def expired(self, code: str) -> bytes:
        """Encode the last object of a stream whose credential is not accepted any more."""
        return _script(encode_expired(code))

    def ping(self) -> bytes:
        """Encode a script by which the page notices that it is still connected."""
        return b"<script>_()</script>\n"
