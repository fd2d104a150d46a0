"""The examples of the documentation run as they are printed."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.daemon.real import ROOT, Daemon

pytestmark = pytest.mark.system

PAGES = ("docs/python.md", "clients/python/README.md")
EXAMPLES = [
    pytest.param(code, id=f"{page}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL))
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all examples."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def test_examples_are_found() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs(code: str, daemon: Daemon) -> None:
    code = code.replace("localhost:8080", f"127.0.0.1:{daemon.http_port}")
    path = {"PYTHONPATH": str(ROOT / "clients" / "python")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
