"""Secrets that are shared with the daemon: as they are, or as the path of a file."""

import os
from pathlib import Path
from typing import Final

Secret = str | bytes | os.PathLike[str]
"""A secret: its text or its bytes, or a `pathlib.Path` of the file that contains it, which is read at each use."""
SECRET_BYTES: Final = 32
"""The least bytes of a secret for signatures of URLs and tokens (RFC 7518, section 3.2)."""


def read_secret(secret: Secret) -> bytes:
    """Return the bytes of a secret. Line ends at its end do not count.

    :raises OSError: when its file cannot be read.
    """
    if isinstance(secret, str):
        content = secret.encode("utf-8")
    elif isinstance(secret, (bytes, bytearray)):
        content = bytes(secret)
    else:
        content = Path(secret).read_bytes()
    return content.rstrip(b"\r\n")


def read_hmac_secret(secret: Secret) -> bytes:
    """Return the bytes of a secret that the daemon accepts as a key of HMAC.

    :raises OSError: when its file cannot be read.
    :raises ValueError: when it is too short, or is a key for asymmetric algorithms. The text does not quote it.
    """
    content = read_secret(secret)
    if len(content) < SECRET_BYTES:
        raise ValueError(f"secret must have at least {SECRET_BYTES} bytes (has {len(content)})")
    # RFC 8725, section 3.5: a public key is known to everybody.
    if b"-----BEGIN " in content or content.lstrip().startswith((b"{", b"ssh-", b"ecdsa-")):
        raise ValueError("secret must be a secret, not a key for asymmetric algorithms")
    return content
