"""What pushd checks in the head of a request: what llhttp accepts and the standard does not (RFC 9110, RFC 9112).

Header names are in lower case. Values of headers that appear more than once are joined by commas.
"""

import re
from collections.abc import Mapping
from typing import Final

Headers = Mapping[bytes, bytes]

_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_EXPECTATIONS: Final = (b"100-continue", b"")


def origin_form(target: bytes, host: bytes | None) -> tuple[bytes, str | None]:
    """Return path and query of a target that is not in origin form, and what is wrong with it (RFC 9112, section 3.2).

    :param host: the value of ``Host``, which must name the same authority.
    """
    if target == b"*":
        return target, None
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return b"/", "the request target must be a path or an absolute http URL (RFC 9112, section 3.2)"
    scheme, authority, rest = found.groups()
    port = _DEFAULT_PORTS[scheme.lower()]
    if host is not None and _without_port(authority, port) != _without_port(host, port):
        return b"/", "the request target and Host must name the same authority (RFC 9112, section 3.2.2)"
    return rest if rest.startswith(b"/") else b"/" + rest, None


def _without_port(authority: bytes, port: bytes) -> bytes:
    """Remove the default port, or an empty one."""
    return authority.lower().removesuffix(port).removesuffix(b":")


def fault_of(headers: Headers, is_http10: bool) -> str | None:
    """Return what is wrong with the headers that say who is asked and where the body ends; None if nothing is (RFC
    9112, sections 3.2 and 6.1).
    """
    host = headers.get(b"host")
    if host is None and not is_http10:
        return "request must have a Host header (RFC 9112, section 3.2)"
    if host and not _HOST.fullmatch(host):
        return "Host must be one host name or IP address, optionally with a port (RFC 9110, section 7.2)"
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (is_http10 or coding.lower() != b"chunked"):
        return "Transfer-Encoding must be chunked, and requires HTTP/1.1 (RFC 9112, section 6.1)"
    return None


def hosts_of(headers: Headers, target: bytes) -> list[bytes]:
    """Return the hosts that a request names: that of ``Host``, and that of a target in absolute form."""
    hosts = [headers[b"host"]] if b"host" in headers else []
    if not target.startswith(b"/") and (found := _ABSOLUTE.fullmatch(target)):
        hosts.append(found[2].rpartition(b"@")[2])
    return hosts


def is_known_expectation(value: bytes) -> bool:
    """Return whether an ``Expect`` is ``100-continue`` only (RFC 9110, section 10.1.1)."""
    return all(word.strip().lower() in _EXPECTATIONS for word in value.split(b","))


def content_length(headers: Headers) -> int:
    """Return the declared size of the body, in bytes; 0 where none is declared. llhttp has checked that it is one
    number.
    """
    return int(headers.get(b"content-length", b"0"))


def may_switch(method: bytes, headers: Headers, is_http10: bool) -> bool:
    """Return whether a request with ``Upgrade`` can be a WebSocket handshake (RFC 6455, section 4.1)."""
    has_body = b"transfer-encoding" in headers or content_length(headers) > 0
    return method == b"GET" and not is_http10 and not has_body and b"websocket" in headers[b"upgrade"].lower()


def framing_head(headers: Headers) -> bytes:
    """Return a head that has nothing but the framing of the body (RFC 9112, section 6)."""
    if b"transfer-encoding" in headers:
        return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % content_length(headers)
