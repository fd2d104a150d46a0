"""Settings of sources: the keys of a section [source.NAME] of the file, and the service that is built from it.

The fields of a class are settings as in `pushd.config.table`; `kind` selects the class. They have no option and no
environment variable, because the names of sources are up to the operator.
"""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from twisted.application.service import IService

from pushd.config.fields import read_fields, required, setting
from pushd.config.mistakes import InvalidSettings, KeyPath, Mistake, Mistakes, parse_value, shown
from pushd.config.parsers import choice, count, duration, flag, nonblank_string, string_list
from pushd.core.errors import Refusal
from pushd.core.message import draft
from pushd.core.names import PRESENCE, check_channel
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.sources.command import CommandRunner
from pushd.sources.publisher import SourcePublisher
from pushd.sources.supervision import SourceRunner, SupervisedSource
from pushd.sources.system import SystemRunner
from pushd.sources.threads import run_in_thread
from pushd.sources.watch import WatchRunner, inotify_factory
from pushd.sources.words import WordsRunner

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXT = "Every subscriber receives these words one after the other until the last one ends the stream."


def channel_name(value: object) -> str:
    """Return the name of a channel. A source may publish on the daemon's own channels, whose names begin with $."""
    try:
        name = check_channel(nonblank_string(value))
    except Refusal as refusal:
        raise ValueError(f"{shown(value)} is not a channel name: {refusal}") from None
    if name.startswith(PRESENCE):
        raise ValueError(f"{shown(value)} is the channel of the events of members, to which only the daemon publishes")
    return name


def media_type(value: object) -> str | None:
    """Return a content type; None for an empty string."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a content type")
    try:
        if value:
            draft("-", b"0", value)
        return value or None
    except Refusal as refusal:
        raise ValueError(f"{shown(value)} is not accepted: {refusal}") from None


def argv(value: object) -> tuple[str, ...]:
    """Return a program and its arguments."""
    arguments = value if isinstance(value, list) else []
    if not arguments or not all(isinstance(word, str) and "\0" not in word for word in arguments) or not arguments[0]:
        raise ValueError(f'{shown(value)} is not a program and its arguments (example: ["vmstat", "-n", "1"])')
    return tuple(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(ABC):
    """The settings that all sources have."""

    kind: ClassVar[str]
    name: str
    channel: str = required(channel_name, "The channel to publish to.", "channel")

    def service(self, hub: Hub, counters: Counters, reactor: Any, message_limit: int) -> IService:
        """Return the service that publishes to the hub while it runs.

        :param message_limit: the most bytes of a message.
        """
        publisher = SourcePublisher(hub, counters, f"source {self.name}", self.channel, message_limit)
        return SupervisedSource(publisher.source, self.runner(publisher, reactor), reactor)

    @abstractmethod
    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """Return the runner of that service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSource(Source):
    """Load, memory, disk space and temperature of this machine, as JSON objects at an interval."""

    kind = "system"
    channel: str = setting("$sys/performance", channel_name, "The channel to publish to.", "channel")
    interval: float = setting("1s", duration(minimum=0.1), "The time between two messages.", "seconds")
    disks: tuple[str, ...] = setting(["/"], string_list(nonblank_string), "A path on each disk to report.", "paths")

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return SystemRunner(
            publisher, reactor, self.interval, self.disks, time.time, lambda call: run_in_thread(reactor, call)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSource(Source):
    """The lines that a program writes to its standard output."""

    kind = "command"
    run: tuple[str, ...] = required(argv, "The program and its arguments; there is no shell.", "list of words")
    restart: str = setting(
        "always", choice("always", "never"), "Whether to run the program again after it exits.", "always, never"
    )
    content_type: str | None = setting(
        "", media_type, "The content type of each line; if empty, pushd detects it.", "type/subtype"
    )

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return CommandRunner(publisher, reactor, self.run, self.restart == "always", self.content_type, os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSource(Source):
    """Files that are created, changed and deleted in a folder."""

    kind = "watch"
    folder: str = required(nonblank_string, "The folder to watch.", "path")
    recursive: bool = setting(False, flag, "Whether to watch its subfolders too.", "true or false")
    poll: bool = setting(
        False,
        flag,
        "Whether to scan the folder at each interval instead of using inotify, "
        "which does not report changes that other machines make on a network file system.",
        "true or false",
    )
    interval: float = setting(
        "2s",
        duration(minimum=0.1),
        "The time between two scans without inotify, or while the folder does not exist.",
        "seconds",
    )
    settle: float = setting(
        "100ms",
        duration(minimum=0.01),
        "The time for which changes are collected before they are published.",
        "seconds",
    )
    files: int = setting(
        10_000, count(), "The most files and folders in it; if there are more, none is watched.", "files"
    )

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return WatchRunner(
            publisher,
            reactor,
            self.folder,
            self.recursive,
            self.interval,
            self.settle,
            self.files,
            lambda call: run_in_thread(reactor, call),
            None if self.poll else inotify_factory(reactor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsSource(Source):
    """A finite stream: the words of a text, one per message; the last one ends the channel."""

    kind = "words"
    text: str = setting(_TEXT, nonblank_string, "The text, which is split at white space.", "text")
    interval: float = setting("1s", duration(minimum=0.01), "The time between two words.", "seconds")
    repeat: bool = setting(True, flag, "Whether to start again after the last word.", "true or false")
    pause: float = setting("10s", duration(minimum=0.01), "The time between the last word and a new start.", "seconds")

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return WordsRunner(publisher, reactor, self.text, self.interval, self.pause if self.repeat else None)


KINDS: Mapping[str, type[Source]] = {
    source.kind: source for source in (SystemSource, CommandSource, WatchSource, WordsSource)
}


def read_sources(tables: object) -> tuple[Source, ...]:
    """Return the sources of a configuration file.

    :param tables: the value of `source` in the file: a table by the name of each source.
    :raises InvalidSettings: with all mistakes.
    """
    mistakes = Mistakes()
    if not isinstance(tables, dict):
        mistakes.add(("source",), "must be a table of sections, written [source.NAME]")
        tables = {}
    sources = []
    for name, table in tables.items():
        with mistakes.collected():
            sources.append(_read_source(name, table))
    mistakes.check()
    return tuple(sources)


def _read_source(name: str, table: object) -> Source:
    path = ("source", name)
    mistakes = Mistakes()
    if not _NAME.fullmatch(name):
        mistakes.add(path, "name must have 1 to 64 letters, digits, - and _")
    with mistakes.collected():
        source: Source = read_fields(path, _kind_of(path, table), table, "kind", name=name)
    mistakes.check()
    return source


def _kind_of(path: KeyPath, table: object) -> type[Source]:
    """Return the class that the key `kind` of a table names.

    :raises InvalidSettings: when it names none.
    """
    if not isinstance(table, dict):
        return Source  # the error about the table follows
    if "kind" not in table:
        raise InvalidSettings([Mistake((*path, "kind"), f"is missing (must be one of {', '.join(KINDS)})")])
    return KINDS[parse_value((*path, "kind"), choice(*KINDS), table["kind"])]
