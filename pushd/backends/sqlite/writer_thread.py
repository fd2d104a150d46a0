"""The writer thread: it commits all waiting requests in one transaction.

The more clients publish at a time, the more messages share a commit, which takes as long as the disk needs, however
many they are. If a commit fails, its requests are refused, and so are all that follow until the file can be written
again, which is tried every few seconds.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from pushd.backends.sqlite.writer import Writer
from pushd.backends.sqlite.writer_requests import CommitResult, LogTotals, PublishRequest, Request, TickRequest

_BATCH_MESSAGES = 1000
_BATCH_BYTES = 4 << 20
"""Size of one transaction, plus at most the requests of one reactor turn: some 20 ms of work."""
_PAUSE_SECONDS = 0.02
"""Seconds without a request before maintenance is done."""
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 8.0
_HEALTHY_SECONDS = 10.0
"""Seconds after a failure within which another one doubles the time until the next attempt."""


class PendingRequest(NamedTuple):
    """A request, and the Deferred for its result, which only the reactor thread uses."""

    request: Request
    deferred: "Deferred[Any]"


class ResultCallbacks(NamedTuple):
    """Callbacks of the thread, called in the reactor."""

    committed: Callable[[list[PendingRequest], CommitResult], None]
    """Called with committed jobs, in their order."""
    on_maintained: Callable[[LogTotals], None]
    """Called after maintenance, which may have removed messages."""
    failed: Callable[[list[PendingRequest], Exception], None]
    """Called with the jobs of a failed commit, perhaps none; further ones are refused for now."""
    refused: Callable[[list[PendingRequest]], None]
    """Called with jobs that were submitted while nothing could be written."""
    recovered: Callable[[LogTotals], None]
    """Called when requests are accepted again."""
    stopped: Callable[[], None]
    """Called when the file is closed."""


class WriterThread(Thread):
    """The thread. It runs from `start` until it has executed all jobs submitted before `finish`."""

    def __init__(
        self,
        writer: Writer | None,
        reopen: Callable[[], Writer],
        close: Callable[[Writer], None],
        check_presence: Callable[[], None],
        call: Callable[..., None],
        callbacks: ResultCallbacks,
    ) -> None:
        """
        :param writer: None when the file cannot be written now.
        :param reopen: returns a new writer, or raises any exception.
        :param look: checks that the file is still there, and raises if it is not.
        :param call: calls a function in the reactor thread.
        """
        # A daemon thread: the end of the process may end it at once, as a crash would.
        super().__init__(name="pushd-history", daemon=True)
        self._writer = writer
        self._reopen = reopen
        self._close = close
        self._check_presence = check_presence
        self._call = call
        self._callbacks = callbacks
        self._pending: SimpleQueue[list[PendingRequest] | None] = SimpleQueue()
        self._is_finishing = False
        self._checkpoint_is_due = False

    def submit(self, pending: list[PendingRequest]) -> None:
        """Submit jobs, after all earlier ones."""
        self._pending.put(pending)

    def finish(self) -> None:
        """Stop after all earlier jobs."""
        self._pending.put(None)

    def request_checkpoint(self) -> None:
        """Finish a checkpoint between two commits. May be called from any thread."""
        self._checkpoint_is_due = True

    def run(self) -> None:
        """Commit jobs until `finish`."""
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
            with suppress(Exception):  # it was closed as well as could be; what is committed is safe
                self._close(self._writer)
        self._call(self._callbacks.stopped)

    # While the file can be written

    def _process_requests(self, writer: Writer) -> bool:
        """Commit jobs until `finish`, or until something fails; return False if it failed."""
        batch: list[PendingRequest] = []
        try:
            while not self._is_finishing:
                batch = self._next_batch(writer)
                if batch:
                    if any(isinstance(job.request, TickRequest) for job in batch):
                        self._check_presence()
                    result = writer.commit([job.request for job in batch])
                    self._call(self._callbacks.committed, batch, result)
                    batch = []
                elif not self._is_finishing:
                    writer.maintain()
                    self._call(self._callbacks.on_maintained, writer.totals)
                if self._checkpoint_is_due:
                    self._checkpoint_is_due = False
                    writer.checkpoint()
        except Exception as error:  # of SQLite, of the disk, or a bug: nothing of the group is in the file
            self._writer = None
            writer.roll_back()
            self._call(self._callbacks.failed, batch, error)
            return False
        return True

    def _next_batch(self, writer: Writer) -> list[PendingRequest]:
        """Wait for jobs and return those of one transaction; none when there is time for maintenance."""
        batch: list[PendingRequest] = []
        messages = size = 0
        with suppress(Empty):
            while messages < _BATCH_MESSAGES and size < _BATCH_BYTES:
                pending = self._pending.get_nowait() if batch else self._first_requests(writer)
                if pending is None:
                    self._is_finishing = True
                    break
                batch += pending
                publishes = [job.request for job in pending if isinstance(job.request, PublishRequest)]
                messages += sum([len(publish.drafts) for publish in publishes])
                size += sum([publish.size for publish in publishes])
        return batch

    def _first_requests(self, writer: Writer) -> list[PendingRequest] | None:
        """Wait for jobs; only shortly if there is maintenance to do.

        :raises Empty: when there is time for maintenance.
        """
        try:
            return self._pending.get(timeout=_PAUSE_SECONDS)
        except Empty:
            if writer.has_maintenance:
                raise
        return self._pending.get()

    # While it cannot

    def _recover(self, seconds: float) -> None:
        """Refuse jobs for some seconds, then try to reopen the file."""
        until = time.monotonic() + seconds
        with suppress(Empty):
            while (left := until - time.monotonic()) > 0:
                pending = self._pending.get(timeout=left)
                if pending is None:
                    self._is_finishing = True
                    return
                self._call(self._callbacks.refused, pending)
        try:
            self._writer = self._reopen()
        except Exception as error:
            self._call(self._callbacks.failed, [], error)
        else:
            self._call(self._callbacks.recovered, self._writer.totals)
