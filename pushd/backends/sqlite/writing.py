"""The thread that writes: it takes all requests that wait and commits them together.

So the more publish at a time, the fewer commits there are for each message, and one takes as long as the disk does,
however many wait. Where a commit fails, everything in it is refused, and so is all that comes, until the file can be
written again; it is tried every few seconds.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from pushd.backends.sqlite.requests import Held, Outcome, Publish, Request, Tick
from pushd.backends.sqlite.writer import Writer

_GROUP_MESSAGES = 1000
_GROUP_BYTES = 4 << 20
"""Size of one transaction, plus at most the requests of one reactor turn: some 20 ms of work."""
_PAUSE_SECONDS = 0.02
"""Without anything to write, before something is tidied up."""
_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 8.0
_WELL_SECONDS = 10.0
"""What fails again within this time is tried less often."""


class Job(NamedTuple):
    """A request, and the deferred for its result. The thread does not touch the deferred."""

    request: Request
    waiting: "Deferred[Any]"


class Reports(NamedTuple):
    """Callbacks of the thread, called in the reactor."""

    committed: Callable[[list[Job], Outcome], None]
    """These were done, in their order."""
    tidied: Callable[[Held], None]
    """Old messages may have been removed."""
    failed: Callable[[list[Job], Exception], None]
    """These were not done, perhaps none, and nothing else will be for now."""
    refused: Callable[[list[Job]], None]
    """These came while nothing could be done."""
    recovered: Callable[[Held], None]
    """Requests are accepted again."""
    stopped: Callable[[], None]
    """All is done, and the file is closed."""


class WritingThread(Thread):
    """The thread, which works from `start` until it has done all that was there at `finish`."""

    def __init__(
        self,
        writer: Writer | None,
        reopen: Callable[[], Writer],
        close: Callable[[Writer], None],
        look: Callable[[], None],
        call: Callable[..., None],
        reports: Reports,
    ) -> None:
        """
        :param writer: None if the file cannot be written now.
        :param reopen: returns a new writer, or raises any exception.
        :param look: checks that the file is still there, and raises if it is not.
        :param call: calls in the reactor.
        """
        # A daemon thread: the end of the process may end it at once, as a crash would.
        super().__init__(name="pushd-history", daemon=True)
        self._writer = writer
        self._reopen = reopen
        self._close = close
        self._look = look
        self._call = call
        self._reports = reports
        self._jobs: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._is_finishing = False
        self._checkpoint_is_due = False

    def submit(self, jobs: list[Job]) -> None:
        """Do these, after all that came before."""
        self._jobs.put(jobs)

    def finish(self) -> None:
        """Stop, having done all that came before."""
        self._jobs.put(None)

    def ask_for_checkpoint(self) -> None:
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

    # While all is well

    def _serve(self, writer: Writer) -> bool:
        """Work until the end, or until something fails; return False if it failed."""
        group: list[Job] = []
        try:
            while not self._is_finishing:
                group = self._next_group(writer)
                if group:
                    if any(isinstance(job.request, Tick) for job in group):
                        self._look()
                    outcome = writer.commit([job.request for job in group])
                    self._call(self._reports.committed, group, outcome)
                    group = []
                elif not self._is_finishing:
                    writer.tidy()
                    self._call(self._reports.tidied, writer.held)
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
        """Wait for jobs and take as many as go together; none where there is time for something else."""
        group: list[Job] = []
        messages = size = 0
        with suppress(Empty):
            while messages < _GROUP_MESSAGES and size < _GROUP_BYTES:
                jobs = self._jobs.get_nowait() if group else self._first_jobs(writer)
                if jobs is None:
                    self._is_finishing = True
                    break
                group += jobs
                publishes = [job.request for job in jobs if isinstance(job.request, Publish)]
                messages += sum([len(publish.drafts) for publish in publishes])
                size += sum([publish.size for publish in publishes])
        return group

    def _first_jobs(self, writer: Writer) -> list[Job] | None:
        """Wait for jobs. Where there is something to tidy up, not for long.

        :raises Empty: there is time for that.
        """
        try:
            return self._jobs.get(timeout=_PAUSE_SECONDS)
        except Empty:
            if writer.has_chores:
                raise
        return self._jobs.get()

    # While it is not

    def _recover(self, seconds: float) -> None:
        """Refuse what comes for so long, and then try again."""
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
            self._call(self._reports.recovered, self._writer.held)
