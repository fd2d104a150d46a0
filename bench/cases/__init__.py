"""The cases, in the order in which they are run and reported."""

from bench.cases.crowd import Alive, Crowd
from bench.cases.interface import Case
from bench.cases.publish import Publish
from bench.cases.stalled import Stalled
from bench.cases.subscriber_cost import Handshake, Idle
from bench.cases.thousand import Burst, Latency, One

_ALL: tuple[Case, ...] = (One(), Burst(), Latency(), Crowd(), Alive(), Idle(), Handshake(), Publish(), Stalled())
CASES = {case.name: case for case in _ALL}
"""By name."""
