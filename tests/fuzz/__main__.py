"""`python -m tests.fuzz [TARGET [INPUT]]`: see `make fuzz`.

Each target runs for FUZZ_SECONDS, 30 by default. With INPUT, as printed by a failure, the target runs that input only.
"""

import base64
import functools
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import TARGETS

_SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
_SEEDS = 20
_BYTES = 2048
"""The size of the seed inputs: most short inputs do not make a valid example."""


def fuzz(names: Sequence[str]) -> int:
    """Run targets, and return the exit status."""
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not available for this Python, so the parsers are not fuzzed")
        return 0
    failed = [name for name in names if not _run_target(name)]
    print(f"fuzz: {len(names) - len(failed)} targets passed", *(f"{name} failed" for name in failed), sep=", ")
    return 1 if failed else 0


def _run_target(name: str) -> bool:
    print(f"fuzz: {name} for {_SECONDS} s", flush=True)
    with tempfile.TemporaryDirectory() as corpus:
        for seed in range(_SEEDS):
            Path(corpus, str(seed)).write_bytes(random.Random(seed).randbytes(_BYTES))
        limits = [f"-max_total_time={_SECONDS}", f"-max_len={_BYTES}", f"-artifact_prefix={corpus}/"]
        return subprocess.call([sys.executable, "-m", "tests.fuzz.libfuzzer", name, corpus, *limits]) == 0


def reproduce(name: str, encoded: str) -> None:
    """Run a target with one input in base64, and print the example that it stands for."""
    target = TARGETS[name].hypothesis
    inner = target.inner_test

    @functools.wraps(inner)
    def print_and_run(*args: object, **kwargs: object) -> None:
        print("fuzz:", *(f"{key} = {value!r}" for key, value in kwargs.items()), *map(repr, args), sep="\n")
        inner(*args, **kwargs)

    target.inner_test = print_and_run
    target.fuzz_one_input(base64.b64decode(encoded, validate=True))


def main(name: str | None = None, encoded: str | None = None) -> int:
    """Run what the command line selects, and return the exit status."""
    if name is not None and name not in TARGETS:
        print(f"fuzz: unknown target {name}; the targets are {', '.join(TARGETS)}")
        return 2
    if name is None or encoded is None:
        return fuzz(list(TARGETS) if name is None else [name])
    reproduce(name, encoded)
    return 0


sys.exit(main(*sys.argv[1:]))
