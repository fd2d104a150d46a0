"""Signed URLs: each allows one request, until a time, without a token.

The scheme is in docs/authentication.md of pushd, "How a URL is signed", with test vectors.
"""

import hashlib
import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from .key_material import Secret, read_hmac_secret

Time = float | datetime | timedelta
"""A time: unix seconds, a `datetime`, or a `timedelta` from now."""

DEFAULT_EXP: Final = timedelta(minutes=5)
_METHODS: Final = {"GET": "GET", "HEAD": "GET", "POST": "POST", "PUT": "POST"}
"""The method that a signature names, by the method of the request."""
_ADDED: Final = (b"exp", b"until", b"sub", b"kid", b"sig")
_RECONNECT: Final = (b"lastEventId", b"lastEventID", b"last_event_id", b"Last-Event-ID")
"""Parameters that a client adds when it reconnects, and that are not signed."""
_WRITTEN: Final = "/%:@!$&()*+,=?-._~"
"""Characters that stay as they are in a signed URL. Quotes and ``;`` are encoded, so that it can stand in HTML and in a
string of JavaScript without escaping."""
_KEY_ID: Final = re.compile("[A-Za-z0-9_-]{1,64}")
_SUBJECT_BYTES: Final = 255
_LEAST_UNIX: Final = 1_000_000_000
"""September 2001: what is less was meant as a number of seconds from now."""


class UrlKey(NamedTuple):
    """A key of signed URLs. The tuple ``(id, secret)`` is accepted as well."""

    id: str
    """Its id in the section ``[auth.url_keys]`` of the daemon."""
    secret: Secret


def sign_url(
    url: str,
    key: UrlKey | tuple[str, Secret],
    *,
    exp: Time = DEFAULT_EXP,
    until: Time | None = None,
    sub: str | None = None,
    method: str = "GET",
    mount: str = "",
) -> str:
    """Return a URL with a signature. With ``GET`` it grants to subscribe to the topics in its path, and their history.

    :param url: an absolute URL, or a path with an optional query. The path is percent-encoded where necessary.
    :param key: its id and secret.
    :param exp: until when the URL may be used first.
    :param until: until when a client that has used it may reconnect; None: an hour after `exp`.
    :param sub: the subject of the request, 1 to 255 bytes.
    :param method: that of the request: ``POST`` to publish.
    :param mount: the part of the path that a proxy removes before it passes requests on to pushd, such as ``/push``.
    :raises ValueError: when it cannot be signed. The text does not quote the secret.
    :raises OSError: when the file of the secret cannot be read.
    """
    if "#" in url:
        raise ValueError("URL must not have a fragment")
    parts = urlsplit(url)
    path, query = quote(parts.path or "/", _WRITTEN), quote(parts.query, _WRITTEN)
    parameters = _parameters(key[0], _unix_seconds("exp", exp), until, sub)
    query = "&".join([*_unsigned(query), *parameters])
    form = _canonical_form(method, _below(path, mount.rstrip("/")), query)
    digest = hmac.new(read_hmac_secret(key[1]), form, hashlib.sha256).digest()
    signature = urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    return urlunsplit((parts.scheme, parts.netloc, path, f"{query}&sig={signature}", ""))


def _parameters(key_id: str, exp: int, until: Time | None, sub: str | None) -> Iterator[str]:
    """Yield the parameters that a signature adds, apart from itself.

    :raises ValueError: when one of them is not valid.
    """
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise ValueError("id of the key must have 1 to 64 letters, digits, - and _")
    yield f"exp={exp}"
    if until is not None:
        last = _unix_seconds("until", until)
        if last < exp:
            raise ValueError(f"until must not be before exp (got {last} and {exp})")
        yield f"until={last}"
    if sub is not None:
        if not 1 <= len(sub.encode("utf-8")) <= _SUBJECT_BYTES:
            raise ValueError(f"sub must have 1 to {_SUBJECT_BYTES} bytes")
        yield f"sub={quote(sub, '')}"
    yield f"kid={key_id}"


def _unix_seconds(name: str, value: Time) -> int:
    if isinstance(value, timedelta):
        return int(time.time() + value.total_seconds())
    seconds = int(value.timestamp() if isinstance(value, datetime) else value)
    if seconds < _LEAST_UNIX:
        raise ValueError(f"{name} must be unix seconds, a datetime, or a timedelta from now (got {value})")
    return seconds


def _unsigned(query: str) -> list[str]:
    """Return a query that has no signature yet, as a list; an empty list if it is empty."""
    for name, _ in _pairs(query):
        if name in _ADDED:
            raise ValueError(f"URL must not have the parameter {name.decode('ascii')}: the signature adds it")
    return [query] if query else []


def _below(path: str, mount: str) -> str:
    """Return a path below a mount point."""
    below = path[len(mount) :]
    if not path.startswith(mount) or not below.startswith("/"):
        raise ValueError(f"path of the URL must begin with {mount}/")
    return below


def _canonical_form(method: str, path: str, query: str) -> bytes:
    """Return what is signed."""
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)} (got {method})")
    signed = sorted([quote(each, "") for each in pair] for pair in _pairs(query) if pair[0] not in _RECONNECT)
    parameters = "&".join([f"{name}={value}" for name, value in signed])
    return b"\n".join((b"pushd1", _METHODS[method].encode(), unquote_to_bytes(path), parameters.encode()))


def _pairs(query: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the decoded names and values of the parameters of a query."""
    for pair in query.replace("+", " ").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield unquote_to_bytes(name), unquote_to_bytes(value)
