"""An endless stream of whatever a program prints: each line on its standard output is a message."""

import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from pushd.sources.child_process import Program
from pushd.sources.line_splitter import Line
from pushd.sources.publisher import Publisher, Saying
from pushd.sources.supervision import Backoff


class Command:
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
        publisher: Publisher,
        reactor: Any,
        argv: Sequence[str],
        restart: bool,
        content_type: str | None,
        environ: Mapping[str, str],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._publisher = publisher
        self._reactor = reactor
        self._argv = argv
        self._restart = restart
        self._content_type = content_type
        self._environ = {name: value for name, value in environ.items() if not name.startswith("PUSHD_")}
        self._chance = chance

    async def run(self) -> None:
        """Run the program until it is not to be run again, or until cancelled; then it is gone, killed if need be."""
        backoff = Backoff(self._reactor, self._chance)
        while True:
            backoff.begin()
            how = await self._run_once()
            if not self._restart:
                self._warn("{program} {how}", how=how)
                return
            delay = backoff.ended()
            self._warn("{program} {how}, again in {delay:.1f} s", how=how, delay=delay)
            await deferLater(self._reactor, delay)

    async def _run_once(self) -> str:
        """Publish all that one run prints; tell how it ended, in words to follow the program's name."""
        found = shutil.which(self._argv[0], path=self._environ.get("PATH"))
        if found is None:
            return "is not a program that can be run"
        program = Program(self._reactor, self._publisher.source, self._argv[0], self._publisher.limit)
        self._spawn(program, found)
        try:
            is_cut = False
            while lines := await program.lines():
                is_cut = self._note_cut(lines, is_cut)
                await self._publisher.publish([Saying(line.data, self._content_type) for line in lines])
        finally:
            await program.stop()
        return program.how

    def _spawn(self, program: Program, path: str) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._reactor.spawnProcess(program, path, self._argv, self._environ, childFDs={0: nothing, 1: "r", 2: "r"})
        finally:
            os.close(nothing)

    def _note_cut(self, lines: Sequence[Line], was_cut: bool) -> bool:
        """Count the lines that were cut off, and log the first of a run."""
        count = sum(line.is_cut for line in lines)
        self._publisher.count_cut(count)
        if count and not was_cut:
            limit = self._publisher.limit
            self._warn("{program} prints lines longer than {limit} bytes, which are cut off", limit=limit)
        return was_cut or count > 0

    def _warn(self, sentence: str, **fields: object) -> None:
        self.log.warn("{source}: " + sentence, source=self._publisher.source, program=self._argv[0], **fields)
