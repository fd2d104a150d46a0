"""The writer thread: it commits all waiting requests in one transaction (group commit).

A commit takes as long as the disk needs, however many messages it has. So the more clients publish at a time, the more
messages share a commit. If a commit fails, its requests are refused, and so are later ones until the file can be
written again. Every few seconds the thread tries to reopen it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.commit_mark import Position
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.hook_rows import MAX_TAKEN
from pushd.backends.sqlite.writer import Writer
from pushd.backends.sqlite.writer_requests import (
    CommitResult,
    DeadLetterRequest,
    EventRequest,
    LogTotals,
    PresenceRequest,
    PublishRequest,
    Request,
)

_BATCH_MESSAGES = 1000
_BATCH_BYTES = 4 << 20
"""At this size no further requests are added to a transaction: some 20 ms of work."""
_PAUSE_SECONDS = 0.02
"""Seconds without a request before maintenance starts."""
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 8.0
_HEALTHY_SECONDS = 10.0
"""A failure within these seconds of a recovery doubles the retry interval; a later one resets it."""


class PendingRequest(NamedTuple):
    """A request and the Deferred of its result, which only the reactor thread may use."""

    request: Request
    deferred: "Deferred[Any]"


class ResultCallbacks(NamedTuple):
    """The callbacks of the writer thread, called in the reactor thread."""

    on_committed: Callable[[list[PendingRequest], CommitResult], None]
    """Called with committed requests, in their order."""
    on_maintained: Callable[[LogTotals], None]
    """Called after maintenance, which may have removed messages."""
    on_failed: Callable[[list[PendingRequest], Exception], None]
    """Called with the requests of a failed commit, or with none when maintenance or reopening the file fails.
    Further requests are refused until `on_recovered`."""
    on_refused: Callable[[list[PendingRequest]], None]
    """Called with requests that were submitted while the file could not be written."""
    on_recovered: Callable[[LogTotals], None]
    """Called when requests are accepted again."""
    on_stopped: Callable[[], None]
    """Called when the thread has closed the file."""


class WriterThread(Thread):
    """Runs from `start` until it has processed all requests that were submitted before `finish`."""

    def __init__(
        self,
        writer: Writer | None,
        reopen: Callable[[], Writer],
        close: Callable[[Writer], None],
        directory: Directory,
        call: Callable[..., None],
        callbacks: ResultCallbacks,
    ) -> None:
        """
        :param writer: None when the file cannot be written now.
        :param reopen: returns a new writer, or raises any exception.
        :param close: closes the file.
        :param directory: the directory of the file.
        :param call: calls a function in the reactor thread.
        """
        # A daemon thread: if the process ends without `finish`, the effect is that of a crash.
        super().__init__(name="pushd-history", daemon=True)
        self._writer = writer
        self._reopen = reopen
        self._close = close
        self._directory = directory
        self._call = call
        self._callbacks = callbacks
        self._pending: SimpleQueue[list[PendingRequest] | None] = SimpleQueue()
        self._is_finishing = False
        self._checkpoint_is_due = False

    def submit(self, pending: list[PendingRequest]) -> None:
        """Submit requests, to be processed after all earlier ones."""
        self._pending.put(pending)

    def finish(self) -> None:
        """Stop after all requests that were submitted. Does not wait for it."""
        self._pending.put(None)

    def request_checkpoint(self) -> None:
        """Finish a checkpoint after the current commit. May be called from any thread."""
        self._checkpoint_is_due = True

    def run(self) -> None:
        """Process requests until `finish`."""
        healthy_since = time.monotonic()
        retry = _RETRY_SECONDS
        while not self._is_finishing:
            if self._writer is None:
                self._recover(retry)
                healthy_since = time.monotonic()
            elif not self._process_requests(self._writer):
                is_often = time.monotonic() - healthy_since < _HEALTHY_SECONDS
                retry = min(2 * retry, _MAX_RETRY_SECONDS) if is_often else _RETRY_SECONDS
        if self._writer is not None:
            with suppress(Exception):  # committed messages are safe even if the file was not closed cleanly
                self._close(self._writer)
        self._call(self._callbacks.on_stopped)

    # While the file can be written

    def _process_requests(self, writer: Writer) -> bool:
        """Commit requests until `finish`; return False on the first failure."""
        batch: list[PendingRequest] = []
        try:
            while not self._is_finishing:
                batch = self._next_batch(writer)
                if batch:
                    result = self._commit(writer, [each.request for each in batch])
                    self._call(self._callbacks.on_committed, batch, result)
                    batch = []
                elif not self._is_finishing:
                    writer.maintain()
                    self._call(self._callbacks.on_maintained, writer.totals)
                if self._checkpoint_is_due:
                    self._checkpoint_is_due = False
                    writer.checkpoint()
        except Exception as error:  # of SQLite, of the disk, or a bug: the transaction is rolled back
            self._writer = None
            with suppress(BackendUnusable):
                self._directory.before_close()
            writer.roll_back()
            self._call(self._callbacks.on_failed, batch, error)
            return False
        return True

    def _commit(self, writer: Writer, requests: list[Request]) -> CommitResult:
        """Commit requests so that the next process finds them."""
        self._directory.check_files()
        result = writer.commit(requests)
        self._directory.check_files()
        totals = result.totals
        self._directory.mark.write(Position(totals.epoch, totals.head, writer.committed_at))
        return result

    def _next_batch(self, writer: Writer) -> list[PendingRequest]:
        """Wait for requests, and return those of one transaction; none when it is time for maintenance."""
        batch: list[PendingRequest] = []
        messages = size = 0
        with suppress(Empty):
            while messages < _BATCH_MESSAGES and size < _BATCH_BYTES:
                pending = self._pending.get_nowait() if batch else self._first_requests(writer)
                if pending is None:
                    self._is_finishing = True
                    break
                batch += pending
                for each in pending:
                    if isinstance(each.request, PublishRequest):
                        messages += len(each.request.drafts)
                        size += each.request.size
                    elif isinstance(each.request, PresenceRequest):
                        messages += len(each.request.drafts) + len(each.request.rows)
                    elif isinstance(each.request, EventRequest):
                        messages += len(each.request.events)
                        size += sum(len(event.body) for event in each.request.events)
                    elif isinstance(each.request, DeadLetterRequest):
                        messages += MAX_TAKEN
        return batch

    def _first_requests(self, writer: Writer) -> list[PendingRequest] | None:
        """Wait for requests and return them; None at the end.

        :raises Empty: when there was no request for `_PAUSE_SECONDS` and there is maintenance to do.
        """
        try:
            return self._pending.get(timeout=_PAUSE_SECONDS)
        except Empty:
            if writer.has_maintenance:
                raise
        return self._pending.get()

    # While it cannot be written

    def _recover(self, seconds: float) -> None:
        """Refuse requests for some seconds, then try to reopen the file."""
        until = time.monotonic() + seconds
        with suppress(Empty):
            while (left := until - time.monotonic()) > 0:
                pending = self._pending.get(timeout=left)
                if pending is None:
                    self._is_finishing = True
                    return
                self._call(self._callbacks.on_refused, pending)
        try:
            self._writer = self._reopen()
        except Exception as error:
            self._call(self._callbacks.on_failed, [], error)
        else:
            self._call(self._callbacks.on_recovered, self._writer.totals)
