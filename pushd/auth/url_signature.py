"""The signature of a URL: HMAC-SHA-256 over its method, path and query in a canonical form.

It does not depend on how a client or a proxy writes the URL: percent-encoding and the order of parameters do not
matter. `pushd.client.url_signature` makes signatures.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

RECONNECT_PARAMETERS: Final = (b"lastEventId", b"lastEventID", b"last_event_id", b"Last-Event-ID")
"""Parameters in which polyfills of EventSource and other clients send the last id when they reconnect. They are not
signed, since a client that reconnects adds them to the URL that it was given."""
SIGNATURE: Final = b"sig"
CREDENTIAL_PARAMETERS: Final = frozenset({"exp", "until", "sub", "kid", "sig"})
"""The parameters that a signed URL has besides those of its resource."""
SECRET_BYTES: Final = 32
"""The least bytes of a secret."""

_VERSION: Final = b"pushd1"
_METHODS: Final = {b"GET": b"GET", b"HEAD": b"GET", b"POST": b"POST", b"PUT": b"POST"}
_UNSIGNED: Final = frozenset({SIGNATURE, *RECONNECT_PARAMETERS})

Parameters = Mapping[bytes, Sequence[bytes]]
"""The parameters of a query, decoded: for each name its values."""


def signed_method(method: bytes) -> bytes | None:
    """Return the method that a signature for a method names; None if there is no signature for it."""
    return _METHODS.get(method)


def canonical_form(method: bytes, path: bytes, parameters: Parameters) -> bytes:
    """Return what is signed.

    The query comes last and has no line feed, so that no other request has the same form.

    :param method: ``GET`` or ``POST``.
    :param path: the decoded path below the mount point, which begins with ``/``.
    """
    signed = ((name, values) for name, values in parameters.items() if name not in _UNSIGNED)
    return b"\n".join((_VERSION, method, path, encode_query(signed)))


def encode_query(parameters: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """Return parameters encoded as in RFC 3986, section 2, sorted by their encoded names and values."""
    pairs = sorted(
        (quote_from_bytes(name, ""), quote_from_bytes(value, "")) for name, values in parameters for value in values
    )
    return "&".join([f"{name}={value}" for name, value in pairs]).encode("ascii")


def parse_query(query: bytes) -> dict[bytes, list[bytes]]:
    """Parse a query (WHATWG URL, section 5.1): only ``&`` separates parameters, and one may have no ``=``."""
    parameters: dict[bytes, list[bytes]] = {}
    for pair in query.replace(b"+", b" ").split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            parameters.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return parameters


def signature_of(form: bytes, secret: bytes) -> bytes:
    """Return the signature of a canonical form: unpadded base64url (RFC 4648, section 5)."""
    return urlsafe_b64encode(hmac.digest(secret, form, sha256)).rstrip(b"=")


def check_secret(content: bytes) -> bytes:
    """Return the secret in a file. A line end at the end of the file does not count.

    :raises ValueError: when it is too short, or is a key for asymmetric algorithms.
    """
    secret = content.rstrip(b"\r\n")
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"must have at least {SECRET_BYTES} bytes (has {len(secret)})")
    # RFC 8725, section 3.5: a public key is known to everybody.
    if b"-----BEGIN " in secret or secret.lstrip().startswith((b"{", b"ssh-", b"ecdsa-")):
        raise ValueError("must be a secret, not a key for asymmetric algorithms")
    return secret
