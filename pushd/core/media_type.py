"""Media types (RFC 9110, section 8.3.1)."""

import re

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r"\"(?:[\t !#-\[\]-~]|\\[\t -~])*\""
_PARAMETER = rf"({_TOKEN})=({_TOKEN}|{_QUOTED})"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?)*[ \t]*")
"""Parameters may be empty (RFC 9110, section 5.6.6), and their values quoted (section 5.6.4)."""
_PARAMETERS = re.compile(rf"[ \t]*;[ \t]*(?:{_PARAMETER})?")


def is_media_type(text: str) -> bool:
    """Return whether a text is ``type/subtype`` with optional parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def essence(media_type: str) -> str:
    """Return ``type/subtype`` in lower case, without the parameters."""
    return media_type.partition(";")[0].strip().lower()


def charset(media_type: str) -> str | None:
    """Return the parameter ``charset`` of a media type in lower case; None if there is none."""
    for name, value in _parameters(media_type):
        if name.lower() == "charset":
            return _unquoted(value).lower()
    return None


def with_utf8(media_type: str) -> str:
    """Return a media type with the charset UTF-8 in place of its own."""
    others = [f"; {name}={value}" for name, value in _parameters(media_type) if name.lower() != "charset"]
    return f"{media_type.partition(';')[0].strip()}; charset=utf-8{''.join(others)}"


def _parameters(media_type: str) -> list[tuple[str, str]]:
    start = media_type.find(";")
    found = _PARAMETERS.finditer(media_type, start) if start >= 0 else ()
    return [(each[1], each[2]) for each in found if each[1]]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
