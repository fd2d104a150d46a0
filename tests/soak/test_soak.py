"""`make soak`, for some seconds: all kinds of listeners hear all, and what is wrong is seen."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.soak import soak
from tests.soak.soak import LISTENERS, Soak

pytestmark = pytest.mark.system


def run_aside(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread of its own: in this one the tests of browsers may have left a loop running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


@pytest.mark.parametrize("seconds", [4, pytest.param(90, marks=pytest.mark.slow)])
def test_a_run_is_well(tmp_path: Path, seconds: int) -> None:
    run = Soak(tmp_path, seconds)
    run_aside(run.run())
    assert run.faults == []
    assert len([ear for ear in run.ears if ear.heard]) == LISTENERS


def test_a_daemon_that_dies_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_LAST_WORDS", 0.2)
    run = Soak(tmp_path, 30)

    async def kill_amid() -> None:
        asyncio.get_running_loop().call_later(1, os.kill, run.pid, signal.SIGKILL)
        await run.run()

    run_aside(kill_amid())
    assert run.faults
