"""Reading the configuration again while the daemon runs, on SIGHUP.

What can change does, without a connection closed or a message forgotten. What can not waits for a restart, and the log
says so. Where anything is wrong, nothing changes.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger, LogLevel

from pushd.config.table import SETTINGS, Config, ConfigError
from pushd.logs import Threshold
from pushd.net.supervisor import Supervisor


class Reconfigurable(Protocol):
    """What a reload reaches: the daemon."""

    @property
    def supervisor(self) -> Supervisor:
        """The link to the service manager."""

    async def reconfigure(self, config: Config) -> None:
        """Apply a configuration.

        :raises ConfigError: when it cannot be applied; nothing is changed then.
        """


class ConfigChange(NamedTuple):
    """What reading the configuration again comes to."""

    config: Config
    """What holds from now on."""
    taken: tuple[str, ...]
    """The keys that have changed in it."""
    waiting: tuple[str, ...]
    """The keys whose new values hold from the next start on."""


def compare(now: Config, read: Config) -> ConfigChange:
    """Find what changes when `read` comes after `now`."""
    taken, waiting = [], []
    config = replace(now, sources=read.sources)
    for row in SETTINGS:
        value = getattr(getattr(read, row.section), row.name)
        section = getattr(now, row.section)
        if value == getattr(section, row.name):
            continue
        if row.at_restart:
            waiting.append(row.key)
            continue
        taken.append(row.key)
        config = replace(config, **{row.section: replace(getattr(config, row.section), **{row.name: value})})
    before, after = ({source.name: source for source in each.sources} for each in (now, read))
    names = dict.fromkeys([*before, *after])
    taken += [f"source.{name}" for name in names if before.get(name) != after.get(name)]
    return ConfigChange(config, tuple(taken), tuple(waiting))


class Reload(Service):
    """Reads the configuration again on SIGHUP.

    A terminal that goes away sends the same signal (termios(3)): then the daemon that was started there ends.

    :param read: gives the whole configuration, checked; raises ConfigError.
    :param config: what holds at the start.
    """

    log = Logger()

    def __init__(
        self, read: Callable[[], Config], config: Config, daemon: Reconfigurable, threshold: Threshold, reactor: Any
    ) -> None:
        self._read = read
        self._config = config
        self._daemon = daemon
        self._threshold = threshold
        self._reactor = reactor
        self._one_at_a_time = DeferredLock()
        self._has_terminal = _has_terminal()

    def startService(self) -> None:
        """Heed the signal."""
        super().startService()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hear))

    def stopService(self) -> None:
        """Heed it no more: the daemon stops."""
        super().stopService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _hear(self) -> None:
        if self._has_terminal and not _has_terminal():
            self._reactor.stop()
        elif self.running:
            reloading = self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self.reload()))
            reloading.addErrback(lambda failure: self.log.failure("Reloading the configuration failed", failure))

    async def reload(self) -> None:
        """Read the configuration, and let the daemon go by it."""
        supervisor = self._daemon.supervisor
        supervisor.reloading()
        try:
            change = compare(self._config, self._read())
            await self._daemon.reconfigure(change.config)
        except ConfigError as error:
            self.log.error("Configuration not reloaded, nothing changed: {reason}", reason=str(error))
        else:
            before, self._config = self._config.log, change.config
            now = change.config.log
            # What is told passes if it would before or does from now on.
            self._threshold.reconfigure(min(before.level, now.level, key=LogLevel.levelWithName), now.levels)
            self._tell(change)
            self._threshold.reconfigure(now.level, now.levels)
        finally:
            supervisor.reloaded()

    def _tell(self, change: ConfigChange) -> None:
        """Say what came of it; keys only, for a value may be a secret."""
        changed = ", ".join(change.taken) or "nothing"
        self.log.info("Configuration reloaded; changed: {changed}", changed=changed)
        if change.waiting:
            self.log.warn("Settings that need a restart: {waiting}", waiting=", ".join(change.waiting))


def _has_terminal() -> bool:
    """Tell whether somebody sits at a terminal that is still there."""
    try:
        return os.isatty(sys.__stdin__.fileno()) if sys.__stdin__ is not None else False
    except ValueError:  # closed, as in the background
        return False
