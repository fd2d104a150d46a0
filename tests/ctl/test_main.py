"""The entry point: the version, and what is imported before a command runs."""

import subprocess
import sys

import pytest

from pushd import __version__
from pushd.ctl.command_line import _BENCH_TRANSPORTS, _MARKER_BYTES, _TRANSPORTS
from pushd.ctl.main import main
from tests.daemon.real import ROOT

SLOW_IMPORTS = ("asyncio", "curses", "cryptography", "httpx", "joserfc", "shtab", "twisted", "websockets")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"pushctl {__version__}\n"


def test_start_imports_nothing_slow() -> None:
    script = (
        "import sys; from pushd.ctl.main import main\n"
        "try: main(['pub', 'a', 'x', '--url', 'http://127.0.0.1:1'])\n"
        "finally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "pushd.ctl.publish" in done.stdout.split()
    assert not set(SLOW_IMPORTS) & set(done.stdout.split())


def test_choices_are_those_of_the_commands() -> None:
    from pushd.ctl.bench import BENCH_TRANSPORTS
    from pushd.ctl.bench_client import MARKER_BYTES
    from pushd.ctl.clients import TRANSPORTS
    from pushd.ctl.doctor.checks import TRANSPORTS as CHECKED
    from pushd.ctl.doctor.probe_subscriber import PROBE_TRANSPORTS

    assert tuple(TRANSPORTS) == _TRANSPORTS
    assert BENCH_TRANSPORTS == _BENCH_TRANSPORTS
    assert MARKER_BYTES == _MARKER_BYTES
    assert tuple(each.name for each in PROBE_TRANSPORTS) == CHECKED
