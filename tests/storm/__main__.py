"""`python -m tests.storm [SIZE]`: see `make storm`."""

import os
import sys
import tempfile
from pathlib import Path

from tests.storm.dead_peers import half_open, stopped
from tests.storm.storms import Storm, come_and_go, come_back, many_topics, slow_patterns
from tests.storm.testbed import Stage

_STORMS: dict[str, Storm] = {
    "come and go": come_and_go,
    "come back": come_back,
    "topics": many_topics,
    "patterns": slow_patterns,
    "stopped": stopped,
    "half open": half_open,
}
_CROWD = 10_000
_NICER = 10
"""The crowd comes from elsewhere in life: here it leaves the processors to the daemon and to those who measure."""


def main(size: int) -> int:
    """Let all loose; give the status of the process."""
    broken = 0
    with tempfile.TemporaryDirectory() as directory, Stage(Path(directory)) as stage:
        os.nice(_NICER)
        for name, storm in _STORMS.items():
            stage.begin()
            try:
                figures = storm(stage, size)
                stage.assert_as_before()
            except AssertionError as error:
                broken += 1
                figures = f"BROKEN: {error}"
            print(f"storm: {name:12} {figures}", flush=True)
    print(f"storm: {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else _CROWD))
