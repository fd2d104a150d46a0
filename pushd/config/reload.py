"""Reload: on SIGHUP the configuration is loaded again and applied, without closing a connection or losing a message.

Settings that need a restart keep their values, and are logged. An invalid configuration changes nothing.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger, LogLevel

from pushd.config.dialects import KINDS as DIALECTS
from pushd.config.dialects import field_of
from pushd.config.mistakes import ConfigError
from pushd.config.table import SETTINGS, Config
from pushd.logs import Threshold
from pushd.net.supervisor import Supervisor


class Reconfigurable(Protocol):
    """An object that a reload reconfigures: the daemon."""

    @property
    def supervisor(self) -> Supervisor:
        """The notifier of the service manager."""

    def reopen_logs(self) -> bool:
        """Open the audit log anew; return whether there is one."""

    async def reconfigure(self, config: Config) -> None:
        """Apply a configuration."""


class ConfigChange(NamedTuple):
    """The difference between the configuration in use and the one that was loaded."""

    config: Config
    """The configuration to apply."""
    applied: tuple[str, ...]
    """Keys of the settings that a reload changes."""
    at_restart: tuple[str, ...]
    """Keys of the settings that have another value only after a restart."""


def compare(now: Config, loaded: Config) -> ConfigChange:
    """Return the change from the configuration in use to the loaded one.

    :raises ConfigError: when it would switch authentication off.
    """
    if now.auth.is_enabled and not loaded.auth.is_enabled:
        raise ConfigError("auth: a reload cannot switch authentication off; set a key of [auth], or restart")
    applied, at_restart = [], []
    auth = replace(
        now.auth,
        anonymous=loaded.auth.anonymous,
        issuers=loaded.auth.issuers,
        url_keys=loaded.auth.url_keys,
        callback=loaded.auth.callback,
        is_enabled=loaded.auth.is_enabled,
    )
    config = replace(now, sources=loaded.sources, auth=auth)
    for row in SETTINGS:
        value = getattr(getattr(loaded, row.section), row.name)
        section = getattr(now, row.section)
        if value == getattr(section, row.name):
            continue
        if row.at_restart:
            at_restart.append(row.key)
            continue
        applied.append(row.key)
        config = replace(config, **{row.section: replace(getattr(config, row.section), **{row.name: value})})
    if loaded.auth.anonymous != now.auth.anonymous:
        applied.append("auth.anonymous")
    if loaded.auth.issuers != now.auth.issuers:
        applied.append("auth.issuer")
    if loaded.auth.url_keys != now.auth.url_keys:
        applied.append("auth.url_keys")
    if loaded.auth.callback != now.auth.callback:
        applied.append("auth.callback")
    config, of_dialects = _with_dialects(config, loaded)
    applied += of_dialects.applied
    at_restart += of_dialects.at_restart
    if loaded.channels != now.channels:
        config = replace(config, channels=loaded.channels)
        applied.append("channel")
    if loaded.hooks != now.hooks:
        config = replace(config, hooks=loaded.hooks)
        applied.append("hook")
    before, after = ({source.name: source for source in each.sources} for each in (now, loaded))
    names = dict.fromkeys([*before, *after])
    applied += [f"source.{name}" for name in names if before.get(name) != after.get(name)]
    return ConfigChange(config, tuple(applied), tuple(at_restart))


class _Keys(NamedTuple):
    applied: list[str]
    at_restart: list[str]


def _with_dialects(config: Config, loaded: Config) -> tuple[Config, _Keys]:
    """Return a configuration with the settings of dialects that a reload changes, and the keys of all that differ."""
    keys = _Keys([], [])
    dialects = config.dialects
    for name, kind in DIALECTS.items():
        attribute = field_of(name)
        before, after = getattr(dialects, attribute), getattr(loaded.dialects, attribute)
        for row in fields(kind):
            value = getattr(after, row.name)
            if value == getattr(before, row.name):
                continue
            key = f"dialects.{name}.{row.name}"
            if row.metadata["at_restart"]:
                keys.at_restart.append(key)
                continue
            keys.applied.append(key)
            dialects = replace(dialects, **{attribute: replace(getattr(dialects, attribute), **{row.name: value})})
    return replace(config, dialects=dialects), keys


class Reload(Service):
    """Reloads the configuration on SIGHUP.

    A terminal that is closed sends the same signal (termios(3)): then a daemon that was started there stops.

    :param load: returns the whole configuration, checked; raises ConfigError.
    :param config: the configuration at the start.
    :param threshold: the levels of the log, which are reconfigured too.
    """

    log = Logger()

    def __init__(
        self, load: Callable[[], Config], config: Config, daemon: Reconfigurable, threshold: Threshold, reactor: Any
    ) -> None:
        self._load = load
        self._config = config
        self._daemon = daemon
        self._threshold = threshold
        self._reactor = reactor
        self._one_at_a_time = DeferredLock()
        self._has_terminal = _has_terminal()

    def startService(self) -> None:
        """Handle the signal from now on."""
        super().startService()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._on_signal))

    def stopService(self) -> None:
        """Ignore the signal: the daemon is stopping."""
        super().stopService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self) -> None:
        if self._has_terminal and not _has_terminal():
            self._reactor.stop()
        elif self.running:
            reloading = self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self.reload()))
            reloading.addErrback(lambda failure: self.log.failure("Reloading the configuration failed", failure))

    async def reload(self) -> None:
        """Load the configuration and reconfigure the daemon. If either fails, log the reason and change nothing."""
        supervisor = self._daemon.supervisor
        supervisor.reloading()
        self._daemon.reopen_logs()
        try:
            change = compare(self._config, self._load())
            await self._daemon.reconfigure(change.config)
        except ConfigError as error:
            self._log_refusal(error.sentences)
        else:
            before, self._config = self._config.log, change.config
            now = change.config.log
            # The result is logged if either the old or the new level permits it.
            self._threshold.reconfigure(min(before.level, now.level, key=LogLevel.levelWithName), now.levels)
            self._log_change(change)
            self._threshold.reconfigure(now.level, now.levels)
        finally:
            supervisor.reloaded()

    def _log_refusal(self, sentences: Sequence[str]) -> None:
        """Log each mistake in a line of its own."""
        one, *more = sentences
        reason = f"{len(sentences)} mistakes" if more else one
        self.log.error("Configuration not reloaded, nothing changed: {reason}", reason=reason)
        for sentence in sentences if more else ():
            self.log.error("{sentence}", sentence=sentence)

    def _log_change(self, change: ConfigChange) -> None:
        """Log the keys of the changed settings. A value may be a secret."""
        changed = ", ".join(change.applied) or "nothing"
        self.log.info("Configuration reloaded; changed: {changed}", changed=changed)
        if change.at_restart:
            self.log.warn("Settings that need a restart: {waiting}", waiting=", ".join(change.at_restart))


def _has_terminal() -> bool:
    """Return whether standard input is a terminal that is still open."""
    try:
        return os.isatty(sys.__stdin__.fileno()) if sys.__stdin__ is not None else False
    except ValueError:  # closed, as in the background
        return False
