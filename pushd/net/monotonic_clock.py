"""A reactor that runs by the monotonic clock.

Twisted's reactor runs by the wall clock. When that is set back, as by NTP or an operator, every timer stops until the
clock has caught up.
"""

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Replace `reactor.seconds`, before any call is scheduled: one that was scheduled before would never be due.

    The reactor reads the time from this attribute only: to schedule a call, to compute how long to wait, and to find
    the calls that are due.
    """
    reactor.seconds = time.monotonic
