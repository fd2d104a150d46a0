"""The content of a message: its media type if none is given, its charset, and why JSON is invalid."""

import codecs
import re
from functools import lru_cache
from typing import Final

import msgspec

_UTF8: Final = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_CHARSETS: Final = re.compile(
    r"iso8859-[0-9]{1,2}|cp125[0-8]|cp866|utf-16(?:-[lb]e)?|koi8-[ru]|mac-roman|shift_jis|euc_jp|iso2022_jp|euc_kr"
    r"|gb2312|gbk|gb18030|big5"
)
"""The codecs of Python for the charsets of the web (WHATWG Encoding, section 4)."""
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
"""The first bytes of images (WHATWG MIME Sniffing, section 6.1)."""


def image_type(data: bytes) -> str | None:
    """Return the media type of an image by its first bytes; None if it is none that browsers show."""
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return None


def is_foreign(charset: str | None) -> bool:
    """Return whether a charset is given, and is not UTF-8 or ASCII."""
    return charset is not None and charset not in _UTF8


def decoded(data: bytes, charset: str) -> bytes | None:
    """Return text in another charset as UTF-8; None when the charset is unknown or the data is not valid in it."""
    codec = _codec(charset)
    if codec is None:
        return None
    try:
        return data.decode(codec).encode("utf-8")
    except UnicodeError:
        return None


_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


def json_problem(data: bytes) -> str | None:
    """Return why data is not valid JSON (RFC 8259), without a word of it; None if it is valid."""
    if data.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark"
    try:
        msgspec.json.decode(data)
    except RecursionError:
        return "it is nested too deeply"
    except (msgspec.MsgspecError, ValueError) as error:
        if _LONE_SURROGATE.search(data):
            return "it has the escape of a lone surrogate"
        return str(error).removeprefix("JSON is malformed: ")
    return None


@lru_cache(256)
def _codec(charset: str) -> str | None:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    return name if _CHARSETS.fullmatch(name) else None
