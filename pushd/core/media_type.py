"""Media types (RFC 9110, section 8.3.1)."""

import re

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*[ \t]*;?")


def is_media_type(text: str) -> bool:
    """Return whether a text is ``type/subtype`` with optional parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def essence(media_type: str) -> str:
    """Return ``type/subtype`` in lower case, without the parameters."""
    return media_type.partition(";")[0].strip().lower()
