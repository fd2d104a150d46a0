"""Settings of hooks: the sections [hook.NAME] of the file.

The fields of the class are settings as in `pushd.config.table`. They have no option and no environment variable,
because the names are up to the operator.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from pushd.backends.hook_outbox import HookBounds
from pushd.config.channels import topic
from pushd.config.fields import read_fields, required, setting
from pushd.config.key_files import read_key_files
from pushd.config.mistakes import Mistakes, suggestion
from pushd.config.parsers import MIB, count, flag, nonblank_string, size, string_list
from pushd.config.server_urls import server_url
from pushd.hooks.endpoint import EVENT_TYPES, EventType, HookEndpoint
from pushd.net.address_rules import is_address, problem_of
from pushd.wire.webhook_signature import MAX_SECRETS, parse_secret

MAX_HOOKS: Final = 32
MAX_CHANNELS: Final = 1000
"""The most entries of `channels` of a hook."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_url = server_url("https://app.example.org/pushd/hooks")


def hook_url(value: object) -> str:
    """Return the URL of a receiver.

    :raises ValueError: also when its host is an address to which nothing is sent.
    """
    url = _url(nonblank_string(value))
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_address(host) and (problem := problem_of(host, is_plain=parts.scheme == "http")):
        raise ValueError(f"{url!r} is refused: {problem}")
    return url


def event_type(word: str) -> EventType:
    """Return the type of an event."""
    if word not in EVENT_TYPES:
        raise ValueError(f"{word!r} is not one of {', '.join(EVENT_TYPES)}{suggestion(word, EVENT_TYPES)}")
    return word


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """A hook: the application gets a request about what happens."""

    url: str = required(hook_url, "Where events are sent.", "URL")
    events: tuple[str, ...] = required(string_list(event_type), "The events that are sent.", "list of events")
    channels: tuple[str, ...] = setting(
        ["**"],
        string_list(topic),
        "The channels whose events are sent. Wildcards match no name that begins with `$`.",
        "list of channels and patterns",
    )
    secret_files: tuple[str, ...] = required(
        string_list(nonblank_string),
        "Files of the secret that signs requests, in the form `whsec_…`; two while it is replaced.",
        "paths",
    )
    content: bool = setting(
        False, flag, "Whether the events of publishes have the data of the message.", "true or false"
    )
    backlog: int = setting(
        100_000, count(1000), "How many events may wait; beyond it, the oldest become dead letters.", "events"
    )
    backlog_bytes: int = setting("64MiB", size(MIB), "How many bytes of events may wait.", "bytes")

    def build(self, name: str) -> HookEndpoint:
        """Return the hook, after reading its files.

        :raises InvalidSettings: with each that cannot be read, or whose secret is unusable.
        """
        path = ("hook", name, "secret_files")
        keys = read_key_files(path, self.secret_files, lambda content, _: parse_secret(content))
        bounds = HookBounds(self.backlog, self.backlog_bytes)
        events = frozenset(cast(EventType, each) for each in self.events)
        return HookEndpoint(name, self.url, keys, events, self.channels, self.content, bounds)


Hooks = tuple[tuple[str, HookSettings], ...]
"""The name and the settings of each hook."""


def read_hooks(tables: object) -> Hooks:
    """Return the hooks of a configuration file.

    :param tables: the value of `hook` in the file.
    :raises InvalidSettings: with all mistakes.
    """
    mistakes = Mistakes()
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        mistakes.add(("hook",), "must have a section for each hook, written [hook.NAME]")
        tables = {}
    if len(tables) > MAX_HOOKS:
        mistakes.add(("hook",), f"must not have more than {MAX_HOOKS} sections (got {len(tables)})")
    hooks = []
    for name, table in tables.items():
        with mistakes.collected():
            hooks.append((name, _read(name, table)))
    mistakes.check()
    return tuple(hooks)


def build_hooks(hooks: Hooks) -> Sequence[HookEndpoint]:
    """Return hooks, after reading their files.

    :raises InvalidSettings: with each that cannot be read, or whose secret is unusable.
    """
    mistakes = Mistakes()
    endpoints = []
    for name, settings in hooks:
        with mistakes.collected():
            endpoints.append(settings.build(name))
    mistakes.check()
    return endpoints


def _read(name: str, table: object) -> HookSettings:
    path = ("hook", name)
    mistakes = Mistakes()
    if not _NAME.fullmatch(name):
        mistakes.add(path, "name of a hook must have 1 to 64 letters, digits, - and _")
    with mistakes.collected():
        settings = read_fields(path, HookSettings, table)
        if not 1 <= len(settings.secret_files) <= MAX_SECRETS:
            mistakes.add((*path, "secret_files"), "must name one or two files")
        if not settings.events:
            mistakes.add((*path, "events"), "must name at least one event")
        if not 1 <= len(settings.channels) <= MAX_CHANNELS:
            mistakes.add((*path, "channels"), f"must have 1 to {MAX_CHANNELS} entries")
    mistakes.check()
    return settings
