"""The threads that work on one file, from when it is opened until it is closed."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.backends.sqlite.answers import Answers
from pushd.backends.sqlite.checkpoints import CheckpointThread
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.logtime import LogTime
from pushd.backends.sqlite.opening import close_history, open_history, reopen_history
from pushd.backends.sqlite.reading import Readers
from pushd.backends.sqlite.requests import Held
from pushd.backends.sqlite.tail import Tail
from pushd.backends.sqlite.watching import WatchingThread
from pushd.backends.sqlite.writer import Writer
from pushd.backends.sqlite.writing import Job, Reports, WritingThread
from pushd.core.history import Bounds

T = TypeVar("T")

_MOST_DAMAGE = 100
"""Findings that are logged one by one."""


class Ready(NamedTuple):
    """The state of a file when it is opened."""

    held: Held
    tail: Tail
    ailment: str | None
    """Why nothing can be written now."""


class Crew:
    """The threads, and the directory that is theirs."""

    log = Logger()

    def __init__(
        self, directory: str, bounds: Bounds, reactor: Any, wall: Callable[[], float], sync: str, reports: Reports
    ) -> None:
        """See `SqliteBackend`. `reports`: callbacks for results."""
        self._directory = Directory(directory)
        self._bounds = bounds
        self._reactor = reactor
        self._wall = wall
        self._sync = sync
        self._reports = reports
        self._readers = Readers(self._directory, bounds.age, reactor)
        self._time: LogTime
        self._writing: WritingThread
        self._checkpoints: CheckpointThread
        self._watching: WatchingThread | None = None
        self._complaint = ""
        self._known_damage: set[str] = set()

    def open(self) -> Ready:
        """Open the file and begin to work.

        :raises BackendUnusable: the file is unusable; the text is a sentence.
        """
        directory = self._directory
        directory.acquire()
        try:
            opened = open_history(directory, self._bounds, self._sync, self._wall())
            for sentence in opened.news:
                self.log.warn("{sentence}", sentence=sentence)
            ready = self._read_in(opened.writer, opened.ailment)
            self.log.info(
                "Opened history {file}: {messages} messages in {channels} channels",
                file=str(directory.file),
                messages=ready.held.messages,
                channels=ready.held.channels,
            )
        except BaseException:
            directory.release()
            raise
        call = self._reactor.callFromThread
        writer: Writer | None = opened.writer
        if opened.ailment is not None:
            opened.writer.abandon()
            writer = None
        self._writing = WritingThread(
            writer, self._reopen, close_history, directory.check_presence, call, self._reports
        )
        self._checkpoints = CheckpointThread(
            directory.tend(), self._writing.ask_for_checkpoint, lambda why: call(self._complain, why)
        )
        self._readers.start()
        self._writing.start()
        self._checkpoints.start()
        if not opened.is_verified:
            self._watching = WatchingThread(directory.read(), lambda damage: call(self.found, damage))
            self._watching.start()
        return ready

    def finish(self) -> None:
        """Finish pending work, close the file, and report `stopped`."""
        if self._watching is not None:
            self._watching.finish()
        self._checkpoints.finish()
        self._readers.stop()
        self._writing.finish()

    def release(self) -> None:
        """Release the lock on the directory, once all is closed."""
        self._directory.release()

    # Work

    def now(self) -> float:
        """Return the log time, in seconds."""
        return self._time.now()

    def submit(self, jobs: list[Job]) -> None:
        """Submit jobs to the writing thread."""
        self._writing.submit(jobs)

    def ask(
        self, question: Callable[[Answers], T], now: float, head: int
    ) -> "Deferred[tuple[T, list[tuple[int, str]]]]":
        """Answer a question in a reading thread; see `Readers`."""
        return self._readers.ask(question, now, head)

    def committed(self) -> None:
        """Called when there are new commits."""
        self._checkpoints.want()

    def size(self) -> int:
        """Return the total size of all files, in bytes."""
        return self._directory.size()

    def found(self, damage: Damaged) -> None:
        """Log damage that the start did not find, once, and make the next start verify all of the file."""
        if str(damage) in self._known_damage or len(self._known_damage) >= _MOST_DAMAGE:
            return
        self._known_damage.add(str(damage))
        self.log.error(
            "{file} is damaged: {damage}; restart pushd to recover the intact messages",
            file=str(self._directory.file),
            damage=str(damage),
        )
        with suppress(OSError):
            self._directory.suspect.touch()

    def _read_in(self, writer: Writer, ailment: str | None) -> Ready:
        held = writer.held
        closed = (name for (name,) in writer.db.execute("SELECT name FROM channel WHERE ended OR deleted"))
        now, wall = writer.db.execute("SELECT now, wall FROM log").fetchone()
        self._time = LogTime(self._reactor.seconds, now, self._wall() - wall)
        return Ready(held, Tail(held.epoch, self._bounds.age, held.head, held.newest_loss, closed), ailment)

    def _reopen(self) -> Writer:
        self._directory.try_space()
        return reopen_history(self._directory, self._bounds, self._sync)

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            self.log.warn("SQLite checkpoint failed, the write-ahead log keeps growing: {why}", why=why)
