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

from pushd.backends.sqlite.requests import CommitResult, LogTotals, PublishRequest, Request, TickRequest
from pushd.backends.sqlite.writer import Writer

_GROUP_MESSAGES = 1000
_GROUP_BYTES = 4 << 20
"""Size of one transaction, plus at most the requests of one reactor turn: some 20 ms of work."""
_PAUSE_SECONDS = 0.02
"""Seconds without a request before maintenance is done."""
_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 8.0
_WELL_SECONDS = 10.0
"""Seconds after a failure within which another one doubles the time until the next attempt."""


class Job(NamedTuple):
    """A request, and the Deferred for its result, which only the reactor thread uses."""

    request: Request
    deferred: "Deferred[Any]"


class ResultCallbacks(NamedTuple):
    """Callbacks of the thread, called in the reactor."""

    committed: Callable[[list[Job], CommitResult], None]
    """Called with committed jobs, in their order."""
    tidied: Callable[[LogTotals], None]
    """Called after maintenance, which may have removed messages."""
    failed: Callable[[list[Job], Exception], None]
    """Called with the jobs of a failed commit, perhaps none; further ones are refused for now."""
    refused: Callable[[list[Job]], None]
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
        reports: ResultCallbacks,
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
        self._reports = reports
        self._jobs: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._is_finishing = False
        self._checkpoint_is_due = False

    def submit(self, jobs: list[Job]) -> None:
        """Submit jobs, after all earlier ones."""
        self._jobs.put(jobs)

    def finish(self) -> None:
        """Stop after all earlier jobs."""
        self._jobs.put(None)

    def request_checkpoint(self) -> None:
        """Finish a checkpoint between two commits. May be called from any thread."""
        self._checkpoint_is_due = True

    def run(self) -> None:
        """Commit jobs until `finish`."""
        well_since = time.monotonic()
        retry = _RETRY_SECONDS
        while not self._is_finishing:
            if self._writer is None:
                self._recover(retry)
                well_since = time.monotonic()
            elif not self._serve(self._writer):
                is_often = time.monotonic() - well_since < _WELL_SECONDS
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS) if is_often else _RETRY_SECONDS
        if self._writer is not None:
            with suppress(Exception):  # it was closed as well as could be; what is committed is safe
                self._close(self._writer)
        self._call(self._reports.stopped)

    # While the file can be written

    def _serve(self, writer: Writer) -> bool:
        """Commit jobs until `finish`, or until something fails; return False if it failed."""
        group: list[Job] = []
        try:
            while not self._is_finishing:
                group = self._next_group(writer)
                if group:
                    if any(isinstance(job.request, TickRequest) for job in group):
                        self._check_presence()
                    outcome = writer.commit([job.request for job in group])
                    self._call(self._reports.committed, group, outcome)
                    group = []
                elif not self._is_finishing:
                    writer.tidy()
                    self._call(self._reports.tidied, writer.totals)
                if self._checkpoint_is_due:
                    self._checkpoint_is_due = False
                    writer.checkpoint()
        except Exception as error:  # of SQLite, of the disk, or a bug: nothing of the group is in the file
            self._writer = None
            writer.abandon()
            self._call(self._reports.failed, group, error)
            return False
        return True

    def _next_group(self, writer: Writer) -> list[Job]:
        """Wait for jobs and return those of one transaction; none when there is time for maintenance."""
        group: list[Job] = []
        messages = size = 0
        with suppress(Empty):
            while messages < _GROUP_MESSAGES and size < _GROUP_BYTES:
                jobs = self._jobs.get_nowait() if group else self._first_jobs(writer)
                if jobs is None:
                    self._is_finishing = True
                    break
                group += jobs
                publishes = [job.request for job in jobs if isinstance(job.request, PublishRequest)]
                messages += sum([len(publish.drafts) for publish in publishes])
                size += sum([publish.size for publish in publishes])
        return group

    def _first_jobs(self, writer: Writer) -> list[Job] | None:
        """Wait for jobs; only shortly if there is maintenance to do.

        :raises Empty: when there is time for maintenance.
        """
        try:
            return self._jobs.get(timeout=_PAUSE_SECONDS)
        except Empty:
            if writer.has_chores:
                raise
        return self._jobs.get()

    # While it cannot

    def _recover(self, seconds: float) -> None:
        """Refuse jobs for some seconds, then try to reopen the file."""
        until = time.monotonic() + seconds
        with suppress(Empty):
            while (left := until - time.monotonic()) > 0:
                jobs = self._jobs.get(timeout=left)
                if jobs is None:
                    self._is_finishing = True
                    return
                self._call(self._reports.refused, jobs)
        try:
            self._writer = self._reopen()
        except Exception as error:
            self._call(self._reports.failed, [], error)
        else:
            self._call(self._reports.recovered, self._writer.totals)
