"""The tables of sources: what a section [source.NAME] of the file may say, and the service that it becomes.

The fields of a class are rows as in `pushd.config`, beside `kind`. They have no option and no variable: a source has a
name that its owner chooses, so there is no list of them.
"""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from twisted.application.service import IService

from pushd.core.errors import Refusal
from pushd.core.message import draft
from pushd.core.names import check_channel
from pushd.hub import Hub
from pushd.metrics import Counters
from pushd.settings import meant, required, setting
from pushd.sources.command import CommandRunner
from pushd.sources.publisher import SourcePublisher
from pushd.sources.supervision import SourceRunner, SupervisedSource
from pushd.sources.system import SystemRunner
from pushd.sources.threads import run_in_thread
from pushd.sources.watch import WatchRunner, inotify_factory
from pushd.sources.words import WordsRunner
from pushd.values import choice, count, duration, flag, listing

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXT = "Every subscriber hears these words one after the other until the last one ends the stream."


def channel_name(value: object) -> str:
    """Read the name of a channel; a source may use the daemon's own, which begin with $."""
    try:
        return check_channel(words(value))
    except Refusal as refusal:
        raise ValueError(f"{value!r} can not be: {refusal}") from None


def words(value: object) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{value!r} is not a text")
    return value


def media_type(value: object) -> str | None:
    """Read a media type; an empty text is none."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a content type")
    try:
        return draft("-", b"0", value).content_type if value else None
    except Refusal as refusal:
        raise ValueError(f"{value!r} can not be: {refusal}") from None


def argv(value: object) -> tuple[str, ...]:
    """Read a program and its arguments."""
    listed = value if isinstance(value, list) else []
    if not listed or not all(isinstance(word, str) and "\0" not in word for word in listed) or not listed[0]:
        raise ValueError(f'{value!r} is not a program and its arguments (example: ["vmstat", "-n", "1"])')
    return tuple(listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(ABC):
    """What all sources have."""

    kind: ClassVar[str]
    name: str
    channel: str = required(channel_name, "Where it publishes.", "channel")

    def service(self, hub: Hub, counters: Counters, reactor: Any, message_limit: int) -> IService:
        """Build what publishes to the hub from its start to its stop, messages of at most that many bytes."""
        publisher = SourcePublisher(hub, counters, f"source {self.name}", self.channel, message_limit)
        return SupervisedSource(publisher.source, self.runner(publisher, reactor), reactor)

    @abstractmethod
    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """Build what that service runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSource(Source):
    """How busy, full and hot this machine is: one JSON object after the other."""

    kind = "system"
    channel: str = setting("$sys/performance", channel_name, "Where it publishes.", "channel")
    interval: float = setting("1s", duration(minimum=0.1), "The time between two messages.", "seconds")
    disks: tuple[str, ...] = setting(["/"], listing(words), "A path on each disk that counts.", "paths")

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return SystemRunner(
            publisher, reactor, self.interval, self.disks, time.time, lambda call: run_in_thread(reactor, call)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSource(Source):
    """Each line that a program prints."""

    kind = "command"
    run: tuple[str, ...] = required(argv, "The program and its arguments; there is no shell.", "list of words")
    restart: str = setting(
        "always", choice("always", "never"), "Whether it is run again when it ends.", "always, never"
    )
    content_type: str | None = setting(
        "", media_type, "The content type of each line; empty lets pushd find out.", "type/subtype"
    )

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return CommandRunner(publisher, reactor, self.run, self.restart == "always", self.content_type, os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSource(Source):
    """What is created, changed and deleted in a folder."""

    kind = "watch"
    folder: str = required(words, "The folder.", "path")
    recursive: bool = setting(False, flag, "Whether the folders in it count too.", "true or false")
    poll: bool = setting(
        False,
        flag,
        "Look at each interval and do not rely on inotify, which knows nothing of what other machines do to a folder.",
        "true or false",
    )
    interval: float = setting(
        "2s",
        duration(minimum=0.1),
        "The time between two looks without inotify, or where the folder is not there.",
        "seconds",
    )
    settle: float = setting(
        "100ms", duration(minimum=0.01), "The time in which changes gather before they are told.", "seconds"
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
    """A finite stream: a text, word by word, whose last word ends the channel."""

    kind = "words"
    text: str = setting(_TEXT, words, "What it says, split at white space.", "text")
    interval: float = setting("1s", duration(minimum=0.01), "The time from word to word.", "seconds")
    repeat: bool = setting(True, flag, "Whether it begins anew.", "true or false")
    pause: float = setting("10s", duration(minimum=0.01), "The time from the end to the new beginning.", "seconds")

    def runner(self, publisher: SourcePublisher, reactor: Any) -> SourceRunner:
        """See `Source`."""
        return WordsRunner(publisher, reactor, self.text, self.interval, self.pause if self.repeat else None)


KINDS: Mapping[str, type[Source]] = {
    source.kind: source for source in (SystemSource, CommandSource, WatchSource, WordsSource)
}


def read_sources(tables: object) -> tuple[Source, ...]:
    """Read what a file holds under `source`. Raises ValueError with a sentence that begins with the key."""
    if not isinstance(tables, dict):
        raise ValueError("source holds the sections of sources, which are written [source.NAME]")
    return tuple(_read_source(name, table) for name, table in tables.items())


def _read_source(name: str, table: object) -> Source:
    key = f"source.{name}"
    if not isinstance(table, dict):
        raise ValueError(f"{key}: a source is a section and is written [{key}]")
    if not _NAME.fullmatch(name):
        raise ValueError(f"source.{name!r}: a name is made of at most 64 letters, digits, - and _")
    if "kind" not in table:
        raise ValueError(f"{key}.kind: is missing (one of {', '.join(KINDS)})")
    source = KINDS[_parsed(f"{key}.kind", choice(*KINDS), table["kind"])]
    return source(name=name, **dict(_values(key, source, table)))


def _values(key: str, source: type[Source], table: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    rows = {row.name: row for row in fields(source) if row.metadata}
    for name in table.keys() - rows.keys() - {"kind"}:
        raise ValueError(f"unknown key {key}.{name}{meant(name, (*rows, 'kind'), key + '.{}')}")
    for name, row in rows.items():
        if name in table:
            yield name, _parsed(f"{key}.{name}", row.metadata["parse"], table[name])
        elif row.default is MISSING:
            raise ValueError(f"{key}.{name}: is missing")


def _parsed(key: str, parse: Any, raw: object) -> Any:
    try:
        return parse(raw)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
