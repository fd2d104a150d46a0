"""The table of settings: each field is a row with its default, its parser and its description.

A setting has four names: `message` under `[limits]` in the file, PUSHD_LIMITS_MESSAGE in the environment,
--limits-message as an option, and limits.message in sentences and documents.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from pushd.config.fields import setting, suggestion
from pushd.config.parsers import (
    LEVELS,
    Parser,
    choice,
    count,
    duration,
    endpoint,
    flag,
    host,
    namespace_level,
    network,
    origins,
    prefix,
    redis_url,
    share,
    size,
    string_list,
    text,
)
from pushd.config.sources import Source, read_sources
from pushd.net.listeners import Reach, check_endpoint, exposed, inherited_name, is_local, reach_of


class ConfigError(ValueError):
    """The configuration is wrong. The text is one sentence that names the place and the setting."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """HTTP and WebSocket."""

    listen: tuple[str, ...] = setting(
        ["tcp:8080:interface=127.0.0.1"],
        string_list(endpoint),
        "Endpoints for HTTP and WebSocket; none disables them.",
        "endpoint strings",
        alias="http",
        at_restart=True,
    )
    reuse_port: bool = setting(
        False,
        flag,
        "Whether several daemons of this user may listen on the same TCP ports; Linux distributes the connections.",
        "true or false",
        at_restart=True,
    )
    allow_origins: tuple[str, ...] = setting(
        [],
        origins,
        "Origins whose web pages may use the daemon; * alone means every origin.",
        "scheme://host[:port]",
    )
    hosts: tuple[str, ...] = setting(
        [],
        string_list(host),
        "Hosts that loopback listeners serve in addition to localhost, *.localhost and IP addresses.",
        "host names",
    )
    pull_hosts: tuple[str, ...] = setting(
        [],
        string_list(host),
        "Hosts to which /pull may redirect by its parameter url.",
        "host names",
    )
    trusted_proxies: tuple[str, ...] = setting(
        [],
        string_list(network),
        "Proxies whose X-Forwarded-For is trusted.",
        "addresses or networks",
    )


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """The line protocol over TCP."""

    listen: tuple[str, ...] = setting(
        ["tcp:8081:interface=127.0.0.1"],
        string_list(endpoint),
        "Endpoints for the line protocol; none disables it.",
        "endpoint strings",
        alias="tcp",
        at_restart=True,
    )
    reuse_port: bool = setting(
        False,
        flag,
        "Whether several daemons of this user may listen on the same TCP ports.",
        "true or false",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Access."""

    open: bool = setting(
        False,
        flag,
        "Whether listeners may be open to other machines: anyone there may publish and subscribe.",
        "true or false",
        alias="open",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits for clients."""

    message: int = setting("1MiB", size(), "The maximum size of a message.", "bytes")
    batch: int = setting("16MiB", size(), "The maximum size of a batch of messages.", "bytes")
    event: int = setting(255, size(), "The maximum length of an event type.", "bytes")
    topics: int = setting(1000, count(), "The maximum number of topics in one subscription.", "topics")
    subscriptions: int = setting(10_000, count(), "The maximum number of topics of one connection.", "topics")
    channels: int = setting(100_000, count(), "The maximum number of channels.", "channels", at_restart=True)
    connections: int = setting(
        100_000, count(), "The maximum number of connections; the limit of open files may allow fewer.", "connections"
    )
    connections_per_address: int = setting(
        10_000, count(), "The maximum number of connections from one address, except loopback.", "connections"
    )
    queue_bytes: int = setting("1MiB", size(), "The maximum size of the queue of a slow subscriber.", "bytes")
    queue_messages: int = setting(
        1000, count(), "The maximum number of messages in the queue of a slow subscriber.", "messages"
    )
    waiting_bytes: int = setting(
        "256MiB",
        size(),
        "The maximum size of all queues and incomplete inputs together.",
        "bytes",
    )
    handshake: float = setting(
        10, duration(), "The deadline for the headers of a request, and for a WebSocket handshake.", "seconds"
    )
    upload: float = setting(300, duration(), "The deadline for the body of a request.", "seconds")
    headers: int = setting("16KiB", size(minimum=1024), "The maximum size of the headers of a request.", "bytes")


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How much history is kept."""

    messages: int = setting(
        1000,
        count(minimum=0),
        "The maximum number of messages kept per channel; 0 keeps none.",
        "messages",
        at_restart=True,
    )
    bytes: int = setting(
        "4MiB", size(minimum=0), "The maximum size of the messages kept per channel.", "bytes", at_restart=True
    )
    age: float = setting("24h", duration(), "The time for which a message is kept.", "seconds", at_restart=True)
    total_bytes: int = setting(
        "256MiB",
        size(minimum=0),
        "The maximum size of the whole history; the oldest channels are evicted first.",
        "bytes",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Where the history is kept."""

    kind: str = setting(
        "auto",
        choice("auto", "memory", "sqlite", "redis"),
        "Where the history is kept; auto means sqlite if data_dir is set, redis if url is set, else memory.",
        "auto, memory, sqlite, redis",
        at_restart=True,
    )
    data_dir: str = setting(
        "",
        text,
        "The directory of the history on disk, which is created if necessary.",
        "path",
        alias="data-dir",
        at_restart=True,
    )
    sync: str = setting(
        "full",
        choice("full", "normal"),
        "What an accepted message on disk survives: full, a power failure; normal, a crash of the process.",
        "full, normal",
        at_restart=True,
    )
    url: str = setting(
        "",
        redis_url,
        "The Redis, or the Sentinels, that the nodes share.",
        "URL",
        alias="redis",
        at_restart=True,
    )
    prefix: str = setting(
        "pushd:",
        prefix,
        "The prefix of all keys and channels in Redis; nodes with the same prefix share their history.",
        "letters, digits, : . _ / -",
        at_restart=True,
    )
    publish_timeout: float = setting(
        5, duration(minimum=0.1, maximum=60), "The timeout of requests to Redis.", "seconds", at_restart=True
    )
    when_away: str = setting(
        "refuse",
        choice("refuse", "local"),
        "What happens to publishes while Redis is unavailable; local delivers them to this node's subscribers only.",
        "refuse, local",
        at_restart=True,
    )
    ca_file: str = setting(
        "",
        text,
        "A file of trusted CA certificates for rediss://; empty means those of the system.",
        "path",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """Keepalives and the detection of dead peers."""

    sse: float = setting(
        15, duration(), "The idle time after which a comment is sent on server-sent events.", "seconds"
    )
    stream: float = setting(
        25, duration(), "The idle time after which a keepalive is sent on other streams.", "seconds"
    )
    ping: float = setting(25, duration(), "The interval between WebSocket pings.", "seconds")
    pong: float = setting(10, duration(), "The timeout of the answer to a WebSocket ping.", "seconds")
    # 32767 s is the longest that Linux takes for TCP_KEEPIDLE.
    dead_peer: float = setting(
        50,
        duration(minimum=5, maximum=32767),
        "The time after which TCP closes the connection of a dead peer.",
        "seconds",
    )


@dataclass(frozen=True, slots=True)
class StopSettings:
    """Shutdown."""

    patience: float = setting(
        5,
        duration(minimum=0, maximum=86_400),
        "How long a shutdown waits until queued messages are delivered.",
        "seconds",
    )
    spread: float = setting(
        10,
        duration(minimum=0, maximum=86_400),
        "The period over which the reconnects of server-sent events are spread after a shutdown.",
        "seconds",
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log."""

    format: str = setting(
        "auto",
        choice("auto", "text", "json"),
        "The format of the log: text for people, json for programs; auto means json under systemd, else text.",
        "auto, text, json",
        at_restart=True,
    )
    level: str = setting(
        "info",
        choice(*LEVELS),
        "The lowest level that is logged.",
        "debug, info, warn, error, critical",
    )
    levels: tuple[str, ...] = setting(
        [],
        string_list(namespace_level),
        "Levels for single loggers and all loggers below them.",
        "NAME=LEVEL",
    )
    access: float = setting(0, share, "The share of HTTP requests in the access log; 0 logs none.", "0 to 1")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, validated."""

    http: HttpSettings = field(default_factory=HttpSettings)
    tcp: TcpSettings = field(default_factory=TcpSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    backend: BackendSettings = field(default_factory=BackendSettings)
    keepalive: KeepaliveSettings = field(default_factory=KeepaliveSettings)
    stop: StopSettings = field(default_factory=StopSettings)
    log: LogSettings = field(default_factory=LogSettings)
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table, with its names. `default` is written as in the file; `alias` may be empty."""

    section: str
    name: str
    default: Any
    parse: Parser[Any]
    sentence: str
    unit: str
    alias: str
    at_restart: bool
    """Whether a new value takes effect only after a restart."""

    @property
    def key(self) -> str:
        """The name in the file and in sentences: limits.queue_bytes."""
        return f"{self.section}.{self.name}"

    @property
    def option(self) -> str:
        """The name of the option, without dashes in front: limits-queue-bytes."""
        return f"{self.section}-{self.name}".replace("_", "-")

    @property
    def variable(self) -> str:
        """The name in the environment: PUSHD_LIMITS_QUEUE_BYTES."""
        return f"PUSHD_{self.section}_{self.name}".upper()

    @property
    def repeatable(self) -> bool:
        """Whether the value is a list, to which each occurrence of the option adds."""
        return isinstance(self.default, list)

    @property
    def is_flag(self) -> bool:
        """Whether the value is true or false."""
        return isinstance(self.default, bool)


_SECTIONS: dict[str, Any] = {section.name: section.type for section in fields(Config) if is_dataclass(section.type)}
SETTINGS = tuple(
    Setting(section, row.name, **row.metadata) for section, kind in _SECTIONS.items() for row in fields(kind)
)
_BY_KEY = {row.key: row for row in SETTINGS}
_BY_VARIABLE = {row.variable: row for row in SETTINGS}

_Given = tuple[str, Setting, object]


def load(file: Path | None, environ: Mapping[str, str], options: Mapping[str, Sequence[str]]) -> Config:
    """Read the configuration; options override the environment, which overrides the file, which overrides the defaults.

    `environ` may hold other variables than PUSHD_…; `options` maps keys such as "limits.message" to the texts
    given, in their order: a list takes all of them, any other setting the last. Raises ConfigError for the
    first thing that is wrong.
    """
    chosen: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    held = _read(file) if file else {}
    tables = held.pop("source", {})
    places = (_of_file(file, held) if file else (), _of_environment(environ), _of_options(options))
    for where, row, raw in (given for place in places for given in place):
        try:
            chosen[row.section][row.name] = row.parse(raw)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
    sections = {section: kind(**chosen[section]) for section, kind in _SECTIONS.items()}
    return Config(**sections, sources=_sources(file, tables))


def check_listeners(config: Config, reactor: Any) -> None:
    """Raise ConfigError for an endpoint string that is invalid or needs `access.open`."""
    for key, endpoints in (("http.listen", config.http.listen), ("tcp.listen", config.tcp.listen)):
        for endpoint_text in endpoints:
            try:
                check_endpoint(endpoint_text, reactor)
            except ValueError as error:
                raise ConfigError(f"{key}: {error}") from error
            if not (config.access.open or is_local(endpoint_text)):
                raise ConfigError(
                    f"{key}: {endpoint_text} is open to other machines; add interface=127.0.0.1, "
                    "or start with --open to let anyone publish and subscribe"
                )
    if not (config.http.listen or config.tcp.listen):
        raise ConfigError("http.listen and tcp.listen must not both be empty: at least one listener is required")


def check_inherited_sockets(config: Config, reactor: Any) -> None:
    """Raise ConfigError for a socket that systemd has handed over and that needs `access.open`. Only at the start:
    later the descriptor may be another one.
    """
    for key, endpoints in (("http.listen", config.http.listen), ("tcp.listen", config.tcp.listen)):
        for endpoint_text in endpoints:
            try:
                name = inherited_name(endpoint_text, reactor)
            except OSError as error:
                raise ConfigError(f"{key}: {endpoint_text} is not a socket: {error.strerror}") from error
            if name is not None and reach_of(name) is Reach.OTHERS and not config.access.open:
                raise ConfigError(f"{key}: {exposed(endpoint_text, name)}")


def check_backend(config: Config) -> None:
    """Raise ConfigError if the kind of backend contradicts its other settings."""
    backend = config.backend
    if backend.kind == "sqlite" and not backend.data_dir:
        raise ConfigError("backend.kind: sqlite requires a directory; use --data-dir DIR")
    if backend.kind == "redis" and not backend.url:
        raise ConfigError("backend.kind: redis requires a URL; use --redis redis://HOST")
    if backend.kind not in ("auto", "sqlite") and backend.data_dir:
        raise ConfigError(f"backend.data_dir: must not be set for the backend {backend.kind}")
    if backend.kind not in ("auto", "redis") and backend.url:
        raise ConfigError(f"backend.url: must not be set for the backend {backend.kind}")
    if backend.data_dir and backend.url:
        raise ConfigError(
            "backend.data_dir and backend.url must not both be set: the history is kept either on disk or in Redis"
        )


def _of_file(file: Path, held: Mapping[str, object]) -> Iterator[_Given]:
    for section, rows in held.items():
        if section not in _SECTIONS:
            raise ConfigError(
                f"{file}: unknown section [{section}]{suggestion(section, (*_SECTIONS, 'source'), '[{}]')}"
            )
        if not isinstance(rows, dict):
            raise ConfigError(f"{file}: {section} must be a section, written [{section}]")
        for name, raw in rows.items():
            key = f"{section}.{name}"
            if key not in _BY_KEY:
                raise ConfigError(f"{file}: unknown key {key}{suggestion(key, _BY_KEY)}")
            yield f"{file}: {key}", _BY_KEY[key], raw


def _sources(file: Path | None, tables: object) -> tuple[Source, ...]:
    try:
        return read_sources(tables)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error


def _of_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable in sorted(name for name in environ if name.startswith("PUSHD_")):
        if variable not in _BY_VARIABLE:
            raise ConfigError(f"environment: unknown variable {variable}{suggestion(variable, _BY_VARIABLE)}")
        yield f"environment {variable}", _BY_VARIABLE[variable], environ[variable]


def _of_options(options: Mapping[str, Sequence[str]]) -> Iterator[_Given]:
    for key, texts in options.items():
        row = _BY_KEY[key]
        yield f"option --{row.option}", row, " ".join(texts) if row.repeatable else texts[-1]
