"""Signs URLs, as docs/authentication.md describes it for any client (HMAC-SHA-256, RFC 2104)."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

_METHODS = {"GET": "GET", "HEAD": "GET", "POST": "POST", "PUT": "POST"}
"""The method that a signature names, by the method of the request."""
_ADDED = (b"exp", b"until", b"sub", b"kid", b"sig")
_RECONNECT = (b"lastEventId", b"lastEventID", b"last_event_id", b"Last-Event-ID")
"""Parameters that a client adds when it reconnects, and that are not signed."""
_WRITTEN = "/%:@!$&'()*+,;=?-._~"
"""Characters that stay as they are in a signed URL."""


def sign(
    url: str,
    key_id: str,
    secret: bytes,
    *,
    expires: int,
    until: int | None = None,
    subject: str | None = None,
    method: str = "GET",
    mount: str = "",
) -> str:
    """Return a URL with a signature.

    :param url: an absolute URL, or a path with an optional query.
    :param expires: until when it may be used first, in unix seconds.
    :param until: until when a client that has used it may reconnect, in unix seconds; None: the default of the daemon.
    :param mount: the part of the path that a proxy removes before it passes requests on, such as ``/push``.
    :raises ValueError: when the URL cannot be signed. The text is one sentence.
    """
    parts = urlsplit(url)
    path, query = quote(parts.path or "/", _WRITTEN), quote(parts.query, _WRITTEN)
    if "#" in url:
        raise ValueError("URL must not have a fragment")
    added = {"exp": expires, "until": until, "sub": subject, "kid": key_id}
    parameters = [f"{name}={quote(str(value), '')}" for name, value in added.items() if value is not None]
    query = "&".join([*_unsigned(query), *parameters])
    form = _canonical_form(method, _below(path, mount.rstrip("/")), query)
    signature = urlsafe_b64encode(hmac.digest(secret, form, hashlib.sha256)).rstrip(b"=")
    return urlunsplit((parts.scheme, parts.netloc, path, f"{query}&sig={signature.decode()}", ""))


def _unsigned(query: str) -> list[str]:
    """Return a query that has no signature yet, as a list; an empty list if it is empty."""
    for name, _ in _pairs(query):
        if name in _ADDED:
            raise ValueError(f"URL must not have the parameter {name.decode()}: the signature adds it")
    return [query] if query else []


def _below(path: str, mount: str) -> str:
    """Return a path below a mount point."""
    below = path.removeprefix(mount)
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
