"""``python -m tests.soak.cut_clients MINUTES [--seed N]``: the Python clients over connections that are cut.

Each round has another client, transport, seed and length of connections. It ends with status 1 when a message is lost,
published twice or received twice.
"""

import argparse
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "clients" / "python")]

from twisted.internet.defer import Deferred, ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from tests.clients.python.cut_round import run_round  # noqa: E402
from tests.clients.python.flavours import FLAVOURS  # noqa: E402
from tests.transports.daemon import RunningDaemon  # noqa: E402

_ROUND_SECONDS = 60.0
"""The most that one round may take; it takes a second."""


async def soak(seconds: float, seed: int) -> None:
    """Run rounds for that time."""
    from twisted.internet import reactor

    daemon = await RunningDaemon({}).start()
    draw, until, rounds, cuts = random.Random(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        flavour, transport = draw.choice(FLAVOURS), draw.choice(["sse", "websocket"])
        number, longest = draw.randrange(1 << 30), draw.choice([1200, 3000, 20_000])
        label = f"{flavour.name} {transport} seed={number} longest={longest}"
        round_ = ensureDeferred(run_round(daemon.ports["http"], flavour, transport, number, longest, 20))
        try:
            cuts += await round_.addTimeout(_ROUND_SECONDS, reactor)
        except BaseException:
            print(f"failed: {label}", flush=True)
            raise
        rounds += 1
    await daemon.cut_off()
    await daemon.stop()
    print(f"{rounds} rounds, {cuts} cuts, nothing lost and nothing twice", flush=True)


def _main(reactor: object, minutes: float, seed: int) -> "Deferred[None]":
    return ensureDeferred(soak(minutes * 60, seed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    react(_main, (args.minutes, args.seed))
