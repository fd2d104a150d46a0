"""The measurement of turns includes busy turns, and not the time of waiting."""

import time

from twisted.internet.task import deferLater

from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns


async def test_busy_turn_is_measured() -> None:
    from twisted.internet import reactor

    with ReactorTurns() as turns:
        await deferLater(reactor, 0)
        end = time.thread_time() + 2 * MAX_TURN_SECONDS
        while time.thread_time() < end:
            pass
        await deferLater(reactor, 0)
        await deferLater(reactor, 0)
    assert turns.longest >= 2 * MAX_TURN_SECONDS


async def test_waiting_needs_no_cpu_time() -> None:
    from twisted.internet import reactor

    with ReactorTurns() as turns:
        await deferLater(reactor, 2 * MAX_TURN_SECONDS)
        await deferLater(reactor, 0)
        await deferLater(reactor, 0)
    assert turns.count >= 2
    assert turns.longest < MAX_TURN_SECONDS
