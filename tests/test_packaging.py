"""The packages: the source archive is complete, and the wheel built from it serves every supported Python."""

import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = {"__pycache__", "dropin.cache", "private"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive and return the directory that it unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    run("setup.py", "-q", "egg_info", "--egg-base", str(folder), "sdist", "--dist-dir", str(folder), folder=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the source archive alone."""
    folder = tmp_path_factory.mktemp("wheel")
    run("setup.py", "-q", "bdist_wheel", "--dist-dir", str(folder), folder=source)
    (built,) = folder.glob("*.whl")
    return built


def run(*arguments: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not GENERATED & set(path.parts))
    return {str(path.relative_to(folder)) for path in files if path.suffix != ".so"}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(opened.read(name).decode())


@pytest.mark.parametrize("name", ["pushd", "bench", "docs", "etc", "examples", "tests", "twisted", ".ci"])
def test_source_archive_contains_every_file_of_a_directory(source: Path, name: str) -> None:
    expected = contents(ROOT / name)
    assert expected
    assert contents(source / name) == expected


@pytest.mark.parametrize("name", ["CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "setup.py"])
def test_source_archive_contains_top_level_files(source: Path, name: str) -> None:
    assert (source / name).read_bytes() == (ROOT / name).read_bytes()


def test_wheel_supports_every_python_from_the_oldest_on(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_wheel_contains_package_data_and_plugin(wheel: Path) -> None:
    data = {f"pushd/{name}" for name in contents(ROOT / "pushd") if not name.endswith(".c")}
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    assert names == data | {"twisted/plugins/pushd_plugin.py"}


def test_metadata_names_license_and_author(wheel: Path) -> None:
    fields = metadata(wheel)
    assert (fields["License-Expression"], fields["License-File"]) == ("MIT", "LICENSE")
    assert fields["Author"] == "pushd contributors"
    assert fields["Requires-Python"] == ">=3.11"
    assert "Framework :: Twisted" in fields.get_all("Classifier", [])
