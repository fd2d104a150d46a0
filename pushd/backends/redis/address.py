"""Where Redis is: what a URL says.

``redis://``, ``rediss://`` (TLS), ``unix:///PATH?db=N``, and with Sentinel ``redis+sentinel://HOST,HOST/SERVICE/DB``
or ``rediss+sentinel://``, in the way of the registered schemes
(https://www.iana.org/assignments/uri-schemes/prov/redis).
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_EXAMPLES: Final = (
    "(examples: redis://localhost:6379/0, rediss://user:password@redis.example.org, unix:///run/redis.sock)"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one Redis is, or the Sentinels that know."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    """Of a unix socket; empty: TCP."""
    service: str = ""
    """The name of the master for which Sentinels are asked; empty: `hosts` is Redis itself."""
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0

    def __str__(self) -> str:
        """Give it as people may read it: without the password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.service} by {hosts}" if self.service else self.path or hosts


def parse_url(text: str) -> Address:
    """Read a URL.

    :raises ValueError: with a phrase that does not hold the password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"not a Redis URL {_EXAMPLES}")
    try:
        return _unix(text) if scheme == "unix" else _network(scheme, rest)
    except (UnicodeError, ValueError) as error:
        raise ValueError(f"invalid Redis URL: {error} {_EXAMPLES}") from None


def _unix(text: str) -> Address:
    parts = urlsplit(text)
    if not parts.path.startswith("/") or len(parts.path) < 2 or parts.hostname:
        raise ValueError("the path of a unix socket must be absolute, and no host is accepted")
    options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    db = options.pop("db", ["0"])[-1]
    if options:
        raise ValueError(f"unknown parameter {next(iter(options))}")
    user, password = _credentials(parts.netloc.rpartition("@")[0])
    return Address(path=unquote(parts.path), user=user, password=password, db=_database(db))


def _network(scheme: str, rest: str) -> Address:
    before, _, path = rest.partition("/")
    if "?" in rest or "#" in rest:
        raise ValueError("parameters are not accepted; ? and # in a password must be written %3F and %23")
    credentials, _, places = before.rpartition("@")
    user, password = _credentials(credentials)
    secure, sentinel = scheme.startswith("rediss"), scheme.endswith("sentinel")
    hosts = tuple(_host(place, SENTINEL_PORT if sentinel else REDIS_PORT) for place in places.split(","))
    service = ""
    if sentinel:
        service, _, path = path.partition("/")
        if not service:
            raise ValueError(
                "the name of the master is missing after the Sentinels, as in redis+sentinel://a,b,c/mymaster"
            )
    elif len(hosts) > 1:
        raise ValueError("more than one host is accepted only with redis+sentinel:// or rediss+sentinel://")
    return Address(hosts, "", unquote(service), secure, user, password, _database(path or "0"))


def _credentials(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    user, colon, password = text.partition(":")
    if not colon:
        raise ValueError("the password must follow a colon, as in :password@")
    return unquote(user) or None, unquote(password)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the host is missing")
    try:
        return parts.hostname, port if parts.port is None else parts.port
    except ValueError:  # it may be a piece of a password
        raise ValueError("the port must be a number up to 65535; / in a password must be written %2F") from None


def _database(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise ValueError("the database must be a number of at most five digits")
    return int(text)
