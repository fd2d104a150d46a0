"""The cases, in the order in which they are run and reported."""

from bench.cases.fan_out import FanOut, ResponseTime
from bench.cases.interface import Case
from bench.cases.publish import Publish
from bench.cases.stalled import Stalled
from bench.cases.subscriber_cost import Handshake, Idle
from bench.cases.thousand import Burst, Latency, One

_ALL: tuple[Case, ...] = (
    One(),
    Burst(),
    Latency(),
    FanOut(),
    ResponseTime(),
    Idle(),
    Handshake(),
    Publish(),
    Stalled(),
)
CASES = {case.name: case for case in _ALL}
"""By name."""
