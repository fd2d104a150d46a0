"""What docs/authentication.md shows: its commands, its configuration and its code do what it says."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from pushd.auth.jwt import FixedKeys, JwtVerifier
from pushd.config.issuers import build_issuers
from pushd.config.loader import load
from tests.daemon.real import ROOT, Daemon
from tests.programs import find_program

pytestmark = pytest.mark.system

PAGE = (ROOT / "docs" / "authentication.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
VARIABLE = (r"[A-Za-z0-9_-]{8}-(\d+)", r'"version":"[^"]+"')
"""What differs from run to run: the epoch of ids, and the version."""


def section(heading: str, level: str = "##") -> str:
    """Return a section of the page."""
    found = re.search(rf"^{level} {heading}\n(.*?)(?=^{level} |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shell(command: str, folder: Path) -> str:
    """Run a command with the tools of this checkout first in the path; return what it prints."""
    environ = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=30)
    return done.stdout.replace("\r\n", "\n")


def comparable(text: str) -> str:
    """Return a text without what differs from run to run."""
    return re.sub(VARIABLE[1], '"version":"0"', re.sub(VARIABLE[0], r"epoch-\1", text)).strip()


FIRST = section("The first token in two minutes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the user, with the tokens."""
    folder = tmp_path_factory.mktemp("first")
    (commands,) = blocks(FIRST, "sh")
    shell(commands.rpartition("twistd")[0], folder)
    return folder


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    """The daemon with the options of the page."""
    (commands,) = blocks(FIRST, "sh")
    options = commands.strip().splitlines()[-1].partition(" pushd ")[2].split()
    assert options
    daemon = Daemon(folder, *options)
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


def test_first_token_in_two_minutes(daemon: Daemon, folder: Path) -> None:
    find_program("curl", "curl")
    find_program("nc", "netcat-openbsd")

    def run(command: str) -> str:
        command = command.replace("localhost:8080", f"localhost:{daemon.http_port}")
        return shell(command.replace("localhost 8081", f"localhost {daemon.tcp_port}"), folder)

    subscribing, publishing, lines = blocks(FIRST, "console")
    stream = subprocess.Popen(
        ["bash", "-c", "exec " + subscribing[2:].replace("localhost:8080", f"localhost:{daemon.http_port}")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert stream.stdout is not None
        _read_until(stream.stdout, b"event: begin")
        for block in (publishing, lines):
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                assert comparable(run(command)) == comparable(output), command
        _read_until(stream.stdout, b"data: hello")
    finally:
        stream.kill()
        stream.wait()


def _read_until(stream: IO[bytes], line: bytes) -> None:
    """Read lines up to this one."""
    while line not in (read := stream.readline()):
        assert read


CONFIGURATIONS = [block for block in blocks(PAGE, "toml") if block.startswith("[auth")]


def test_configurations_are_accepted(folder: Path, tmp_path: Path) -> None:
    assert len(CONFIGURATIONS) > 2
    for block in CONFIGURATIONS:
        file = tmp_path / "pushd.toml"
        file.write_text(block, encoding="utf-8")
        assert load(file, {}, {}).auth.is_enabled


async def test_token_of_an_application_is_accepted(tmp_path: Path) -> None:
    secret = tmp_path / "2026-11.secret"
    secret.write_text("0" * 64 + "\n", encoding="utf-8")
    issuer = next(block for block in CONFIGURATIONS if "[auth.issuer" in block and "secret_files" in block)
    code = next(block for block in blocks(PAGE, "python") if "def pushd_token" in block)
    assert "/etc/pushd/2026-11.secret" in issuer and "/etc/pushd/2026-11.secret" in code
    names: dict[str, Any] = {}
    exec(code.replace("/etc/pushd/2026-11.secret", str(secret)), names)
    (tmp_path / "pushd.toml").write_text(issuer.replace("/etc/pushd/2026-11.secret", str(secret)), encoding="utf-8")
    settings = load(tmp_path / "pushd.toml", {}, {}).auth
    verifier = JwtVerifier(build_issuers(settings.issuers, _no_jwks), time.time)
    identity = await verifier.verify(names["pushd_token"](42))
    assert identity is not None and identity.subject == "42"
    assert identity.grant.may("subscribe", "users/42/**") and not identity.grant.may("subscribe", "users/43/x")


def _no_jwks(name: str, url: str) -> FixedKeys:
    raise AssertionError(f"{name} fetches {url}")
