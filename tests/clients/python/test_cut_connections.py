"""Connections that are cut at random bytes: no message is lost, and none is published or received twice."""

import subprocess
import sys

import pytest

from tests.clients.python.cut_round import run_round
from tests.clients.python.flavours import Flavour
from tests.daemon.real import ROOT
from tests.transports.daemon import RunningDaemon

LONGEST = 3000
"""A few messages with their headers pass before a cut."""


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_cuts_lose_and_repeat_nothing(daemon: RunningDaemon, flavour: type[Flavour], transport: str) -> None:
    cuts = await run_round(daemon.ports["http"], flavour, transport, seed=7, longest=LONGEST, messages=20)
    assert cuts > 10


@pytest.mark.slow
def test_cuts_of_some_minutes_lose_and_repeat_nothing() -> None:
    command = [sys.executable, "-m", "tests.soak.cut_clients", "2", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " cuts, nothing lost" in done.stdout
