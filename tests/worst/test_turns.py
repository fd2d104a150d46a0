"""The measurement of turns sees a turn that keeps the reactor busy, and no turn that only waits."""

import time

from twisted.internet.task import deferLater

from tests.worst.turns import MOST_SECONDS, ReactorTurns


async def test_a_busy_turn_is_measured() -> None:
    from twisted.internet import reactor

    with ReactorTurns() as turns:
        await deferLater(reactor, 0)
        end = time.thread_time() + 2 * MOST_SECONDS
        while time.thread_time() < end:
            pass
        await deferLater(reactor, 0)
        await deferLater(reactor, 0)
    assert turns.longest >= 2 * MOST_SECONDS


async def test_waiting_takes_no_cpu() -> None:
    from twisted.internet import reactor

    with ReactorTurns() as turns:
        await deferLater(reactor, 2 * MOST_SECONDS)
        await deferLater(reactor, 0)
        await deferLater(reactor, 0)
    assert turns.count >= 2
    assert turns.longest < MOST_SECONDS
