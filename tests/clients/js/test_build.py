"""The files that the daemon serves are the build of clients/js, and small."""

import gzip
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.programs import find_client_node

SERVED = Path(__file__).parent.parent.parent.parent / "pushd/api/pages/client"
USE = """
import { connect, type Message } from "pushd-client";
const client = connect("http://127.0.0.1:1/");
const show = (message: Message): string => message.channel;
console.log(typeof show, client.state);
client.close();
"""
OPTIONS = {"module": "NodeNext", "target": "ES2022", "strict": True, "lib": ["ES2023", "DOM"], "types": []}
MOST_BYTES = {"client.js": 6 * 1024, "client-tabs.js": 3 * 1024, "client-lease.js": 1024}


def run(*words: str | Path) -> None:
    node, folder = find_client_node()
    done = subprocess.run([node, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
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


@pytest.mark.slow
def test_package_can_be_imported_with_its_types(tmp_path: Path) -> None:
    node, folder = find_client_node()
    npm = Path(node).with_name("npm")
    source, user = tmp_path / "source", tmp_path / "user"
    shutil.copytree(folder, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (source / "node_modules").symlink_to(folder / "node_modules")
    done = subprocess.run([npm, "pack", "--json"], cwd=source, capture_output=True, text=True, timeout=120, check=True)
    (packed,) = json.loads(done.stdout[done.stdout.index("[") :])
    names = {file["path"] for file in packed["files"]}
    assert {f"dist/{name}.js" for name in ("client", "client-tabs", "client-lease", "client-element")} <= names
    assert "dist/client.d.ts" in names
    assert not [name for name in names if not name.startswith("dist/") and name != "package.json"]
    (user / "node_modules").mkdir(parents=True)
    with tarfile.open(source / packed["filename"]) as archive:
        archive.extractall(user / "node_modules", filter="data")
    (user / "node_modules/package").rename(user / "node_modules/pushd-client")
    (user / "use.mts").write_text(USE)
    (user / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["use.mts"]}))
    run(folder / "node_modules/typescript/bin/tsc", "--project", user)
    done = subprocess.run([node, "use.mjs"], cwd=user, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("function idle\n", "")


def test_units() -> None:
    run("node_modules/vitest/vitest.mjs", "run", "--reporter=dot", "--testTimeout=60000")


def test_the_lock_file_names_no_registry() -> None:
    _, folder = find_client_node()
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert not [name for name, package in packages.items() if "resolved" in package]
