"""A child process: its output lines, its standard error, and its exit."""

from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.sources.line_splitter import LineSplitter, OutputLine

_TERM_SECONDS = 2.0
"""Time for the process to exit after SIGTERM, before SIGKILL."""
_KILL_SECONDS = 1.0
"""Time for the process to exit after SIGKILL; a process in uninterruptible sleep does not."""
_PIPE_SECONDS = 2.0
"""Time to read on after the process has exited, if one of its children keeps the pipe open."""
_STDERR_LINE_BYTES = 1000
_STDERR_LINES_PER_SECOND = 50
"""Limits of logged lines of standard error, in length and number: each costs some 50 µs and disk space."""


class ChildProcess(ProcessProtocol):
    """One run of a program.

    Its output is read only while `lines` is awaited. So at most one read (8 KiB) and one incomplete line are buffered,
    and a program that prints faster than its lines can be published is blocked.

    :param source: name of the source, for the log.
    :param name: name of the program, for the log.
    :param limit: maximum length of a line on standard output in bytes.
    """

    log = Logger()
    transport: Any

    def __init__(self, reactor: Any, source: str, name: str, limit: int) -> None:
        self.outcome = ""
        """How the process ended, as a phrase that follows its name; empty while it runs."""
        self._reactor = reactor
        self._splitter = LineSplitter(limit)
        self._lines: list[OutputLine] = []
        self._has_ended = False
        self._is_stopping = False
        self._waiter: Deferred[None] | None = None
        self._exited: Deferred[None] | None = None
        self._pipe_timeout: Any = None
        self._log_fields = {"source": source, "program": name}
        self._stderr_log = StderrLog(reactor, self._log_fields)

    async def lines(self) -> list[OutputLine]:
        """Return the next lines as soon as there are any; an empty list after the last ones."""
        if not (self._lines or self._has_ended):
            self._waiter = Deferred()
            self.transport.resumeProducing()
            await self._waiter
        lines, self._lines = self._lines, []
        return lines

    async def stop(self) -> None:
        """Terminate the process: send SIGTERM, then SIGKILL.

        Its output is read and discarded meanwhile, so that a full pipe does not keep it from exiting.
        """
        self._is_stopping = True
        self.transport.resumeProducing()
        await self._signal("TERM", _TERM_SECONDS)
        await self._signal("KILL", _KILL_SECONDS)
        if not self.outcome:
            self.log.error("{source}: {program} does not exit after SIGKILL: it is abandoned", **self._log_fields)
        self.transport.loseConnection()
        self._cancel_pipe_timeout()

    async def _signal(self, name: str, seconds: float) -> None:
        """Send a signal, unless the process has exited, and wait for its exit."""
        if self.outcome:
            return
        self._exited = Deferred()
        with suppress(ProcessExitedAlready, PermissionError):
            self.transport.signalProcess(name)
        with suppress(TimeoutError):
            await self._exited.addTimeout(seconds, self._reactor)

    # ProcessProtocol

    def outReceived(self, data: bytes) -> None:
        """Called with data from standard output: split it into lines, and pause until they are consumed."""
        if not self._is_stopping:
            self._add_lines(self._splitter.feed(data))

    def errReceived(self, data: bytes) -> None:
        """Called with data from standard error: log it."""
        self._stderr_log.feed(data)

    def processExited(self, reason: Failure) -> None:
        """Called when the process has exited. Its last lines may still be in the pipe."""
        self.outcome = _describe_exit(reason.value)
        self._pipe_timeout = self._reactor.callLater(_PIPE_SECONDS, self._close_abandoned_pipe)
        if self._exited is not None and not self._exited.called:
            self._exited.callback(None)

    def processEnded(self, reason: Failure) -> None:
        """Called when the pipes are closed too."""
        self._cancel_pipe_timeout()
        self._stderr_log.flush()
        self._has_ended = True
        self._add_lines(self._splitter.flush())
        self._wake()

    def _add_lines(self, lines: list[OutputLine]) -> None:
        if lines:
            self._lines += lines
            self.transport.pauseProducing()
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def _cancel_pipe_timeout(self) -> None:
        if self._pipe_timeout is not None and self._pipe_timeout.active():
            self._pipe_timeout.cancel()

    def _close_abandoned_pipe(self) -> None:
        if self._waiter is None:  # the lines have not been consumed yet
            self._pipe_timeout = self._reactor.callLater(_PIPE_SECONDS, self._close_abandoned_pipe)
        else:
            self.transport.loseConnection()


class StderrLog:
    """Logs the standard error of a process line by line, at a limited rate.

    :param log_fields: fields ``source`` and ``program`` of each log event.
    """

    log = Logger()

    def __init__(self, clock: Any, log_fields: dict[str, str]) -> None:
        self._clock = clock
        self._log_fields = log_fields
        self._splitter = LineSplitter(_STDERR_LINE_BYTES)
        self._second = 0
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Log the lines that end in `data`."""
        for line in self._splitter.feed(data):
            self._log(line)

    def flush(self) -> None:
        """Log the last line, and the number of suppressed ones."""
        for line in self._splitter.flush():
            self._log(line)
        self._log_suppressed()

    def _log(self, line: OutputLine) -> None:
        second = int(self._clock.seconds())
        if second != self._second:
            self._log_suppressed()
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= _STDERR_LINES_PER_SECOND:
            self.log.info("{source}: {program}: {line}", line=line.data.decode("utf-8", "replace"), **self._log_fields)

    def _log_suppressed(self) -> None:
        if self._count > _STDERR_LINES_PER_SECOND:
            count = self._count - _STDERR_LINES_PER_SECOND
            self.log.warn(
                "{source}: {program}: {count} more lines suppressed in that second", count=count, **self._log_fields
            )


def _describe_exit(error: Any) -> str:
    """Return how a process ended, as a phrase that follows its name."""
    if error.signal is not None:
        return f"was terminated by signal {error.signal}"
    return f"exited with status {error.exitCode}"
