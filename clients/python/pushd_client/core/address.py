"""The address of a daemon, and request targets below it."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode, urlsplit

from ..version import VERSION

DEFAULT_PORTS = {"http": 80, "https": 443}
USER_AGENT = f"pushd-client/{VERSION}"


class Address:
    """The address of the HTTP listener of a daemon.

    :param url: ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :raises ValueError: when the URL has another form.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                f"url must be http:// or https:// with a host, such as http://localhost:8080 (got {url!r})"
            )
        if "@" in parts.netloc:
            raise ValueError("url must not contain a user or a password: pass the token as an argument")
        self.is_secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or DEFAULT_PORTS[parts.scheme]
        self.prefix = parts.path.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = host if self.port == DEFAULT_PORTS[parts.scheme] else f"{host}:{self.port}"
        self.origin = f"{parts.scheme}://{self.authority}"
        self.tls_name = self.host if self.is_secure else None
        self.websocket_origin = f"{'wss' if self.is_secure else 'ws'}://{self.authority}"

    def __str__(self) -> str:
        """Return the URL."""
        return self.origin + self.prefix

    def target(self, path: str, query: Mapping[str, object] | None = None) -> str:
        """Return the request target (RFC 9112, section 3.2.1) of a path; parameters that are None are omitted."""
        parameters = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        return self.prefix + path + ("?" + urlencode(parameters) if parameters else "")


def quote_name(name: str) -> str:
    """Return the name of one channel, or the id of a member, percent-encoded for a path.

    :raises ValueError: when it contains a comma, which separates names.
    """
    if not name or "," in name:
        raise ValueError(f"name must not be empty, and must not contain a comma (got {name!r})")
    return quote(name, safe="/$")


def split_topics(topics: str | Iterable[str]) -> tuple[str, ...]:
    """Return topics as a tuple; a string may contain several, separated by commas.

    :raises ValueError: when there is none.
    """
    split = tuple(dict.fromkeys(topics.split(",") if isinstance(topics, str) else topics))
    if not all(split) or not split:
        raise ValueError(f"topics must not be empty (got {topics!r})")
    return split


def quote_topics(topics: str | Iterable[str]) -> str:
    """Return topics, percent-encoded for a path. Raises as `split_topics`."""
    return quote(",".join(split_topics(topics)), safe="/,*$")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)
