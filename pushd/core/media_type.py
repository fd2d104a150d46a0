"""Media types (RFC 9110, section 8.3.1), and the types of pictures by their first bytes."""

import re

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf"(?P<name>{_TOKEN})=(?P<value>{_TOKEN}|\"(?:[ !#-\[\]-~]|\\[ -~])*\")"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;(?:[ \t]*{re.sub('[?]P<[a-z]+>', '?:', _PARAMETER)})?)*[ \t]*")
_PARAMETERS = re.compile(rf";[ \t]*{_PARAMETER}")
_QUOTED_PAIR = re.compile(r"\\(.)")
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


def charset(media_type: str) -> str | None:
    """Return the value of the first parameter ``charset``, in lower case; None if there is none."""
    for found in _PARAMETERS.finditer(media_type):
        if found["name"].lower() == "charset":
            value = found["value"]
            return (_QUOTED_PAIR.sub(r"\1", value[1:-1]) if value[0] == '"' else value).lower()
    return None


def with_utf8(media_type: str) -> str:
    """Return a media type with ``charset=utf-8`` in place of each ``charset`` that it has."""
    return _PARAMETERS.sub(_replace_charset, media_type)


def _replace_charset(found: re.Match[str]) -> str:
    if found["name"].lower() != "charset":
        return found[0]
    return found[0][: found.start("value") - found.start()] + "utf-8"
