"""`python -m tests.soak MINUTES [SEED]`: see `make soak`."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Soak

_SHOWN = 20


def main(minutes: float, seed: int) -> int:
    """Run the soak test, and return the exit status."""
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(Path(directory), 60 * minutes, seed)
        asyncio.run(soak.run())
    for fault in soak.faults[:_SHOWN]:
        print(f"soak: {fault}")
    print(f"soak: {len(soak.faults)} faults")
    return 1 if soak.faults else 0


sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
