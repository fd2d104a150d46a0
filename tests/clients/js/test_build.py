"""The files that the daemon serves are the build of clients/js, and small."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.programs import find_client_node

SERVED = Path(__file__).parent.parent.parent.parent / "pushd/api/pages/client"
MOST_BYTES = {"client.js": 6 * 1024, "client-tabs.js": 3 * 1024}


def run(*words: str | Path) -> None:
    node, folder = find_client_node()
    done = subprocess.run([node, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", MOST_BYTES)
def test_the_size_has_a_limit(name: str) -> None:
    assert len(gzip.compress((SERVED / name).read_bytes(), 9, mtime=0)) <= MOST_BYTES[name]


def test_what_is_served_is_the_build_of_the_source(tmp_path: Path) -> None:
    run("build.mjs", tmp_path)
    built = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert built == {file.name: file.read_bytes() for file in SERVED.iterdir()}
    assert built.keys() >= MOST_BYTES.keys()


def test_the_types_are_right() -> None:
    run("node_modules/typescript/bin/tsc", "--noEmit")


def test_units() -> None:
    run("node_modules/vitest/vitest.mjs", "run", "--reporter=dot")


def test_the_lock_file_names_no_registry() -> None:
    _, folder = find_client_node()
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert not [name for name, package in packages.items() if "resolved" in package]
