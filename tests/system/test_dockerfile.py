"""The Dockerfile builds and starts: its lines are executed in a Debian root without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.programs import find_program

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
HOST_FILES = {
    "/etc/resolv.conf": "etc/resolv.conf",
    "/etc/hosts": "etc/hosts",
    os.environ.get("PIP_CERT", "/nowhere"): "etc/certificates-of-the-host.crt",
}
"""Files of this machine that pip needs to reach a package registry, and their places in the root."""
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the instructions of the Dockerfile with their arguments."""
    for line in TEXT.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


class Root:
    """A directory with a Debian system, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        """The last USER, WORKDIR, ENTRYPOINT and so on."""

    def command(self, *words: str, user: str = "root", **environment: str) -> list[str]:
        """Return a command of this machine that runs one in the root."""
        variables = [f"{name}={value}" for name, value in (_outer() | self.environment | environment).items()]
        return ["chroot", f"--userspec={user}", str(self.folder), "/usr/bin/env", "-i", *variables, *words]

    def run(self, *words: str, **options: str) -> str:
        """Run a command; return its output."""
        done = subprocess.run(self.command(*words, **options), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def execute(self, word: str, rest: str, stages: Mapping[str, "Root"]) -> None:
        """Execute an instruction."""
        if word == "RUN":
            self.run("/bin/sh", "-c", rest)
        elif word == "COPY":
            *options, source, target = shlex.split(rest)
            if options:
                copy(stages[options[0].removeprefix("--from=")].folder / source[1:], self.folder / target[1:])
            else:
                copy_context(self.folder / target[1:])
        elif word == "ENV":
            self.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        else:
            self.settings[word] = rest


def _outer() -> dict[str, str]:
    """Return the variables of this machine that pip needs, and a path."""
    names = ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
    certificates = {"PIP_CERT": "/etc/certificates-of-the-host.crt"} if "PIP_CERT" in os.environ else {}
    return (
        {name: os.environ[name] for name in names if name in os.environ}
        | certificates
        | {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
        }
    )


def copy(source: Path, target: Path) -> None:
    """Copy a directory of another stage, with its device files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True, timeout=120)


def copy_context(target: Path) -> None:
    """Copy what git tracks, but for what .dockerignore leaves out."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    for name in listed.stdout.splitlines():
        if name.split("/")[0] not in ignored:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Build the image, and return its last stage."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a Debian root")
    mmdebstrap = find_program("mmdebstrap", "mmdebstrap")
    folder = tmp_path_factory.mktemp("image")
    base = folder / "base"
    (suite,) = set(re.findall(r"^FROM debian:(\w+)-slim", TEXT, re.MULTILINE))
    made = subprocess.run(
        [mmdebstrap, "--quiet", "--variant=minbase", suite, str(base)], capture_output=True, text=True, timeout=600
    )
    if made.returncode != 0:
        pytest.skip(f"mmdebstrap is not permitted here: {made.stderr[-300:]}")
    for source, target in HOST_FILES.items():
        if Path(source).exists():
            shutil.copy2(source, base / target)
    stages: dict[str, Root] = {}
    for word, rest in instructions():
        if word == "FROM":
            root = Root(folder / f"stage{len(stages)}")
            copy(base, root.folder)
            stages[rest.partition(" AS ")[2]] = root
        else:
            root.execute(word, rest, stages)
    return root


def test_container_runs_without_root_and_is_healthy(image: Root) -> None:
    user = image.settings["USER"]
    command = [*json.loads(image.settings["ENTRYPOINT"]), "--open"]
    folder = image.settings["WORKDIR"]
    start = f"cd {folder} && exec {shlex.join(command)}"
    ports = {"PUSHD_HTTP_LISTEN": "tcp:0", "PUSHD_TCP_LISTEN": "tcp:0"}
    here = image.command("/bin/sh", "-c", start, user=user, **ports)
    with subprocess.Popen(here, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout
            log = ""
            for line in daemon.stdout:
                log += line
                if "Demos: " in line:
                    break
            found = re.search(r"Demos: (\S+)/demo/", log)
            assert found, log
            assert f"history in {folder}" in log
            publish = Request(f"{found[1]}/pub/demo", b"hello")
            assert json.loads(urlopen(publish, timeout=60).read())["channel"] == "demo"
            check = json.loads(image.settings["HEALTHCHECK"].partition("CMD ")[2])
            image.run(*check, user=user, PUSHCTL_URL=found[1])
        finally:
            daemon.terminate()


def test_container_that_lets_anyone_publish_is_refused(image: Root) -> None:
    words = json.loads(image.settings["ENTRYPOINT"])
    done = subprocess.run(
        image.command(*words, user=image.settings["USER"]), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "start with --open to let anyone publish and subscribe" in done.stderr
