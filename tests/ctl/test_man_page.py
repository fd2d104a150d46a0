"""The manual page is current, complete, and free of errors of markup."""

import shutil
import subprocess

import pytest

from pushd.ctl.command_line import build_parser
from pushd.ctl.completion import actions_of
from pushd.ctl.man_page import format_man_page
from tests.daemon.real import ROOT

PAGE = ROOT / "docs/pushctl.1"


def test_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == format_man_page(build_parser()), "run `make man`"


def test_every_argument_is_described() -> None:
    assert not [action for action in actions_of(build_parser()) if not action.help and action.metavar != "COMMAND"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
def test_markup_has_no_errors() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-rF0", str(PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    assert "pushctl health && deploy" in done.stdout
