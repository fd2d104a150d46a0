"""The table of settings: each field is a row with its default, its parser and its description.

A setting has four names: `message` under `[limits]` in the file, PUSHD_LIMITS_MESSAGE in the environment,
--limits-message as an option, and limits.message in error messages and in the documentation.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from pushd.config.auth import AuthSettings
from pushd.config.dialects import DialectSettings
from pushd.config.endpoints import endpoints
from pushd.config.fields import setting
from pushd.config.hooks import Hooks
from pushd.config.parsers import (
    LEVELS,
    Parser,
    choice,
    count,
    duration,
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
from pushd.config.presence import PresenceSettings
from pushd.config.sources import Source
from pushd.core.channel_rules import ChannelRules


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """HTTP and WebSocket."""

    listen: tuple[str, ...] = setting(
        ["tcp:8080:interface=127.0.0.1"],
        endpoints,
        "Endpoints of HTTP and WebSocket; an empty list disables them.",
        "addresses or endpoint strings",
        alias="http",
        at_restart=True,
    )
    admin_listen: tuple[str, ...] = setting(
        [],
        endpoints,
        "Endpoints of the addresses for operators, which http.listen then does not serve.",
        "addresses or endpoint strings",
        at_restart=True,
    )
    console: bool = setting(
        True,
        flag,
        "Whether the addresses for operators include the console, /console/.",
        "true or false",
        at_restart=True,
    )
    reuse_port: bool = setting(
        False,
        flag,
        "Let several daemons of this user listen on the same TCP ports; Linux distributes the connections.",
        "true or false",
        at_restart=True,
    )
    allow_origins: tuple[str, ...] = setting(
        [],
        origins,
        "Pages of these origins may use the daemon from a browser; * alone means every origin.",
        "scheme://host[:port]",
    )
    allow_credentials: bool = setting(
        False,
        flag,
        "Whether pages of these origins, named ones only, may read responses to requests with cookies.",
        "true or false",
    )
    hosts: tuple[str, ...] = setting(
        [],
        string_list(host),
        "Hosts that loopback listeners serve besides localhost, *.localhost and IP addresses.",
        "host names",
    )
    pull_hosts: tuple[str, ...] = setting(
        [],
        string_list(host),
        "Hosts that a page of client pull may load next, by its parameter url.",
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
        endpoints,
        "Endpoints of the line protocol; an empty list disables it.",
        "addresses or endpoint strings",
        alias="tcp",
        at_restart=True,
    )
    reuse_port: bool = setting(
        False, flag, "Let several daemons of this user listen on the same TCP ports.", "true or false", at_restart=True
    )


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may connect."""

    open: bool = setting(
        False,
        flag,
        "Allow listeners that other machines can reach without tokens: anyone there may publish and subscribe.",
        "true or false",
        alias="open",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits of clients and of memory."""

    message: int = setting("1MiB", size(), "The largest message.", "bytes")
    batch: int = setting("16MiB", size(), "The largest body of a batch of messages.", "bytes")
    event: int = setting(255, size(), "The longest event type of a message.", "bytes")
    topics: int = setting(1000, count(), "The most topics in one subscription.", "topics")
    subscriptions: int = setting(10_000, count(), "The most topics of one connection.", "topics")
    channels: int = setting(100_000, count(), "The most channels at a time.", "channels", at_restart=True)
    connections: int = setting(
        100_000, count(), "The most connections at a time; the file limit may allow fewer.", "connections"
    )
    connections_per_address: int = setting(
        10_000, count(), "The most connections from one address, loopback exempt.", "connections"
    )
    messages_per_second: int = setting(
        10_000, count(), "The most messages that one address may publish in a second, loopback exempt.", "messages"
    )
    queue_bytes: int = setting("1MiB", size(), "The most bytes in the queue of a slow subscriber.", "bytes")
    queue_messages: int = setting(1000, count(), "The most messages in the queue of a slow subscriber.", "messages")
    waiting_bytes: int = setting(
        "256MiB",
        size(),
        "The most memory of queues, unread answers, incomplete input and topics together.",
        "bytes",
    )
    handshake: float = setting(
        10,
        duration(),
        "The time in which the headers of a request must arrive, and in which a connection without a token must "
        "authenticate.",
        "seconds",
    )
    upload: float = setting(
        300,
        duration(),
        "The time in which the body of a request, a line or a WebSocket message must arrive.",
        "seconds",
    )
    headers: int = setting("16KiB", size(minimum=1024), "The largest headers of a request.", "bytes")


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Retention of messages."""

    messages: int = setting(
        1000, count(minimum=0), "The most messages kept of a channel; 0 keeps none.", "messages", at_restart=True
    )
    bytes: int = setting("4MiB", size(minimum=0), "The most bytes kept of a channel.", "bytes", at_restart=True)
    age: float = setting("24h", duration(), "How long a message is kept.", "seconds", at_restart=True)
    total_bytes: int = setting(
        "256MiB",
        size(minimum=0),
        "The most bytes kept of all channels; the least recently used channel is evicted first.",
        "bytes",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """The backend, which keeps the history."""

    kind: str = setting(
        "auto",
        choice("auto", "memory", "sqlite", "redis"),
        "The backend; auto is sqlite if data_dir is set, redis if url is, else memory.",
        "auto, memory, sqlite, redis",
        at_restart=True,
    )
    data_dir: str = setting(
        "",
        text,
        "The directory of the history on disk; it is created if it does not exist.",
        "path",
        alias="data-dir",
        at_restart=True,
    )
    sync: str = setting(
        "full",
        choice("full", "normal"),
        "What an accepted message survives on disk: full a power cut, normal the end of the process.",
        "full, normal",
        at_restart=True,
    )
    url: str = setting(
        "",
        redis_url,
        "The Redis, or the Sentinels, that connects the nodes.",
        "URL",
        alias="redis",
        at_restart=True,
    )
    prefix: str = setting(
        "pushd:",
        prefix,
        "The prefix of all keys and channels in Redis; nodes with the same prefix act as one.",
        "letters, digits, : . _ / -",
        at_restart=True,
    )
    publish_timeout: float = setting(
        5, duration(minimum=0.1, maximum=60), "The timeout of a call to Redis.", "seconds", at_restart=True
    )
    when_away: str = setting(
        "refuse",
        choice("refuse", "local"),
        "Publishes while Redis is unavailable; local delivers to subscribers of this node and keeps nothing.",
        "refuse, local",
        at_restart=True,
    )
    ca_file: str = setting(
        "",
        text,
        "The trusted certificates for rediss://; if empty, those of the system.",
        "path",
        at_restart=True,
    )


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """Keepalive of connections."""

    sse: float = setting(15, duration(), "The idle time after which server-sent events get a comment.", "seconds")
    stream: float = setting(25, duration(), "The idle time after which other streams get a keepalive.", "seconds")
    ping: float = setting(25, duration(), "The idle time after which a WebSocket gets a ping.", "seconds")
    pong: float = setting(10, duration(), "The time in which a WebSocket must answer a ping.", "seconds")
    # 32767 s is the maximum of TCP_KEEPIDLE in Linux.
    dead_peer: float = setting(
        50,
        duration(minimum=5, maximum=32767),
        "The time after which TCP aborts a connection whose peer does not respond.",
        "seconds",
    )


@dataclass(frozen=True, slots=True)
class StopSettings:
    """Graceful shutdown."""

    patience: float = setting(
        5,
        duration(minimum=0, maximum=86_400),
        "How long a shutdown waits for clients that have not read their queues.",
        "seconds",
    )
    spread: float = setting(
        10,
        duration(minimum=0, maximum=86_400),
        "The time over which the reconnects of server-sent events are distributed.",
        "seconds",
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log."""

    format: str = setting(
        "auto",
        choice("auto", "text", "json"),
        "The format of log lines; auto is json under systemd, else text.",
        "auto, text, json",
        at_restart=True,
    )
    level: str = setting(
        "info",
        choice(*LEVELS),
        "The minimum level of events that are logged.",
        "debug, info, warn, error, critical",
    )
    levels: tuple[str, ...] = setting(
        [],
        string_list(namespace_level),
        "Other minimum levels for loggers, including those whose names begin with the name and a dot.",
        "NAME=LEVEL",
    )
    audit: str = setting(
        "",
        text,
        "The file of the audit log; - is standard output; if empty, there is none.",
        "path",
    )
    access: float = setting(0, share, "The share of HTTP requests in the access log; 0 disables it.", "0 to 1")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked."""

    http: HttpSettings = field(default_factory=HttpSettings)
    tcp: TcpSettings = field(default_factory=TcpSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    dialects: DialectSettings = field(default_factory=DialectSettings)
    backend: BackendSettings = field(default_factory=BackendSettings)
    keepalive: KeepaliveSettings = field(default_factory=KeepaliveSettings)
    stop: StopSettings = field(default_factory=StopSettings)
    log: LogSettings = field(default_factory=LogSettings)
    sources: tuple[Source, ...] = ()
    channels: ChannelRules = field(default_factory=ChannelRules)
    hooks: Hooks = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table, with its names. `default` is written as in the file; `alias` may be empty."""

    section: str
    name: str
    default: Any
    parse: Parser[Any]
    description: str
    unit: str
    alias: str
    at_restart: bool
    """Whether a new value takes effect only at the next start."""

    @property
    def key(self) -> str:
        """The name in the file and in error messages: limits.queue_bytes."""
        return f"{self.section}.{self.name}"

    @property
    def option(self) -> str:
        """The name of the option, without the leading dashes: limits-queue-bytes."""
        return f"{self.section}-{self.name}".replace("_", "-")

    @property
    def variable(self) -> str:
        """The name in the environment: PUSHD_LIMITS_QUEUE_BYTES."""
        return f"PUSHD_{self.section}_{self.name}".upper()

    @property
    def repeatable(self) -> bool:
        """Whether the value is a list, to which each option adds."""
        return isinstance(self.default, list)

    @property
    def is_flag(self) -> bool:
        """Whether the value is true or false."""
        return isinstance(self.default, bool)


SECTIONS: dict[str, Any] = {section.name: section.type for section in fields(Config) if is_dataclass(section.type)}
SETTINGS = tuple(
    Setting(section, row.name, **row.metadata)
    for section, kind in SECTIONS.items()
    for row in fields(kind)
    if row.metadata
)
