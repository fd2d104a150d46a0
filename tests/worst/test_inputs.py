"""No input keeps the reactor busy for long, with all limits at their defaults."""

import pytest
from twisted.internet.threads import deferToThread

from tests.daemon_fixtures import Start
from tests.soak.transports import Ports
from tests.transports.daemon import turns as some_turns
from tests.transports.daemon import until
from tests.worst.inputs import INPUTS
from tests.worst.turns import MOST_SECONDS, ReactorTurns

STALLED = {"stalled-patterns": 10, "multipart-viewers": 30, "stalled-crowd": 300}
"""Subscribers that do not read, by the input."""


@pytest.mark.parametrize("name", INPUTS)
async def test_no_turn_is_long(name: str, start_daemon: Start) -> None:
    daemon = await start_daemon({})
    steps = INPUTS[name](Ports(daemon.ports["http"], daemon.ports["tcp"]))
    await deferToThread(next, steps)
    await until(lambda: daemon.is_idle, "everything delivered", 30)
    await some_turns()
    assert daemon.stalled == STALLED.get(name, 0)
    with ReactorTurns() as turns:
        await deferToThread(next, steps)
        await until(lambda: daemon.is_idle, "everything delivered", 30)
        await deferToThread(next, steps, None)
        await until(lambda: not daemon.open_connections, "all connections closed", 30)
        await some_turns()

    assert turns.longest < MOST_SECONDS
