"""Reload: every setting is applied, or reported as needing a restart, and a reload equals a restart."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel

from pushd.config.auth import AuthSettings
from pushd.config.mistakes import ConfigError
from pushd.config.reload import Reload, compare
from pushd.config.sources import CommandSource, WordsSource
from pushd.config.table import SETTINGS, Config, Setting
from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.grant import FULL, NOTHING
from pushd.core.outbox import Policy
from pushd.logs import Threshold, log_observer
from pushd.service.daemon import Daemon

OTHER_VALUES = {
    "auth.tokens_file": str(Path(__file__).with_name("tokens.toml")),
    "http.allow_origins": ("https://example.org",),
    "http.hosts": ("example.org",),
    "http.pull_hosts": ("example.org",),
    "http.trusted_proxies": ("127.0.0.1/32",),
    "dialects.enable": ("bayeux",),
    "limits.connections": 50,
    "log.audit": "-",
    "log.level": "warn",
    "log.levels": ("pushd=warn",),
}
"""Values for settings that `with_other_value` cannot derive from the default: the file limit may allow fewer
connections than the default.
"""
APPLIED = [row for row in SETTINGS if not row.at_restart]
AT_RESTART = [row for row in SETTINGS if row.at_restart]
READ_WHEN_USED = {"stop.patience"}
"""Settings of which no part has a copy: the daemon reads them from its configuration."""


VALUES = (type(None), bool, int, float, str, bytes, IPv4Network, IPv6Network, type(LogLevel.info))


def with_other_value(row: Setting) -> Config:
    """Return the default configuration with another value of one setting."""
    config = Config()
    section = getattr(config, row.section)
    value = getattr(section, row.name)
    if row.key in OTHER_VALUES:
        value = OTHER_VALUES[row.key]
    elif isinstance(value, (bool, tuple, str)):
        value = {bool: not value, tuple: ("unix:/tmp/p",), str: f"{value}x"}[type(value)]
    else:
        value += 1
    changes = {row.name: value} | ({"is_enabled": True} if row.section == "auth" else {})
    return replace(config, **{row.section: replace(section, **changes)})


class Running(NamedTuple):
    """What a reload reconfigures."""

    daemon: Daemon
    threshold: Threshold


def start(config: Config) -> Running:
    """Return a daemon and a log with a configuration, as after a restart."""
    return Running(Daemon(config, Clock()), Threshold(config.log.level, config.log.levels))


def reload(running: Running, before: Config, after: Config) -> None:
    """Change the configuration by a reload."""
    reloading = Reload(lambda: after, before, running.daemon, running.threshold, Clock())
    assert Deferred.fromCoroutine(reloading.reload()).called


def state_of(running: Running) -> dict[str, object]:
    """Return every value in the objects of pushd and Autobahn that can be reached from a daemon, by its path.

    Values that are random, and so differ between two daemons of one configuration, are left out, and when the clock
    was read last.
    """
    values = values_in(running, "", set())
    return {path: value for path, value in values if path not in RANDOM and not path.endswith("._wall._latest")}


def values_in(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    """Yield the path and the value of everything in an object. An object with several paths is visited once."""
    if isinstance(thing, VALUES):
        yield path, thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        yield f"{path} length", len(thing)
        parts = [(f"{path}[{key!r}]", part) for key, part in thing.items() if isinstance(key, (str, int, bytes))]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield f"{path} length", len(thing)
        elements = sorted(thing, key=repr) if isinstance(thing, (set, frozenset)) else thing
        parts = [(f"{path}[{index}]", part) for index, part in enumerate(elements)]
    elif type(thing).__module__.startswith(("pushd.", "autobahn.")):
        slots = [each.__dict__.get("__slots__", ()) for each in type(thing).__mro__]
        names = [*getattr(thing, "__dict__", ()), *(name for each in slots for name in each)]
        parts = [(f"{path}.{name}", getattr(thing, name)) for name in names if hasattr(thing, name)]
    else:
        return
    for where, part in parts:
        yield from values_in(part, where, seen)


ONE, OTHER = (dict(values_in(start(Config()), "", set())) for _ in range(2))
RANDOM = {path for path in ONE | OTHER if ONE.get(path) != OTHER.get(path)}


def test_few_values_are_random_and_many_are_compared() -> None:
    assert 0 < len(RANDOM) < 20
    assert len(state_of(start(Config()))) > 400


@pytest.mark.parametrize("row", APPLIED, ids=lambda row: row.key)
def test_reload_equals_restart(row: Setting) -> None:
    running = start(Config())
    before = state_of(running)
    reload(running, Config(), with_other_value(row))
    after = state_of(running)
    assert after == state_of(start(with_other_value(row)))
    changed = {path for path in before | after if before.get(path) != after.get(path)}
    copies = {path for path in changed if "._config." not in path}
    assert (not copies) is (row.key in READ_WHEN_USED), changed


def test_reload_of_all_settings_at_once_equals_restart() -> None:
    config = Config()
    for row in APPLIED:
        section = getattr(with_other_value(row), row.section)
        config = replace(
            config, **{row.section: replace(getattr(config, row.section), **{row.name: getattr(section, row.name)})}
        )
    running = start(Config())
    reload(running, Config(), config)
    assert state_of(running) == state_of(start(config))


@pytest.mark.parametrize("row", APPLIED, ids=lambda row: row.key)
def test_setting_is_applied_by_a_reload(row: Setting) -> None:
    assert compare(Config(), with_other_value(row)) == (with_other_value(row), (row.key,), ())


@pytest.mark.parametrize("row", AT_RESTART, ids=lambda row: row.key)
def test_setting_that_needs_a_restart_is_kept_and_reported(row: Setting) -> None:
    now = Config(auth=AuthSettings(is_enabled=row.section == "auth"))
    running = start(now)
    before = state_of(running)
    assert compare(now, with_other_value(row)) == (now, (), (row.key,))
    reload(running, now, with_other_value(row))
    assert state_of(running) == before


def test_settings_of_both_kinds_may_change_together() -> None:
    now = Config()
    loaded = replace(now, limits=replace(now.limits, channels=1, message=2), stop=replace(now.stop, spread=3.0))
    change = compare(now, loaded)
    assert change.config == replace(now, limits=replace(now.limits, message=2), stop=loaded.stop)
    assert (change.applied, change.at_restart) == (("limits.message", "stop.spread"), ("limits.channels",))


def test_grant_of_anonymous_peers_is_applied_by_a_reload() -> None:
    now, loaded = (Config(auth=AuthSettings(is_enabled=True, anonymous=grant)) for grant in (NOTHING, FULL))
    assert compare(now, loaded) == (loaded, ("auth.anonymous",), ())
    assert compare(now, now) == (now, (), ())


def test_rules_for_channels_are_applied_by_a_reload() -> None:
    rules = [ChannelRule("a/*", 1, 2, 3.0, 4.0, False, Policy.DROP, False), ChannelRule("**")]
    loaded = Config(channels=ChannelRules(rules))
    assert compare(Config(), loaded) == (loaded, ("channel",), ())
    assert compare(loaded, Config(channels=ChannelRules(list(rules)))) == (loaded, (), ())
    running = start(Config())
    reload(running, Config(), loaded)
    assert state_of(running) == state_of(start(loaded))
    reload(running, loaded, Config())
    assert state_of(running) == state_of(start(Config()))


def test_authentication_can_be_switched_on_but_not_off_by_a_reload() -> None:
    off, on = (Config(auth=AuthSettings(is_enabled=is_enabled)) for is_enabled in (False, True))
    assert compare(off, on).config == on
    with pytest.raises(ConfigError, match=r"^auth: a reload cannot switch authentication off; "):
        compare(on, off)


def test_added_removed_and_changed_sources_are_reported() -> None:
    kept, removed = WordsSource(name="kept", channel="a"), WordsSource(name="removed", channel="a")
    old, new = WordsSource(name="changed", channel="a"), CommandSource(name="changed", channel="a", run=("true",))
    added = WordsSource(name="added", channel="a")
    change = compare(Config(sources=(kept, removed, old)), Config(sources=(kept, new, added)))
    assert change.applied == ("source.removed", "source.changed", "source.added")
    assert change.config.sources == (kept, new, added)


@pytest.mark.parametrize(
    ("before", "after", "is_logged"), [("error", "info", True), ("info", "error", True), ("error", "error", False)]
)
def test_reload_is_logged_if_the_old_or_the_new_level_permits_it(before: str, after: str, is_logged: bool) -> None:
    now, loaded = (Config(log=replace(Config().log, level=level)) for level in (before, after))
    running, out = start(now), io.StringIO()
    reloading = Reload(lambda: loaded, now, running.daemon, running.threshold, Clock())
    reloading.log = Logger(observer=log_observer(out, "text", running.threshold))
    assert Deferred.fromCoroutine(reloading.reload()).called
    assert ("Configuration reloaded" in out.getvalue()) is is_logged
    assert running.threshold.logLevelForNamespace("pushd") is LogLevel.levelWithName(after)


@pytest.mark.parametrize(
    ("sentences", "lines"),
    [
        (["a.toml:1: x"], ["Configuration not reloaded, nothing changed: a.toml:1: x"]),
        (
            ["a.toml:1: x", "a.toml:2: y"],
            ["Configuration not reloaded, nothing changed: 2 mistakes", "a.toml:1: x", "a.toml:2: y"],
        ),
    ],
)
def test_all_mistakes_are_logged_and_nothing_changes(sentences: list[str], lines: list[str]) -> None:
    def load() -> Config:
        raise ConfigError(*sentences)

    running, out = start(Config()), io.StringIO()
    before = state_of(running)
    reloading = Reload(load, Config(), running.daemon, running.threshold, Clock())
    reloading.log = Logger(observer=log_observer(out, "text", running.threshold))
    assert Deferred.fromCoroutine(reloading.reload()).called
    assert [line.partition("[error] ")[2] or line.partition("] ")[2] for line in out.getvalue().splitlines()] == lines
    assert state_of(running) == before
