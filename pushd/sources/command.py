"""An endless stream of whatever a program prints: each line on its standard output is a message."""

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
    """Runs a program, and again when it ends.

    :param argv: the program, found as a shell finds it, and its arguments. There is no shell between.
    :param restart: whether it is run again, however it ended.
    :param content_type: that of each message; None finds it out.
    :param environ: the environment of the program, without the daemon's own settings: they may be secret.
    :param chance: see `Backoff`.
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
        """Run the program until it is not to be run again, or until cancelled; then it is gone, killed if need be."""
        backoff = Backoff(self._reactor, self._jitter)
        while True:
            backoff.attempt_started()
            outcome = await self._run_once()
            if not self._restart:
                self._warn("{program} {outcome}", outcome=outcome)
                return
            delay = backoff.attempt_ended()
            self._warn("{program} {outcome}, again in {delay:.1f} s", outcome=outcome, delay=delay)
            await deferLater(self._reactor, delay)

    async def _run_once(self) -> str:
        """Publish all that one run prints; tell how it ended, in words to follow the program's name."""
        path = shutil.which(self._argv[0], path=self._environ.get("PATH"))
        if path is None:
            return "is not a program that can be run"
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
        """Count the lines that were cut off, and log the first of a run."""
        count = sum(line.is_truncated for line in lines)
        self._publisher.count_truncated(count)
        if count and not was_truncated:
            limit = self._publisher.limit
            self._warn("{program} prints lines longer than {limit} bytes, which are cut off", limit=limit)
        return was_truncated or count > 0

    def _warn(self, sentence: str, **fields: object) -> None:
        self.log.warn("{source}: " + sentence, source=self._publisher.source, program=self._argv[0], **fields)
