"""Sources in a daemon: they start and stop with it, and a failure is isolated."""

import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred

from pushd.config.loader import load
from pushd.config.sources import CommandSource, Source, SystemSource, WatchSource, WordsSource
from pushd.core.cursor import EVERYTHING
from pushd.core.peer import DAEMON
from pushd.service.daemon import make_service
from pushd.sources.words import WordsRunner
from tests.sources.source_harness import result_of, until

Run = Callable[..., Any]


@pytest_twisted.async_yield_fixture
async def run() -> AsyncIterator[Run]:
    """Start daemons with the given sources."""
    from twisted.internet import reactor

    daemons: list[Any] = []

    def start(*sources: Source) -> Any:
        settings = load(None, {}, {"http.listen": ["tcp:0:interface=127.0.0.1"], "tcp.listen": ["none"]})
        daemons.append(make_service(dataclasses.replace(settings, sources=sources), reactor))
        daemons[-1].privilegedStartService()
        daemons[-1].startService()
        return daemons[-1]

    yield start
    for daemon in daemons:
        if daemon.running:
            await maybeDeferred(daemon.stopService)


def texts(daemon: Any, channel: str) -> list[str]:
    return [
        each.data.decode()
        for each in result_of(daemon.hub.queries.history(DAEMON, [channel], EVERYTHING, 1000, 1 << 20)).messages
    ]


async def test_all_kinds_publish_while_the_daemon_runs(run: Run, tmp_path: Path):
    daemon = run(
        SystemSource(name="a", interval=0.1),
        CommandSource(name="b", channel="b", run=("sh", "-c", "echo $$; exec sleep 60")),
        WatchSource(name="c", channel="c", folder=str(tmp_path), settle=0.01, interval=0.1, poll=True),
        WordsSource(name="d", channel="d", text="x y", interval=0.01, pause=0.01),
    )
    await until(lambda: texts(daemon, "$sys/performance"), "figures")
    await until(lambda: len(texts(daemon, "d")) > 2, "words")
    await until(lambda: texts(daemon, "b"), "the line of the program")
    (tmp_path / "file").touch()
    await until(lambda: texts(daemon, "c"), "the file")
    await maybeDeferred(daemon.stopService)
    with pytest.raises(ProcessLookupError):
        os.kill(int(texts(daemon, "b")[0]), 0)


async def test_folder_is_watched_by_inotify_if_available(run: Run, tmp_path: Path):
    pytest.importorskip("pushd.sources.inotify", exc_type=ImportError)
    daemon = run(
        WatchSource(name="a", channel="a", folder=str(tmp_path), settle=0.01, interval=60.0),
        WatchSource(name="b", channel="b", folder=str(tmp_path), settle=0.01, interval=0.1, poll=True),
    )
    await until(lambda: (tmp_path / "x").write_text(str(len(texts(daemon, "b")))) and texts(daemon, "b"), "a scan")
    await until(lambda: texts(daemon, "a"), "the notification")


async def test_failing_source_does_not_affect_others(run: Run, monkeypatch, expected_failures):
    publish_all = WordsRunner._publish_all

    async def break_some(words: WordsRunner) -> None:
        if words._messages[0].data == b"bad":
            raise ValueError("boom")
        await publish_all(words)

    monkeypatch.setattr(WordsRunner, "_publish_all", break_some)
    daemon = run(
        WordsSource(name="bad", channel="a", text="bad"),
        WordsSource(name="good", channel="b", text="good", interval=0.01, pause=0.01),
    )
    await until(lambda: len(texts(daemon, "b")) > 2, "words of the other source")
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["boom"]
