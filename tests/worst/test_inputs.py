"""No input causes a long reactor turn, with all limits at their defaults."""

import pytest
from twisted.internet.threads import deferToThread

from tests.daemon_fixtures import Start
from tests.soak.transports import Ports
from tests.transports.daemon import turns as some_turns
from tests.transports.daemon import until
from tests.worst.inputs import INPUTS
from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns

pytestmark = pytest.mark.slow

STALLED = {"stalled-patterns": 10, "multipart-viewers": 30, "many-stalled-subscribers": 300}
"""The number of subscribers that do not read, by input."""


@pytest.mark.parametrize("name", INPUTS)
async def test_input_has_short_turns(name: str, start_daemon: Start) -> None:
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

    assert turns.longest < MAX_TURN_SECONDS
