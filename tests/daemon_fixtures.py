"""Fixtures with a daemon in this process, for the tests of transports, HTTP and API."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_twisted

from tests.transports.daemon import MovableReactor, RunningDaemon

Start = Callable[..., Awaitable[RunningDaemon]]


@pytest_twisted.async_yield_fixture
async def start_daemon() -> AsyncIterator[Start]:
    """Start a daemon with some settings, such as `{"limits.queue_messages": 5}`."""
    running: list[RunningDaemon] = []

    async def start(
        settings: dict[str, object], reactor: MovableReactor | None = None, file: Path | None = None
    ) -> RunningDaemon:
        daemon = RunningDaemon(settings, reactor, file)
        running.append(daemon)
        return await daemon.start()

    yield start
    for daemon in running:
        await daemon.cut_off()
        await daemon.stop()


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start) -> RunningDaemon:
    """A daemon with the defaults."""
    return await start_daemon({})
