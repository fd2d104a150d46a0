"""The peers, in the order in which they stand in tables."""

from bench.peers.interface import Peer
from bench.peers.loops import LoopInC, LoopInPython
from bench.peers.nats import Nats
from bench.peers.nchan import Nchan
from bench.peers.pushd import Pushd
from bench.peers.redis import Redis

PEERS: dict[str, Peer] = {
    "pushd": Pushd(),
    "nchan": Nchan(),
    "nats": Nats(),
    "redis": Redis(),
    "c": LoopInC(),
    "python": LoopInPython(),
}
"""By the names that the command line knows."""
