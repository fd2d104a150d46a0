"""What docs/authentication.md shows: its commands, its configuration and its code do what it says."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.real import ROOT, Daemon, eventually
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
        assert eventually(lambda: 'transport="sse"} 1' in run(_METRICS))
        for block in (publishing, lines):
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                assert comparable(run(command)) == comparable(output), command
        while b"hello" not in (line := stream.stdout.readline()):
            assert line
    finally:
        stream.kill()
        stream.wait()


_METRICS = ""
