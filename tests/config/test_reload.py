"""Settings that are read again: which hold at once, which wait for a restart, and that none is forgotten."""

import io
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel

from pushd.config.reload import Reload, compare
from pushd.config.sources import CommandSource, WordsSource
from pushd.config.table import SETTINGS, Config, Setting
from pushd.logs import Threshold, log_observer
from pushd.service.daemon import Daemon

VALUES = {
    "http.allow_origins": ("https://example.org",),
    "http.hosts": ("example.org",),
    "http.pull_hosts": ("example.org",),
    "http.trusted_proxies": ("127.0.0.1/32",),
    "limits.connections": 50,
    "log.level": "warn",
    "log.levels": ("pushd=warn",),
}
"""What can not be made another value by adding one; the file limit may allow no more connections."""
LIVE = [row for row in SETTINGS if not row.at_restart]
LATE = [row for row in SETTINGS if row.at_restart]


def changed(row: Setting) -> Config:
    """The defaults, but for one setting."""
    config = Config()
    section = getattr(config, row.section)
    value = getattr(section, row.name)
    if row.key in VALUES:
        value = VALUES[row.key]
    elif isinstance(value, (bool, tuple, str)):
        value = {bool: not value, tuple: ("unix:/tmp/p",), str: f"{value}x"}[type(value)]
    else:
        value += 1
    return replace(config, **{row.section: replace(section, **{row.name: value})})


def held(daemon: Daemon) -> list[Any]:
    """All that a daemon has of its settings, wherever it is."""
    rules, site, lines, root, keepalive = (
        daemon._context,
        daemon._site,
        daemon._lines,
        daemon._root,
        daemon._keepalive,
    )
    socket = root.websocket
    return [
        rules.limits,
        (rules.allow_origins, rules.hosts, rules.pull_hosts, rules.proxies, rules.access.share),
        (site.limits, site.on_head.seconds, site.on_body.seconds),
        (lines.limits, lines.greeting),
        (socket.commands, socket.readers._factory.maxMessagePayloadSize),
        (daemon._admission._total, daemon._admission._per_address),
        (daemon.hub.max_subscriptions, daemon.hub.budget.limit),
        [(wheel._seconds, len(wheel._slots)) for wheel in (keepalive.sse, keepalive.stream, keepalive.ping)],
        keepalive.pongs.seconds,
        (root.sse.spread, daemon._config.stop),
        [listener._dead_peer for listener in daemon._listeners],
    ]


@pytest.mark.parametrize("row", [row for row in LIVE if not row.key.startswith("log.level")], ids=lambda row: row.key)
def test_what_holds_after_a_reload_is_what_would_hold_after_a_restart(row: Setting) -> None:
    daemon = Daemon(Config(), Clock())
    before = held(daemon)
    going = Deferred.fromCoroutine(daemon.reconfigure(compare(Config(), changed(row)).config))
    assert going.called
    assert held(daemon) == held(Daemon(changed(row), Clock())) != before


@pytest.mark.parametrize("row", LIVE, ids=lambda row: row.key)
def test_a_setting_that_can_change_does(row: Setting) -> None:
    assert compare(Config(), changed(row)) == (changed(row), (row.key,), ())


@pytest.mark.parametrize("row", LATE, ids=lambda row: row.key)
def test_a_setting_that_can_not_change_stays_and_is_told(row: Setting) -> None:
    assert compare(Config(), changed(row)) == (Config(), (), (row.key,))


def test_where_both_kinds_change_each_goes_its_way() -> None:
    now = Config()
    read = replace(now, limits=replace(now.limits, channels=1, message=2), stop=replace(now.stop, spread=3.0))
    change = compare(now, read)
    assert change.config == replace(now, limits=replace(now.limits, message=2), stop=read.stop)
    assert (change.taken, change.waiting) == (("limits.message", "stop.spread"), ("limits.channels",))


def test_sources_that_came_went_and_changed_are_named() -> None:
    stays, goes = WordsSource(name="stays", channel="a"), WordsSource(name="goes", channel="a")
    old, new = WordsSource(name="other", channel="a"), CommandSource(name="other", channel="a", run=("true",))
    comes = WordsSource(name="comes", channel="a")
    change = compare(Config(sources=(stays, goes, old)), Config(sources=(stays, new, comes)))
    assert change.taken == ("source.goes", "source.other", "source.comes")
    assert change.config.sources == (stays, new, comes)


@pytest.mark.parametrize(
    ("before", "after", "is_told"), [("error", "info", True), ("info", "error", True), ("error", "error", False)]
)
def test_a_reload_is_told_where_either_level_lets_it_pass(before: str, after: str, is_told: bool) -> None:
    now, read = (Config(log=replace(Config().log, level=level)) for level in (before, after))
    threshold, out = Threshold(before), io.StringIO()
    reload = Reload(lambda: read, now, Daemon(now, Clock()), threshold, Clock())
    reload.log = Logger(observer=log_observer(out, "text", threshold))
    assert Deferred.fromCoroutine(reload.reload()).called
    assert ("Configuration reloaded" in out.getvalue()) is is_told
    assert threshold.logLevelForNamespace("pushd") is LogLevel.levelWithName(after)
