"""A program that runs: its lines, its complaints, and its end."""

from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.sources.line_splitter import Line, LineCutter

_TERM_SECONDS = 2.0
"""What a program has to end by itself before it is killed."""
_KILL_SECONDS = 1.0
"""What the kernel has to end it, which it does not while the program waits for a device."""
_LAST_LINES_SECONDS = 2.0
"""How long is still read once a program has ended, if another one that it left behind keeps the pipe open."""
_COMPLAINT_BYTES = 1000
_COMPLAINTS = 50
"""How much of a line on standard error is logged, and how many lines a second: each takes some 50 µs, and room."""


class Program(ProcessProtocol):
    """One run of a program.

    It is read only while somebody waits for its lines. So no more than one read of them (8 KiB) and one unfinished
    line are held, and a program that prints faster than its lines can be published has to wait.

    :param source: the name of the source, for the log.
    :param name: that of the program, for the log.
    :param limit: bytes of a line on standard output.
    """

    log = Logger()
    transport: Any

    def __init__(self, reactor: Any, source: str, name: str, limit: int) -> None:
        self.how = ""
        """How it ended, in words to follow its name; empty while it runs."""
        self._reactor = reactor
        self._out = LineCutter(limit)
        self._held: list[Line] = []
        self._is_over = False
        self._is_stopping = False
        self._wanted: Deferred[None] | None = None
        self._exit: Deferred[None] | None = None
        self._giving_up: Any = None
        self._names = {"source": source, "program": name}
        self._complaints = Complaints(reactor, self._names)

    async def lines(self) -> list[Line]:
        """Give the next lines as soon as there are any; none once it has ended and all were given."""
        if not (self._held or self._is_over):
            self._wanted = Deferred()
            self.transport.resumeProducing()
            await self._wanted
        held, self._held = self._held, []
        return held

    async def stop(self) -> None:
        """See to it that the program is gone: tell it to end, and kill it where it does not.

        What it still prints is read and forgotten, so that a full pipe does not keep it from ending.
        """
        self._is_stopping = True
        self.transport.resumeProducing()
        await self._signal("TERM", _TERM_SECONDS)
        await self._signal("KILL", _KILL_SECONDS)
        if not self.how:
            self.log.error("{source}: {program} can not be killed", **self._names)
        self.transport.loseConnection()
        self._cancel_giving_up()

    async def _signal(self, name: str, seconds: float) -> None:
        """Send a signal, unless the program is gone, and wait for its end."""
        if self.how:
            return
        self._exit = Deferred()
        with suppress(ProcessExitedAlready, PermissionError):
            self.transport.signalProcess(name)
        with suppress(TimeoutError):
            await self._exit.addTimeout(seconds, self._reactor)

    # What Twisted calls

    def outReceived(self, data: bytes) -> None:
        """Cut into lines, and read no further until they are taken."""
        if not self._is_stopping:
            self._hold(self._out.feed(data))

    def errReceived(self, data: bytes) -> None:
        """Log."""
        self._complaints.feed(data)

    def processExited(self, reason: Failure) -> None:
        """Know that the program is gone. Its last lines may still be in the pipe."""
        self.how = _words(reason.value)
        self._giving_up = self._reactor.callLater(_LAST_LINES_SECONDS, self._give_up_pipe)
        if self._exit is not None and not self._exit.called:
            self._exit.callback(None)

    def processEnded(self, reason: Failure) -> None:
        """Know that the pipes are closed too."""
        self._cancel_giving_up()
        self._complaints.end()
        self._is_over = True
        self._hold(self._out.rest())
        self._wake()

    def _hold(self, lines: list[Line]) -> None:
        if lines:
            self._held += lines
            self.transport.pauseProducing()
            self._wake()

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)

    def _cancel_giving_up(self) -> None:
        if self._giving_up is not None and self._giving_up.active():
            self._giving_up.cancel()

    def _give_up_pipe(self) -> None:
        if self._wanted is None:  # nobody had the time to read
            self._giving_up = self._reactor.callLater(_LAST_LINES_SECONDS, self._give_up_pipe)
        else:
            self.transport.loseConnection()


class Complaints:
    """What a program prints on standard error: lines for the log, so many a second.

    :param names: fields for the log.
    """

    log = Logger()

    def __init__(self, clock: Any, names: dict[str, str]) -> None:
        self._clock = clock
        self._names = names
        self._cutter = LineCutter(_COMPLAINT_BYTES)
        self._second = 0
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Log the lines that end in `data`."""
        for line in self._cutter.feed(data):
            self._log(line)

    def end(self) -> None:
        """Log what is left."""
        for line in self._cutter.rest():
            self._log(line)
        self._tell_unlogged()

    def _log(self, line: Line) -> None:
        second = int(self._clock.seconds())
        if second != self._second:
            self._tell_unlogged()
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= _COMPLAINTS:
            self.log.info("{source}: {program}: {line}", line=line.data.decode("utf-8", "replace"), **self._names)

    def _tell_unlogged(self) -> None:
        if self._count > _COMPLAINTS:
            count = self._count - _COMPLAINTS
            self.log.warn("{source}: {program}: {count} more lines in that second", count=count, **self._names)


def _words(end: Any) -> str:
    """Say how a program ended."""
    if end.signal is not None:
        return f"was ended by signal {end.signal}"
    return f"exited with status {end.exitCode}"
