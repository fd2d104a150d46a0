"""`make soak` for some seconds: subscribers over all transports receive everything, and faults are reported."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.soak import soak
from tests.soak.soak import SUBSCRIBERS, Soak

pytestmark = pytest.mark.system


def run_aside(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in another thread, since browser tests may have left an event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


@pytest.mark.parametrize("seconds", [4, pytest.param(90, marks=pytest.mark.slow)])
def test_run_has_no_faults(tmp_path: Path, seconds: int) -> None:
    run = Soak(tmp_path, seconds)
    run_aside(run.run())
    assert run.faults == []
    assert len([check for check in run.checks if check.received]) == SUBSCRIBERS


def test_killed_daemon_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_GRACE_SECONDS", 0.2)
    run = Soak(tmp_path, 30)

    async def kill_during_run() -> None:
        asyncio.get_running_loop().call_later(1, os.kill, run.pid, signal.SIGKILL)
        await run.run()

    run_aside(kill_during_run())
    assert run.faults
