"""The packages: the source archive is complete, and the wheel built from it serves every supported Python."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from pushd_client.version import VERSION

from pushd import __version__

ROOT = Path(__file__).parent.parent
GENERATED = {"__pycache__", "node_modules", "dropin.cache", "private", "pushd_client.egg-info"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive."""
    folder = tmp_path_factory.mktemp("sdist")
    run("setup.py", "-q", "egg_info", "--egg-base", str(folder), "sdist", "--dist-dir", str(folder), folder=ROOT)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def source(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the source archive and return its directory."""
    folder = tmp_path_factory.mktemp("source")
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


@pytest.fixture(scope="module")
def pure_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without the extension."""
    folder = tmp_path_factory.mktemp("pure_wheel")
    run("setup.py", "-q", "bdist_wheel", "--dist-dir", str(folder), folder=source, PUSHD_PURE_WHEEL="1")
    (built,) = folder.glob("*.whl")
    return built


def run(*arguments: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> set[str]:
    """Return the files in a directory, and in those that it links to."""
    walked = (Path(root, name) for root, _, names in os.walk(folder, followlinks=True) for name in names)
    files = (path.relative_to(folder) for path in walked if path.suffix != ".so")
    return {str(path) for path in files if not GENERATED & set(path.parts)}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(opened.read(name).decode())


@pytest.mark.parametrize("name", ["pushd", "bench", "clients", "docs", "etc", "examples", "tests", "twisted", ".ci"])
def test_source_archive_contains_every_file_of_a_directory(source: Path, name: str) -> None:
    expected = contents(ROOT / name)
    assert expected
    assert contents(source / name) == expected


@pytest.mark.parametrize(
    "name",
    ["CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile", "README.md", "compose.yaml", "pyproject.toml", "setup.py"],
)
def test_source_archive_contains_top_level_files(source: Path, name: str) -> None:
    assert (source / name).read_bytes() == (ROOT / name).read_bytes()


def test_wheel_supports_every_python_from_the_oldest_on(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_wheel_without_the_extension_serves_every_platform(pure_wheel: Path) -> None:
    assert "-py3-none-any" in pure_wheel.name


def test_wheel_contains_package_data_and_plugin(wheel: Path) -> None:
    data = {f"pushd/{name}" for name in contents(ROOT / "pushd") if not name.endswith(".c")}
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    examples = {f"share/pushd/{name}" for name in contents(ROOT / "etc")}
    assert {re.sub(r"^pushd-[^/]+\.data/data/", "", name) for name in names} == data | examples | {
        "twisted/plugins/pushd_plugin.py",
        "share/man/man1/pushctl.1",
    }


def test_metadata_names_license_and_author(wheel: Path) -> None:
    fields = metadata(wheel)
    assert (fields["License-Expression"], fields["License-File"]) == ("MIT", "LICENSE")
    assert fields["Author"] == "pushd contributors"
    assert fields["Requires-Python"] == ">=3.11"
    assert "Framework :: Twisted" in fields.get_all("Classifier", [])


def described(source: Path, folder: Path, urls: str = "") -> str:
    """Return the description in the metadata of the unpacked source archive, with these lines in `[project.urls]`."""
    shutil.copytree(source, folder / "copy", symlinks=True)
    project = folder / "copy/pyproject.toml"
    project.write_text(f"{project.read_text(encoding='utf-8')}\n[project.urls]\n{urls}", encoding="utf-8")
    run("setup.py", "-q", "egg_info", "--egg-base", str(folder), folder=folder / "copy")
    return str(Parser().parsestr((folder / "pushd.egg-info/PKG-INFO").read_text(encoding="utf-8")).get_payload())


LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)]+)\)")


