"""The threads that work on one file: one writes, a few read, one runs checkpoints, and one verifies.

They run from when the file is opened until it is closed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.checkpoint_thread import CheckpointThread
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.errors import Damaged
from pushd.backends.sqlite.history_file import close_history, open_history, reopen_history
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_time import LogTime
from pushd.backends.sqlite.reader_threads import QueryResult, ReaderThreads
from pushd.backends.sqlite.tail import Tail
from pushd.backends.sqlite.verifier_thread import VerifierThread
from pushd.backends.sqlite.writer import Writer
from pushd.backends.sqlite.writer_requests import LogTotals
from pushd.backends.sqlite.writer_thread import PendingRequest, ResultCallbacks, WriterThread
from pushd.core.channel_rules import Retentions
from pushd.core.presence import Row
from pushd.core.revocations import Revocation

T = TypeVar("T")

_MAX_LOGGED_DAMAGE = 100
"""The most reports of damage that are logged."""


class OpenedLog(NamedTuple):
    """The state of a log that was opened."""

    totals: LogTotals
    tail: Tail
    unavailable_reason: str | None
    """Why the file cannot be written now; None when it can."""
    revocations: Sequence[Revocation]
    members: Sequence[Row]


class WorkerThreads:
    """Starts and stops the threads, and holds the directory of the file."""

    log = Logger()

    def __init__(
        self,
        directory: str,
        retentions: Retentions,
        reactor: Any,
        wall: Callable[[], float],
        sync: str,
        callbacks: ResultCallbacks,
    ) -> None:
        """See `SqliteBackend`; the callbacks are those of the writer thread."""
        self._directory = Directory(directory)
        self._retentions = retentions
        self._reactor = reactor
        self._wall = wall
        self._fsync = sync
        self._callbacks = callbacks
        self._readers = ReaderThreads(self._directory, retentions, reactor)
        self._time: LogTime
        self._writer_thread: WriterThread
        self._checkpoints: CheckpointThread
        self._verifier: VerifierThread | None = None
        self._checkpoint_warning = ""
        self._known_damage: set[str] = set()

    def open(self) -> OpenedLog:
        """Open the file and start the threads.

        :raises BackendUnusable: when the file cannot be used; the text is a sentence.
        """
        directory = self._directory
        directory.acquire()
        try:
            opened = open_history(directory, self._retentions, self._fsync, self._wall())
            for sentence in opened.warnings:
                self.log.warn("{sentence}", sentence=sentence)
            opened_log = self._load(opened.writer, opened.unavailable_reason)
            self.log.info(
                "Opened history {file}: {messages} messages in {channels} channels",
                file=str(directory.file),
                messages=opened_log.totals.messages,
                channels=opened_log.totals.channels,
            )
        except BaseException:
            directory.release()
            raise
        call = self._reactor.callFromThread
        writer: Writer | None = opened.writer
        if opened.unavailable_reason is not None:
            directory.before_close()
            opened.writer.roll_back()
            writer = None
        self._writer_thread = WriterThread(writer, self._reopen, self._close, directory, call, self._callbacks)
        self._checkpoints = CheckpointThread(
            directory.open_checkpointer(),
            self._writer_thread.request_checkpoint,
            lambda reason: call(self._on_checkpoint_failed, reason),
            directory.check_files,
        )
        self._readers.start()
        self._writer_thread.start()
        self._checkpoints.start()
        if not opened.is_verified:
            self._verifier = VerifierThread(directory.open_reader(), lambda damage: call(self.report_damage, damage))
            self._verifier.start()
        return opened_log

    def stop(self) -> None:
        """Finish pending requests and close the file; `ResultCallbacks.on_stopped` is called afterwards."""
        if self._verifier is not None:
            self._verifier.finish()
        self._checkpoints.finish()
        self._readers.stop()
        self._writer_thread.finish()

    def release(self) -> None:
        """Release the lock on the directory, once the file is closed."""
        self._directory.release()

    def reconfigure(self, retentions: Retentions) -> None:
        """Apply other rules to reads from now on; the writer gets them by a request, or when the file is reopened."""
        self._retentions = retentions
        self._readers.reconfigure(retentions)

    # Requests

    def now(self) -> float:
        """Return the log time, in seconds."""
        return self._time.now()

    def submit(self, pending: list[PendingRequest]) -> None:
        """Submit requests to the writer thread."""
        self._writer_thread.submit(pending)

    def read(self, query: Callable[[HistoryReader], T], now: float) -> "Deferred[QueryResult[T]]":
        """Run a query in a reader thread; see `ReaderThreads`."""
        return self._readers.read(query, now)

    def on_committed(self) -> None:
        """Called when there are new commits, so that the next checkpoint is due."""
        self._checkpoints.request()

    def size(self) -> int:
        """Return the total size of all files, in bytes."""
        return self._directory.size()

    def report_damage(self, damage: Damaged) -> None:
        """Log damage that the start did not find, once each; the next start will verify the whole file."""
        if str(damage) in self._known_damage or len(self._known_damage) >= _MAX_LOGGED_DAMAGE:
            return
        self._known_damage.add(str(damage))
        self.log.error(
            "{file} is damaged: {damage}; restart pushd to recover the intact messages",
            file=str(self._directory.file),
            damage=str(damage),
        )
        with suppress(OSError):
            self._directory.verify_marker.touch()

    def _load(self, writer: Writer, reason: str | None) -> OpenedLog:
        totals = writer.totals
        closed = (name for (name,) in writer.db.execute("SELECT name FROM channel WHERE ended OR deleted"))
        now, wall = writer.db.execute("SELECT now, wall FROM log").fetchone()
        self._time = LogTime(self._reactor.seconds, now, self._wall() - wall)
        tail = Tail(totals.epoch, self._retentions.bounds.age, totals.head, totals.newest_loss, closed)
        return OpenedLog(totals, tail, reason, writer.revocations, writer.members)

    def _close(self, writer: Writer) -> None:
        try:
            self._directory.before_close()
        except BackendUnusable:
            writer.roll_back()
            raise
        close_history(writer)

    def _reopen(self) -> Writer:
        self._directory.check_space()
        return reopen_history(self._directory, self._retentions, self._fsync)

    def _on_checkpoint_failed(self, reason: str) -> None:
        if reason != self._checkpoint_warning:
            self._checkpoint_warning = reason
            self.log.warn("SQLite checkpoint failed; the write-ahead log keeps growing: {reason}", reason=reason)
