"""`python -m tests.model`: see `make model`."""

import argparse
import random
import sys

from tests.model.backends import BACKENDS
from tests.model.report import print_failure, print_summary, write_journal
from tests.model.run import Run


def main() -> int:
    """Run the model checker, and return the exit status."""
    parser = argparse.ArgumentParser(
        "python -m tests.model", description="Check random runs of daemons against a model."
    )
    parser.add_argument("--backend", choices=[*BACKENDS, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--journal", help="write everything that happened in the last round to this file")
    arguments = parser.parse_args()
    backends = list(BACKENDS) if arguments.backend == "all" else [arguments.backend]
    print(f"model: backends {', '.join(backends)}, seed {arguments.seed}", flush=True)
    run = Run(backends, 60 * arguments.minutes, arguments.seed)
    is_good = run.run()
    print_summary(run)
    if run.failed is not None:
        print_failure(run.failed)
    if arguments.journal and run.last is not None:
        write_journal(run.last, arguments.journal)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
