"""Parses JSON Web Tokens in compact serialization (RFC 7515, section 7.1; RFC 7519), without verifying them.

Only one spelling of a token is accepted: base64url without padding and without unused bits (RFC 4648, section 3.5),
JSON in UTF-8 without duplicate names. Otherwise two tokens that differ could be the same credential, or one token could
mean different things to two parsers.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from pushd.auth.token_checks import Check, CheckFailed

MAX_BYTES = 8192
"""The most bytes of a token, checked before it is parsed."""
_TYPES = frozenset({"jwt", "at+jwt"})
"""Values of ``typ`` (RFC 8725, section 3.11), without the prefix ``application/``, in lower case. It may be missing."""
_CACHED_HEADERS = 64
"""The most headers that are cached. They are not trusted: any token may have them."""
_REFUSED_MEMBERS = {
    "jku": "names a URL of keys; keys come from the configuration only",
    "jwk": "contains a key; keys come from the configuration only",
    "x5u": "names a URL of a certificate; keys come from the configuration only",
    "x5c": "contains a certificate; keys come from the configuration only",
    "crit": "requires extensions, none of which is supported",
    "b64": "requires an unencoded payload, which is not supported",
    "zip": "requires compression, which is not supported",
    "enc": "requires encryption, which is not supported",
    "cty": "is for nested tokens, which are not supported",
}


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A parsed token. Nothing in it can be trusted before its signature is verified."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, object]
    signed: bytes
    """The bytes that the signature covers."""
    signature: bytes


def parse_token(token: str) -> CompactToken:
    """Parse a token.

    :raises CheckFailed: when it is too long or malformed, or its header asks for something that is not supported.
    """
    if len(token) > MAX_BYTES:
        raise CheckFailed(Check.SIZE, "", f"token must not exceed {MAX_BYTES} bytes")
    header_text, claims_text, signature_text = _segments(token)
    algorithm, key_id = _parse_header(header_text)
    return CompactToken(
        algorithm,
        key_id,
        _parse_object(_decode(claims_text, "claims"), Check.CLAIMS, "claims"),
        f"{header_text}.{claims_text}".encode("ascii"),
        _decode(signature_text, "signature"),
    )


def _segments(token: str) -> list[str]:
    segments = token.split(".")
    if len(segments) == 5:
        raise CheckFailed(Check.FORM, "", "token has five parts: encrypted tokens (JWE) are not supported")
    if len(segments) != 3:
        raise CheckFailed(Check.FORM, "", "token must have three parts: header, claims and signature (RFC 7519)")
    return segments


@lru_cache(_CACHED_HEADERS)
def _parse_header(segment: str) -> tuple[str, str | None]:
    """Return the algorithm and the key id of a header, which all tokens of one key have in common."""
    return _check_header(_parse_object(_decode(segment, "header"), Check.HEADER, "header"))


def _decode(segment: str, name: str) -> bytes:
    """Return the bytes of a segment, which must be the only base64url text of these bytes."""
    try:
        data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (Base64Error, ValueError):
        data = b""
    if urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != segment:
        raise CheckFailed(Check.FORM, "", f"{name} must be base64url without padding (RFC 7515, section 2)")
    return data


def _parse_object(data: bytes, check: Check, name: str) -> dict[str, object]:
    """Parse a JSON object: by a strict parser, and once more to find duplicate names."""
    try:
        text = data.decode("utf-8")
        value = msgspec.json.decode(data)
        _UNIQUE_NAMES.decode(text)
    except UnicodeDecodeError:
        raise CheckFailed(check, "", f"{name} must be UTF-8 (RFC 7519, section 7.2)") from None
    except _DuplicateName:
        raise CheckFailed(check, "", f"{name} must not contain a name twice (RFC 7519, section 4)") from None
    except (ValueError, RecursionError):
        raise CheckFailed(check, "", f"{name} must be JSON (RFC 8259)") from None
    if not isinstance(value, dict):
        raise CheckFailed(check, "", f"{name} must be a JSON object (RFC 7519, section 7.2)")
    return value


class _DuplicateName(Exception):
    """A JSON object contains a name twice."""


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise _DuplicateName
    return names


_UNIQUE_NAMES = json.JSONDecoder(object_pairs_hook=_unique_names)


def _check_header(header: Mapping[str, object]) -> tuple[str, str | None]:
    """Return the algorithm and the key id. Members that are not known are ignored (RFC 7515, section 4)."""
    for member, reason in _REFUSED_MEMBERS.items():
        if member in header:
            raise CheckFailed(Check.HEADER, member, f"header member {member} {reason}")
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str):
        raise CheckFailed(Check.HEADER, "alg", "header member alg must be a string and is required")
    if not (isinstance(key_id, str) or "kid" not in header):
        raise CheckFailed(Check.HEADER, "kid", "header member kid must be a string")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise CheckFailed(Check.HEADER, "typ", "header member typ must be JWT or at+jwt")
    return algorithm, key_id if isinstance(key_id, str) else None
