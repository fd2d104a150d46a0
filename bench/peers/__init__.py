"""The peers, in the order of the tables."""

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
"""Peers by their names on the command line."""
