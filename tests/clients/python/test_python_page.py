"""The examples of docs/python.md, and the first of the README, run as they are printed."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.daemon.real import ROOT, Daemon

pytestmark = pytest.mark.system

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL)
FIRST = (ROOT / "clients/python/README.md").read_text("utf-8").partition("```python\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all examples."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def test_examples_are_found() -> None:
    assert len(EXAMPLES) == 5
    assert "with Pushd(" in FIRST


@pytest.mark.parametrize("code", [*EXAMPLES, FIRST])
def test_example_runs(code: str, daemon: Daemon) -> None:
    code = code.replace("localhost:8080", f"127.0.0.1:{daemon.http_port}")
    path = {"PYTHONPATH": str(ROOT / "clients" / "python")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
