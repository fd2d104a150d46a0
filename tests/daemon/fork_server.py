"""A fork server: a process that has imported everything, and forks a `twistd -n pushd` for each request.

Without it each start needs a second for imports, most of the time of a test that kills twenty daemons.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class ForkServer:
    """The client side of the server process."""

    def __init__(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, log: Path, words: list[str]) -> int:
        """Start a daemon that logs to a file, and return its process id."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([str(log), words]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Stop the server process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def _serve() -> None:
    from twisted.scripts import twistd

    import pushd.backends.sqlite.backend
    import pushd.tap

    assert pushd.tap and pushd.backends.sqlite.backend
    # No process waits for the children: the kernel reaps them when they exit.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        log, words = json.loads(line)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            out = os.open(log, os.O_WRONLY | os.O_APPEND)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (out, 1), (out, 2)):
                os.dup2(source, target)
            os.chdir(Path(log).parent)
            sys.argv = ["twistd", *words]
            twistd.run()
            sys.exit()
        print(child, flush=True)


if __name__ == "__main__":
    _serve()
