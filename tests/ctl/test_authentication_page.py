"""The commands of docs/authentication.md have the output that is printed there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.daemon.real import ROOT, Daemon

pytestmark = pytest.mark.system

PAGE = (ROOT / "docs/authentication.md").read_text(encoding="utf-8")
SECTIONS = ("## From the command line", "## Explain a refusal")
_RANDOM = re.compile(r"\b[0-9A-Za-z]{8}-[0-9]+\b|\beyJ\S+")
"""Message ids and JSON Web Tokens."""


class Example(NamedTuple):
    """A command and its output."""

    command: str
    output: str


def examples() -> Iterator[Example]:
    """Yield the commands of the sections in their order."""
    for section in SECTIONS:
        text = PAGE.partition(section)[2].partition("\n## ")[0]
        for block in re.findall(r"```console\n(.*?)```", text, re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                yield Example(command, output)


def test_commands_have_the_documented_output(tmp_path: Path) -> None:
    program = tmp_path / "pushctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pushd.ctl.main "$@"\n')
    program.chmod(0o755)
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    daemon: Daemon | None = None
    shown: list[Example] = []
    try:
        for command, _ in examples():
            if command.startswith("twistd "):
                options = command.removeprefix("twistd -n pushd ").removesuffix(" &").split()
                daemon = Daemon(tmp_path, *options)
                environ["PUSHCTL_URL"] = f"http://127.0.0.1:{daemon.http_port}"
                shown.append(Example(command, ""))
                continue
            done = subprocess.run(
                ["bash", "-c", f"umask 077; {command}"],
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                timeout=30,
            )
            shown.append(Example(command, done.stdout + done.stderr))
    finally:
        if daemon is not None:
            daemon.stop()
    assert daemon is not None
    assert len(shown) > 10
    assert [Example(each.command, _RANDOM.sub("RANDOM", each.output)) for each in shown] == [
        Example(each.command, _RANDOM.sub("RANDOM", each.output)) for each in examples()
    ]


def test_sections_have_examples() -> None:
    assert (
        sum("pushctl token explain" in each.command.replace("--token-file ops.token ", "") for each in examples()) == 2
    )


def test_every_check_is_documented() -> None:
    from pushd.auth.token_checks import Check

    section = PAGE.partition("## Explain a refusal")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", section, re.M)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert {*Check, "deny", "allow", "operate", "off"} <= named
