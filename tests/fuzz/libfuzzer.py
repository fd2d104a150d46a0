"""`python -m tests.fuzz.libfuzzer TARGET CORPUS OPTION...`: one target, in a process of its own, which libFuzzer ends.

Inputs are guided by the coverage of pushd.
"""

import base64
import contextlib
import io
import sys

import atheris

_OPTIONS = ["-len_control=0", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]


def main(name: str, *options: str) -> None:
    """Fuzz a target. A failure is printed with the command that reproduces it."""
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["pushd"]):
        from tests.fuzz.targets import fuzz_function
    run = fuzz_function(name)

    def try_one(data: bytes) -> None:
        try:
            run(data)
        except Exception:
            encoded = base64.b64encode(data).decode()
            print(f"fuzz: {name} failed; to reproduce: .venv/bin/python -m tests.fuzz {name} {encoded}")
            raise

    atheris.Setup(["fuzz", *_OPTIONS, *options], try_one)
    atheris.Fuzz()


main(*sys.argv[1:])
