"""Requests that the daemon sends to an application, signed by Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

import binascii
import hashlib
import hmac
import json
import os
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Union

from .errors import PushdError
from .key_material import Secret, read_secret

Headers = Union[Mapping[str, str], "Iterable[tuple[str, str]]"]
"""The headers of a request: a mapping, or pairs; the case of names does not matter."""

TOLERANCE: Final = 300.0
"""The most seconds between the time in a request and now."""
_PREFIX: Final = "whsec_"
_MIN_BYTES: Final = 24
_TIMESTAMP: Final = re.compile("[0-9]{1,12}")
_SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


class InvalidWebhook(PushdError):
    """A request is not signed with the secret, or is too old: answer it with 400."""


def verify_webhook(
    headers: Headers,
    body: bytes | str,
    secret: Secret | Iterable[Secret],
    *,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Verify the signature of a hook or of a callback, and return its decoded JSON object.

    :param headers: all headers of the request, or at least those that begin with ``webhook-``.
    :param body: the body as it was received, before any decoding of JSON.
    :param secret: ``whsec_…``, or several of them while one replaces the other.
    :param tolerance: see `TOLERANCE`.
    :raises InvalidWebhook: when the request must not be trusted.
    :raises ValueError: when a secret is malformed. The text does not quote it.
    :raises OSError: when the file of a secret cannot be read.
    """
    keys = [parse_webhook_secret(each) for each in _each(secret)]
    content = body.encode("utf-8") if isinstance(body, str) else bytes(body)
    message_id, timestamp, signatures = _signed_headers(headers)
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidWebhook("header webhook-timestamp must be unix seconds")
    signed = b"%s.%s.%s" % (message_id.encode("utf-8"), timestamp.encode("ascii"), content)
    expected = [f"v1,{b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode('ascii')}" for key in keys]
    if not _has_match(expected, signatures.split(" ")):
        raise InvalidWebhook("header webhook-signature has no signature with the secret")
    if abs(time.time() - int(timestamp)) > tolerance:
        raise InvalidWebhook(f"header webhook-timestamp must be within {tolerance:g} seconds of the present time")
    return _decoded(content)


def parse_webhook_secret(secret: Secret) -> bytes:
    """Return the key of a secret ``whsec_…``.

    :raises ValueError: when it is malformed. The text does not quote it.
    :raises OSError: when its file cannot be read.
    """
    text = read_secret(secret).decode("latin-1").strip()
    if not text.startswith(_PREFIX):
        raise ValueError(f"secret must begin with {_PREFIX}")
    try:
        key = b64decode(text[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"secret must be base64 after {_PREFIX}") from None
    if len(key) < _MIN_BYTES:
        raise ValueError(f"secret must have at least {_MIN_BYTES} bytes before base64 (has {len(key)})")
    return key


def _each(secret: Secret | Iterable[Secret]) -> Iterator[Secret]:
    if isinstance(secret, (str, bytes, bytearray, os.PathLike)):
        yield secret
    else:
        yield from secret


def _signed_headers(headers: Headers) -> tuple[str, ...]:
    """Return the values of the headers of a signature."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    values = {name.lower(): value for name, value in pairs}
    for name in _SIGNED:
        if not values.get(name):
            raise InvalidWebhook(f"header {name} is missing")
    return tuple(values[name] for name in _SIGNED)


def _has_match(expected: list[str], received: list[str]) -> bool:
    """Return whether one of the signatures is expected. All are compared, each in constant time."""
    is_match = False
    for signature in received:
        for each in expected:
            is_match |= hmac.compare_digest(each.encode("ascii"), signature.encode("utf-8"))
    return is_match


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidWebhook("body must be a JSON object")
    return value
