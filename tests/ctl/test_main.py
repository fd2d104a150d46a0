"""The entry point: the version, and what is imported before a command runs."""

import subprocess
import sys

import pytest

from pushd import __version__
from pushd.ctl.main import main
from tests.daemon.real import ROOT

SLOW_IMPORTS = ("asyncio", "curses", "cryptography", "httpx", "joserfc", "shtab", "twisted", "websockets")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"pushctl {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "loaded", "not_loaded"),
    [
        (["pub", "a", "x", "--url", "http://127.0.0.1:1"], "pushd.ctl.publish", SLOW_IMPORTS),
        (["pub", "--help"], "pushd.ctl.command_line", (*SLOW_IMPORTS, "pushd.client", "http.client", "ssl")),
    ],
    ids=["pub", "help"],
)
def test_start_imports_nothing_slow(arguments: list[str], loaded: str, not_loaded: tuple[str, ...]) -> None:
    script = f"import sys; from pushd.ctl.main import main\ntry: main({arguments})\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert loaded in done.stdout.split()
    assert not set(not_loaded) & set(done.stdout.split())


def test_choices_are_those_of_the_commands() -> None:
    from pushd.ctl.bench import BENCH_TRANSPORTS
    from pushd.ctl.bench_client import MARKER_BYTES
    from pushd.ctl.command_line import diagnosis, messages
    from pushd.ctl.doctor.checks import TRANSPORTS as CHECKED
    from pushd.ctl.doctor.probe_subscriber import PROBE_TRANSPORTS
    from pushd.ctl.subscriptions import TRANSPORTS

    assert tuple(TRANSPORTS) == messages.TRANSPORTS
    assert BENCH_TRANSPORTS == diagnosis.BENCH_TRANSPORTS
    assert MARKER_BYTES == diagnosis.MARKER_BYTES
    assert tuple(each.name for each in PROBE_TRANSPORTS) == CHECKED
