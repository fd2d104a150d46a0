"""Shell completion: bash completes commands, options, their values, and files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pushd.ctl.main import main

_COMPLETE = """
source "$1"; shift
COMP_WORDS=(pushctl "$@"); COMP_CWORD=$#; COMP_LINE="pushctl $*"; COMP_POINT=${#COMP_LINE}
_shtab_pushctl pushctl "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    """The completion script of bash."""
    assert main(["completion", "bash"]) == 0
    file = tmp_path / "pushctl.bash"
    file.write_text(capsys.readouterr().out)
    return file


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes(script: Path, tmp_path: Path) -> None:
    (tmp_path / "web.token").touch()

    def complete(*words: str) -> set[str]:
        command = ["bash", "-c", _COMPLETE, "bash", str(script), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
        assert done.stderr == ""
        return {line.strip() for line in done.stdout.splitlines()}

    assert complete("p") == {"pub"}
    assert {"sub", "health", "token", "completion"} <= complete("")
    assert complete("sub", "demo", "--tr") == {"--transport"}
    assert complete("sub", "demo", "--transport", "l") == {"longpoll"}
    assert complete("token", "iss") == {"issue"}
    assert "web.token" in complete("pub", "demo", "--token-file", "we")
    assert "web.token" in complete("pub", "demo", "--file", "we")
    assert complete("completion", "z") == {"zsh"}


@pytest.mark.parametrize(("shell", "words"), [("zsh", "#compdef pushctl"), ("tcsh", "complete pushctl ")])
def test_script_of_other_shells(shell: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert words in capsys.readouterr().out
