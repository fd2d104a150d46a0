"""`python -m tests.fuzz [TARGET [INPUT]]`: see `make fuzz`.

Each target runs for FUZZ_SECONDS, 30 by default. With INPUT, as a failure prints it, a target runs that one alone.
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
"""The size of the inputs to begin with: few bytes are mostly no example."""


def fuzz(names: Sequence[str]) -> int:
    """Run targets; give the status of the process."""
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not there for this Python, so the parsers are not fuzzed")
        return 0
    broken = [name for name in names if not _holds(name)]
    print(f"fuzz: {len(names) - len(broken)} targets held", *(f"{name} broke" for name in broken), sep=", ")
    return 1 if broken else 0


def _holds(name: str) -> bool:
    print(f"fuzz: {name} for {_SECONDS} s", flush=True)
    with tempfile.TemporaryDirectory() as corpus:
        for seed in range(_SEEDS):
            Path(corpus, str(seed)).write_bytes(random.Random(seed).randbytes(_BYTES))
        limits = [f"-max_total_time={_SECONDS}", f"-max_len={_BYTES}", f"-artifact_prefix={corpus}/"]
        return subprocess.call([sys.executable, "-m", "tests.fuzz.libfuzzer", name, corpus, *limits]) == 0


def try_again(name: str, given: str) -> None:
    """Run a target with one input, and show what that stands for."""
    target = TARGETS[name].hypothesis
    inner = target.inner_test

    @functools.wraps(inner)
    def shown(*args: object, **kwargs: object) -> None:
        print("fuzz:", *(f"{key} = {value!r}" for key, value in kwargs.items()), *map(repr, args), sep="\n")
        inner(*args, **kwargs)

    target.inner_test = shown
    target.fuzz_one_input(base64.b64decode(given, validate=True))


def main(name: str | None = None, given: str | None = None) -> int:
    """Do what the command line says; give the status of the process."""
    if name is not None and name not in TARGETS:
        print(f"fuzz: {name} is no target; there are {', '.join(TARGETS)}")
        return 2
    if name is None or given is None:
        return fuzz(list(TARGETS) if name is None else [name])
    try_again(name, given)
    return 0


sys.exit(main(*sys.argv[1:]))
