"""Z85 (https://rfc.zeromq.org/spec/32/), as in CometD: the base 85 of Python in other letters."""

import base64
from typing import Final

_Z85: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85: Final = bytes.maketrans(_B85, _Z85)
_TO_B85: Final = bytes.maketrans(_Z85, _B85)
_NOT_Z85: Final = bytes(set(range(256)) - set(_Z85))


def encode(data: bytes) -> str:
    """Return bytes as text."""
    return base64.b85encode(data).translate(_TO_Z85).decode("ascii")


def decode(text: object) -> bytes | None:
    """Return the bytes of a text; None if it is none of Z85."""
    if not isinstance(text, str) or not text.isascii():
        return None
    letters = text.encode("ascii")
    if letters.translate(None, _NOT_Z85) != letters or len(letters) % 5 == 1:
        return None
    try:
        return base64.b85decode(letters.translate(_TO_B85))
    except ValueError:
        return None