def test_links_of_the_description_are_those_of_the_readme(wheel: Path) -> None:
    assert metadata(wheel)["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert str(metadata(wheel).get_payload()).strip() == readme.strip()


def test_links_of_the_description_are_absolute_where_the_project_has_an_address(source: Path, tmp_path: Path) -> None:
    urls = 'Files = "https://code.example.org/pushd/blob/main"\nImages = "https://code.example.org/pushd/raw/main/"\n'
    links = LINK.findall(described(source, tmp_path, urls))
    assert len(links) > 20
    assert ("!", "https://code.example.org/pushd/raw/main/docs/images/first-minute.png") in links
    assert ("", "https://code.example.org/pushd/blob/main/docs/proxies.md") in links
    assert [link for _, link in links if not link.startswith(("http://", "https://"))] == []


def test_metadata_has_the_version_of_the_changelog(wheel: Path) -> None:
    newest = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and metadata(wheel)["Version"] == newest[1] == __version__


def test_clients_have_the_version_of_the_daemon() -> None:
    package, lock = (
        json.loads((ROOT / "clients/js" / name).read_text()) for name in ("package.json", "package-lock.json")
    )
    assert {VERSION, package["version"], lock["version"], lock["packages"][""]["version"]} == {__version__}


@pytest.mark.parametrize(
    "command", [["twisted.scripts.twistd", "pushd"], ["pushd.ctl.main"]], ids=["twistd", "pushctl"]
)
def test_programs_have_the_version(command: list[str]) -> None:
    module, *words = command
    code = f"from {module} import {'run' if words else 'main'} as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == [words[0] if words else "pushctl", __version__], done.stderr


VERSIONS = ("3.11", "3.12", "3.13", "3.14")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
CHECK = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
ETC = sorted(path.name for path in (ROOT / "etc").iterdir())


def python(version: str) -> str:
    """Return an interpreter of a version that can make environments; skip the test without one."""
    managed = Path(os.environ.get("PYENV_ROOT", "/nowhere")).glob(f"versions/{version}.*/bin/python3")
    for name in (sys.executable, f"python{version}", "/usr/bin/python3", *map(str, managed)):
        if program := shutil.which(name):
            done = subprocess.run([program, "-c", CHECK], capture_output=True, text=True, timeout=120)
            if done.stdout.strip() == version:
                return program
    pytest.skip(f"no Python {version} with its venv module")


class Installed:
    """The package, installed from a wheel or the source archive into an environment of its own."""

    def __init__(self, python: str, package: Path, folder: Path) -> None:
        self.folder = folder
        self.call(python, "-m", "venv", str(folder / "venv"))
        self.call(self.program("python"), "-m", "pip", "-q", "install", str(package))

    def program(self, name: str) -> str:
        """Return the path of a program of the environment."""
        return str(self.folder / "venv" / "bin" / name)

    def call(self, *command: str) -> str:
        """Run a command in an empty directory, without the modules of this tree; return its output."""
        empty = self.folder / "elsewhere"
        empty.mkdir(exist_ok=True)
        done = subprocess.run(command, cwd=empty, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout


ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"CC": "false"}
"""The environment of installations: no modules of this tree, and no compiler."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "version"), [*(("wheel", version) for version in VERSIONS), ("pure_wheel", OWN), ("archive", OWN)]
)
def test_installed_package_pushes_a_message(
    kind: str, version: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    installed = Installed(python(version), request.getfixturevalue(kind), tmp_path)
    extension = "import importlib.util as u; print(u.find_spec('pushd.net._fan_out') is not None)"
    assert installed.call(installed.program("python"), "-c", extension).strip() == str(kind == "wheel")
    assert sorted(path.name for path in (tmp_path / "venv/share/pushd").iterdir()) == ETC
    config = str(tmp_path / "venv/share/pushd/pushd.toml")
    assert "configuration is valid" in installed.call(
        installed.program("twistd"), "-n", "pushd", "--config", config, "--check"
    )
    listen = "tcp:0:interface=127.0.0.1"
    command = [installed.program("twistd"), "-n", "--pidfile=", "pushd", "--http", listen, "--tcp", listen]
    with subprocess.Popen(
        command, cwd=tmp_path / "elsewhere", env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as daemon:
        try:
            assert daemon.stdout
            log = "".join(itertools.takewhile(lambda line: "Demos: " not in line, daemon.stdout))
            found = re.search(r"Publish: curl -d hello (http://\S+)/pub/demo", log)
            assert found, log
            receipt = installed.call(installed.program("pushctl"), "--url", found[1], "pub", "demo", "hello")
            assert receipt.split()[1:] == ["demo", "0"]
        finally:
            daemon.terminate()
