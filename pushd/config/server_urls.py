"""URLs of servers to which the daemon sends requests."""

import ipaddress
import re
from urllib.parse import urlsplit

from pushd.config.parsers import Parser, text
from pushd.net.address_rules import is_address, problem_of


def server_url(example: str) -> Parser[str]:
    """Return a parser of URLs, which may be empty. They must not contain a password, which would be logged,
    nor an address to which nothing is sent.

    :param example: for the error.
    """

    def parse(value: object) -> str:
        url = text(value)
        if not url:
            return url
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError(f"{url!r} is not a URL") from None
        if "@" in parts.netloc:
            raise ValueError("must not contain a user name or a password")
        is_known = parts.scheme in ("https", "http") and bool(host) and not parts.fragment
        if not is_known or not url.isascii() or re.search(r"\s", url):
            raise ValueError(f"{url!r} is not a URL (example: {example})")
        if is_address(host or "") and (problem := problem_of(host or "")):
            raise ValueError(f"{url!r} is refused: {problem}")
        return url

    return parse


def is_protected(url: str) -> bool:
    """Return whether nobody on the network can read or change what is exchanged with a URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
