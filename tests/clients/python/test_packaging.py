"""The distribution `pushd-client`: what it contains, and that it works with the oldest Python, without pushd."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.daemon.real import ROOT, Daemon
from tests.test_packaging import Installed, metadata, python

OLDEST = "3.10"
PROGRAM = """
import asyncio, sys
from pushd_client import AsyncPushd, Message, Pushd

URL = sys.argv[1]

async def main():
    async with AsyncPushd(URL) as pushd:
        for transport in ("sse", "websocket"):
            async with pushd.subscribe("a", since="all", transport=transport) as items:
                assert (await anext(items)).data == {"n": 1}

with Pushd(URL) as pushd:
    pushd.publish("a", {"n": 1})
    for transport in ("sse", "websocket"):
        assert next(pushd.subscribe("a", since="all", transport=transport)).data == {"n": 1}
asyncio.run(main())
print(sys.version_info[:2])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the client."""
    source, folder = tmp_path_factory.mktemp("source") / "client", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "clients" / "python", source, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "bdist_wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("pushd_client-*-py3-none-any.whl")
    return built


def test_wheel_contains_the_package_and_needs_nothing(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
    package = ROOT / "clients" / "python"
    expected = {str(path.relative_to(package)) for path in (package / "pushd_client").rglob("*") if path.is_file()}
    assert names == {name for name in expected if "__pycache__" not in name}
    fields = metadata(wheel)
    assert (fields["Name"], fields["Requires-Python"]) == ("pushd-client", f">={OLDEST}")
    required = fields.get_all("Requires-Dist", [])
    assert required and all("extra ==" in each for each in required)


@pytest.mark.slow
def test_oldest_python_publishes_and_subscribes(wheel: Path, tmp_path: Path) -> None:
    interpreter = python(OLDEST)
    installed = Installed(interpreter, f"{wheel}[async,websocket]", tmp_path)  # type: ignore[arg-type]
    (tmp_path / "daemon").mkdir()
    daemon = Daemon(tmp_path / "daemon")
    try:
        url = f"http://127.0.0.1:{daemon.http_port}"
        assert installed.call(installed.program("python"), "-W", "error", "-c", PROGRAM, url) == "(3, 10)\n"
    finally:
        daemon.stop()
