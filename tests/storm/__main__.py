"""`python -m tests.storm [SIZE [STORM...]]`: see `make storm`."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.storm.dead_peers import half_open_connections, suspended_readers
from tests.storm.storms import Storm, connect_and_leave, many_topics, reconnect, slow_patterns
from tests.storm.testbed import StormTestbed
from tests.storm.tokens import return_with_tokens

_STORMS: dict[str, Storm] = {
    "connect": connect_and_leave,
    "reconnect": reconnect,
    "tokens": return_with_tokens,
    "topics": many_topics,
    "patterns": slow_patterns,
    "suspended": suspended_readers,
    "half open": half_open_connections,
}
_SWARM = 10_000
_NICE = 10
"""The niceness of the clients, so that they leave the processors to the daemon and the measurement."""


def main(size: int, names: Sequence[str]) -> int:
    """Run the storms of these names, or all, and return the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as directory, StormTestbed(Path(directory)) as testbed:
        os.nice(_NICE)
        for name in names or _STORMS:
            storm = _STORMS[name]
            testbed.record_baseline()
            try:
                figures = storm(testbed, size)
                testbed.assert_baseline()
            except AssertionError as error:
                failed += 1
                figures = f"FAILED: {error}"
            print(f"storm: {name:12} {figures}", flush=True)
    print(f"storm: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else _SWARM, sys.argv[2:]))
