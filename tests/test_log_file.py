"""The log file survives what other programs do to it."""

import os
from pathlib import Path

import pytest

from pushd.log_file import SharedLogFile


@pytest.fixture
def log(tmp_path: Path) -> SharedLogFile:
    """A log file with a line."""
    log: SharedLogFile = SharedLogFile.fromFullPath(str(tmp_path / "log"))
    log.write("first\n")
    return log


def test_truncated_file_continues_at_its_end(log: SharedLogFile) -> None:
    os.truncate(log.path, 0)
    log.write("second\n")
    assert Path(log.path).read_bytes() == b"second\n"


def test_lines_of_another_program_are_kept(log: SharedLogFile) -> None:
    with open(log.path, "a") as file:
        file.write("other\n")
    log.write("second\n")
    assert Path(log.path).read_bytes() == b"first\nother\nsecond\n"


@pytest.mark.parametrize("is_kept", [True, False])
def test_renamed_or_removed_file_is_opened_again(log: SharedLogFile, is_kept: bool) -> None:
    moved = Path(log.path).rename(f"{log.path}.moved")
    if not is_kept:
        moved.unlink()
    log.rotate_or_reopen()
    log.write("second\n")
    assert Path(log.path).read_bytes() == b"second\n"
    assert not is_kept or moved.read_bytes() == b"first\n"


def test_replaced_file_is_opened(log: SharedLogFile) -> None:
    Path(log.path).rename(f"{log.path}.moved")
    Path(log.path).write_text("new\n")
    log.rotate_or_reopen()
    log.write("second\n")
    assert Path(log.path).read_bytes() == b"new\nsecond\n"


def test_file_in_place_is_rotated(log: SharedLogFile) -> None:
    log.rotate_or_reopen()
    log.write("second\n")
    assert Path(f"{log.path}.1").read_bytes() == b"first\n"
    assert Path(log.path).read_bytes() == b"second\n"


def test_file_is_rotated_when_it_is_large(tmp_path: Path) -> None:
    log = SharedLogFile.fromFullPath(str(tmp_path / "log"), rotateLength=10)
    for _ in range(3):
        log.write("0123456789")
    assert {file.name for file in tmp_path.iterdir()} == {"log", "log.1", "log.2"}


def test_text_that_has_no_encoding_is_escaped(log: SharedLogFile) -> None:
    log.write("\udcff\n")
    assert Path(log.path).read_bytes() == b"first\n\\udcff\n"
