"""Settings of dialects: the section [dialects] of the file, and a section [dialects.NAME] of each dialect.

The settings of a dialect are rows as in `pushd.config.table`, without an option and an environment variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pushd.config.channels import topic
from pushd.config.fields import read_fields, setting
from pushd.config.mistakes import suggestion
from pushd.config.parsers import choice, count, duration, host, string_list

_PATH = re.compile(r"/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}")


def mount_path(text: str) -> str:
    """Return the path under which a dialect is served."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not a path of one segment (example: /cometd)")
    return text


@dataclass(frozen=True, slots=True)
class BayeuxSettings:
    """Bayeux 1.0, the protocol of CometD and faye."""

    path: tuple[str, ...] = setting(
        ["/cometd", "/bayeux"], string_list(mount_path), "Where it is served.", "paths", at_restart=True
    )
    timeout: float = setting(
        30, duration(minimum=0.1, maximum=300), "How long a `/meta/connect` is held without messages.", "seconds"
    )
    interval: float = setting(
        0, duration(minimum=0, maximum=300), "How long clients wait before the next `/meta/connect`.", "seconds"
    )
    max_interval: float = setting(
        10,
        duration(minimum=1, maximum=86_400),
        "How long a session without a held `/meta/connect` lasts, beyond `interval`.",
        "seconds",
    )
    sessions: int = setting(100_000, count(), "The most sessions at a time.", "sessions")
    sessions_per_address: int = setting(
        10_000, count(), "The most sessions of one address, loopback exempt.", "sessions"
    )
    persistent: tuple[str, ...] = setting(
        [],
        string_list(topic),
        "The channels whose subscribers may be away for longer, without the leading `/`.",
        "channels and patterns",
    )
    persistent_interval: float = setting(
        600,
        duration(minimum=1, maximum=7 * 86_400),
        "How long a session with such a subscription lasts without a `/meta/connect`.",
        "seconds",
    )
    lazy: tuple[str, ...] = setting(
        [],
        string_list(topic),
        "The channels whose messages wait for those of other channels, without the leading `/`.",
        "channels and patterns",
    )
    lazy_time: float = setting(5, duration(minimum=0.1, maximum=300), "How long they wait at most.", "seconds")
    max_sessions_per_browser: int = setting(
        1, count(0), "How many long polls a browser may hold at a time; 0 for any number.", "sessions"
    )
    multi_session_interval: float = setting(
        2,
        duration(minimum=0, maximum=300),
        "How often its other sessions poll instead; with 0 they are disconnected.",
        "seconds",
    )
    activity: str = setting(
        "client",
        choice("client", "client_server"),
        "Whose messages count for `max_inactive`: those of the client, or also those it receives.",
        "client, client_server",
    )
    max_inactive: float = setting(
        0,
        duration(minimum=0, maximum=7 * 86_400),
        "How long a session lasts whose client sends only `/meta/connect`; 0 for any time.",
        "seconds",
    )
    hosts: tuple[str, ...] = setting(
        [], string_list(host), "Other servers that clients may connect to, sent with the handshake.", "host names"
    )


@dataclass(frozen=True, slots=True)
class IframeSettings:
    """Iframe streaming. It has no settings."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the protocols with sessions have in common."""

    sessions: int = setting(100_000, count(), "The most sessions at a time.", "sessions")
    sessions_per_address: int = setting(
        10_000, count(), "The most sessions of one address, loopback exempt.", "sessions"
    )
    timeout: float = setting(
        300,
        duration(minimum=60, maximum=86_400),
        "How long a session lasts without a request.",
        "seconds",
    )


@dataclass(frozen=True, slots=True)
class PushletSettings(SessionSettings):
    """The protocol of Pushlet."""


@dataclass(frozen=True, slots=True)
class Comet4jSettings(SessionSettings):
    """The protocol of comet4j."""

    channels: tuple[str, ...] = setting(
        [], string_list(topic), "What clients receive that name no channels.", "channels and patterns"
    )


_DOMAIN = re.compile(r"\*|(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_PORTS = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?")


def flash_domain(text: str) -> str:
    """Return a domain of a policy file."""
    if not _DOMAIN.fullmatch(text):
        raise ValueError(f"{text!r} is not a domain (examples: games.example, *.games.example)")
    return text


def flash_ports(text: str) -> str:
    """Return a port, or a range of ports, of a policy file."""
    if not _PORTS.fullmatch(text) or not all(0 < int(port) < 65_536 for port in text.split("-")):
        raise ValueError(f"{text!r} is not a port or a range of ports (examples: 9001, 9001-9003)")
    return text


@dataclass(frozen=True, slots=True)
class FlashPolicySettings:
    """Policy files for Flash on the TCP listener, and NUL as line end."""

    domains: tuple[str, ...] = setting(
        [], string_list(flash_domain), "The domains whose movies may connect; `*` means all.", "domains"
    )
    ports: tuple[str, ...] = setting(
        [], string_list(flash_ports), "The ports, or ranges of ports, to which they may connect.", "ports"
    )


SECTION: Final = "dialects"
"""The name of the section of the file."""
KINDS: Final[Mapping[str, type[Any]]] = {
    "bayeux": BayeuxSettings,
    "iframe": IframeSettings,
    "flash-policy": FlashPolicySettings,
    "pushlet": PushletSettings,
    "comet4j": Comet4jSettings,
}
"""The class of the settings of each dialect, by its name."""


def field_of(name: str) -> str:
    """Return the field of `DialectSettings` with the settings of a dialect."""
    return name.replace("-", "_")


def dialect_name(word: str) -> str:
    """Return the name of a dialect."""
    if word not in KINDS:
        raise ValueError(f"{word!r} is not one of {', '.join(KINDS)}{suggestion(word, KINDS)}")
    return word


@dataclass(frozen=True, slots=True)
class DialectSettings:
    """Protocols of other projects that are served besides."""

    enable: tuple[str, ...] = setting(
        [],
        string_list(dialect_name),
        "The protocols of other projects that are served: bayeux, iframe, flash-policy, pushlet, comet4j.",
        "names",
        alias="dialects",
        at_restart=True,
    )
    bayeux: BayeuxSettings = field(default_factory=BayeuxSettings)
    iframe: IframeSettings = field(default_factory=IframeSettings)
    flash_policy: FlashPolicySettings = field(default_factory=FlashPolicySettings)
    pushlet: PushletSettings = field(default_factory=PushletSettings)
    comet4j: Comet4jSettings = field(default_factory=Comet4jSettings)


def read_dialect(name: str, table: object) -> Any:
    """Return the settings of a dialect that the file contains.

    :param table: the value of `dialects.NAME` in the file.
    :raises InvalidSettings: with all mistakes.
    """
    return read_fields((SECTION, name), KINDS[name], table)
