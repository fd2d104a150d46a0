"""`python -m tests.fuzz.libfuzzer TARGET CORPUS OPTION...`: one target, in a process of its own, which libFuzzer ends.

It chooses the inputs by what of pushd they reach.
"""

import base64
import contextlib
import io
import sys

import atheris

_OPTIONS = ["-len_control=0", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]


def main(name: str, *options: str) -> None:
    """Fuzz; what breaks is printed with the words that do it again."""
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["pushd"]):
        from tests.fuzz.targets import property_of
    run = property_of(name)

    def try_one(data: bytes) -> None:
        try:
            run(data)
        except Exception:
            print(f"fuzz: {name} broke; again: .venv/bin/python -m tests.fuzz {name} {base64.b64encode(data).decode()}")
            raise

    atheris.Setup(["fuzz", *_OPTIONS, *options], try_one)
    atheris.Fuzz()


main(*sys.argv[1:])
