"""Checks which pages may use the daemon, by the headers of browsers: ``Host``, ``Origin`` and ``Sec-Fetch-Site``.

A page cannot set these headers. A client that sends none of them is not a browser.
"""

import socket
from collections.abc import Collection

_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
"""The ports that browsers leave out of an origin, and some clients and proxies put into ``Host``."""


def is_known_host(authority: bytes, names: Collection[str]) -> bool:
    """Return whether a loopback listener serves a host: ``localhost`` and its subdomains (RFC 6761, section 6.3), an IP
    address, or one of `names`.

    The owner of any other name can point it to 127.0.0.1. The pages of that name then share their origin with the
    daemon (DNS rebinding). Case, a port, and one dot at the end of the name are ignored.

    :param authority: the value of ``Host`` (RFC 9110, section 7.2), well-formed: ``host[:port]``.
    :param names: other host names, in lower case.
    """
    if authority.startswith(b"["):
        address, bracket, port = authority[1:].partition(b"]")
        is_whole = bool(bracket) and port[:1] in (b"", b":")
        return is_whole and _is_address(socket.AF_INET6, address.decode("latin-1"))
    name = authority.partition(b":")[0].decode("latin-1").lower().removesuffix(".")
    return (
        name == "localhost"
        or name in names
        or name.endswith(".localhost")
        or (name[-1:].isdigit() and _is_address(socket.AF_INET, name))
    )


def is_same_origin(origin: bytes, host: bytes) -> bool:
    """Return whether an ``Origin`` (RFC 6454) is that of a web page of the host and port in ``Host``.

    A browser extension has another scheme, and can choose its host.
    """
    scheme, _, authority = origin.lower().partition(b"://")
    port = _DEFAULT_PORTS.get(scheme)
    host = host.lower()
    return port is not None and host != b"" and authority.removesuffix(port) == host.removesuffix(port)


def is_cross_site(fetch_site: bytes | None) -> bool:
    """Return whether ``Sec-Fetch-Site`` (W3C Fetch Metadata, section 2.3) names a page of another site."""
    return fetch_site is not None and b"cross-site" in fetch_site.lower()


def is_own_page(origin: bytes, fetch_site: bytes | None, host: bytes | None, allow_origins: Collection[str]) -> bool:
    """Return whether an ``Origin`` is that of the host, or of one that is named: ``*`` names none.

    The scheme is not compared: behind a proxy it is not the one that the browser uses.
    """
    is_same = is_same_origin(origin, host or b"") and not is_cross_site(fetch_site)
    return is_same or origin.decode("latin-1") in allow_origins


def embedding_headers(allow_origins: Collection[str]) -> bytes:
    """Return the header lines that keep pages of other origins from embedding answers (WHATWG Fetch, section 3.7;
    Content Security Policy Level 3, section 6.4.2).

    :param allow_origins: the origins whose pages may embed them in frames, and by CORS; ``*`` means all, also without.
    """
    if "*" in allow_origins:
        return b"Cross-Origin-Resource-Policy: cross-origin\r\n"
    ancestors = " ".join(["'self'", *sorted(allow_origins)]).encode("ascii")
    return b"Cross-Origin-Resource-Policy: same-origin\r\nContent-Security-Policy: frame-ancestors %b\r\n" % ancestors


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True
