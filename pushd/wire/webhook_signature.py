"""Signatures of outgoing requests, by Standard Webhooks 1.0 (https://www.standardwebhooks.com).

The receiver verifies the headers with the shared secret, which authenticates the sender and the time of the body.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

PREFIX: Final = "whsec_"
"""The prefix of a secret in its text form."""
MIN_BYTES: Final = 24
MAX_BYTES: Final = 64
"""The size of a secret, before it is encoded as base64."""
MAX_SECRETS: Final = 2
"""The most secrets that sign a request: the new one and the old one while it is replaced."""


def parse_secret(content: bytes) -> bytes:
    """Return the secret of a file.

    :param content: ``whsec_`` and the secret in base64; white space around it is ignored.
    :raises ValueError: when it is malformed, too short or too long. The text does not quote it.
    """
    text = content.decode("latin-1").strip()
    if not text.startswith(PREFIX):
        raise ValueError(f"secret must begin with {PREFIX}, followed by {MIN_BYTES} to {MAX_BYTES} bytes in base64")
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"secret must be base64 after {PREFIX}") from None
    if not MIN_BYTES <= len(secret) <= MAX_BYTES:
        raise ValueError(f"secret must have {MIN_BYTES} to {MAX_BYTES} bytes before base64 (got {len(secret)})")
    return secret


def new_message_id() -> str:
    """Return the id of a new request. A retry of the same request has the same id."""
    return f"msg_{secrets.token_urlsafe(16)}"


def signature_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that sign a body.

    :param keys: the secrets; each makes a signature, so that a receiver needs only one of them.
    :param timestamp: unix seconds of this attempt.
    """
    signed = b"%s.%d.%s" % (message_id.encode("ascii"), timestamp, body)
    signatures = [base64.b64encode(hmac.digest(key, signed, sha256)).decode("ascii") for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
