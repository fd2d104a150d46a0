"""The source `command`: each line that a program prints to standard output is a message."""

import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from pushd.sources.child_process import ChildProcess
from pushd.sources.line_splitter import OutputLine
from pushd.sources.publisher import SourceMessage, SourcePublisher
from pushd.sources.supervision import Backoff


class CommandRunner:
    """Runs a program, and restarts it when it exits.

    :param argv: the program, looked up in PATH, and its arguments. No shell is involved.
    :param restart: whether to run it again, whatever its exit status.
    :param content_type: content type of each message; None to detect it from the data.
    :param environ: environment of the program; the daemon's own variables (``PUSHD_*``) are removed, as they may be
        secret.
    :param jitter: see `Backoff`.
    """

    log = Logger()

    def __init__(
        self,
        publisher: SourcePublisher,
        reactor: Any,
        argv: Sequence[str],
        restart: bool,
        content_type: str | None,
        environ: Mapping[str, str],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._publisher = publisher
        self._reactor = reactor
        self._argv = argv
        self._restart = restart
        self._content_type = content_type
        self._environ = {name: value for name, value in environ.items() if not name.startswith("PUSHD_")}
        self._jitter = jitter

    async def run(self) -> None:
        """Run the program until cancelled, or once without `restart`; finally terminate or kill the process."""
        backoff = Backoff(self._reactor, self._jitter)
        while True:
            backoff.attempt_started()
            outcome = await self._run_once()
            if not self._restart:
                self._warn("{program} {outcome}", outcome=outcome)
                return
            delay = backoff.attempt_ended()
            self._warn("{program} {outcome}, restarting in {delay:.1f} s", outcome=outcome, delay=delay)
            await deferLater(self._reactor, delay)

    async def _run_once(self) -> str:
        """Run the program once and publish its output; return how it ended, as a phrase that follows its name."""
        path = shutil.which(self._argv[0], path=self._environ.get("PATH"))
        if path is None:
            return "cannot be found or executed"
        process = ChildProcess(self._reactor, self._publisher.source, self._argv[0], self._publisher.limit)
        self._spawn(process, path)
        try:
            is_truncated = False
            while lines := await process.lines():
                is_truncated = self._count_truncated(lines, is_truncated)
                await self._publisher.publish([SourceMessage(line.data, self._content_type) for line in lines])
        finally:
            await process.stop()
        return process.outcome

    def _spawn(self, process: ChildProcess, path: str) -> None:
        devnull = os.open(os.devnull, os.O_RDONLY)
        try:
            self._reactor.spawnProcess(process, path, self._argv, self._environ, childFDs={0: devnull, 1: "r", 2: "r"})
        finally:
            os.close(devnull)

    def _count_truncated(self, lines: Sequence[OutputLine], was_truncated: bool) -> bool:
        """Count the truncated lines, and log the first occurrence in a run; return whether there was one so far."""
        count = sum(line.is_truncated for line in lines)
        self._publisher.count_truncated(count)
        if count and not was_truncated:
            limit = self._publisher.limit
            self._warn("{program} prints lines longer than {limit} bytes: they are truncated", limit=limit)
        return was_truncated or count > 0

    def _warn(self, sentence: str, **fields: object) -> None:
        self.log.warn("{source}: " + sentence, source=self._publisher.source, program=self._argv[0], **fields)
