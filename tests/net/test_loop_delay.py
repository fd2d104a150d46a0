"""The loop delay is measured by a timer."""

from twisted.internet.task import Clock

from pushd.net.loop_delay import LoopDelay


def test_loop_delay_is_reported_every_second() -> None:
    clock, delays = Clock(), list[float]()
    lateness = LoopDelay(clock, delays.append)
    lateness.start()
    clock.advance(1)
    clock.advance(1.25)
    clock.advance(1)
    assert delays == [0, 0.25, 0]
    lateness.stop()
    assert not clock.getDelayedCalls()
