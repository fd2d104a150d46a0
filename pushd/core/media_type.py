"""Media types (RFC 9110, section 8.3.1), and the types of pictures by their first bytes."""

import re

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*[ \t]*;?")

_SIGNATURES = re.compile(
    rb"(?P<png>\x89PNG\r\n\x1a\n)|(?P<jpeg>\xff\xd8\xff)|(?P<gif>GIF8[79]a)|(?P<webp>RIFF.{4}WEBPVP)"
    rb"|(?P<bmp>BM.{4}\0{4})|(?P<avif>.{4}ftypavi[fs])",
    re.DOTALL,
)
"""The first bytes of pictures (WHATWG MIME Sniffing, section 6.1); of BMP also its reserved bytes."""


def picture_type(data: bytes) -> str | None:
    """Return the media type of a picture; None if the data does not begin like a picture that browsers show."""
    found = _SIGNATURES.match(data)
    return f"image/{found.lastgroup}" if found else None


def is_media_type(text: str) -> bool:
    """Return whether a text is ``type/subtype`` with optional parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def essence(media_type: str) -> str:
    """Return ``type/subtype`` in lower case, without the parameters."""
    return media_type.partition(";")[0].strip().lower()
