"""The file of the audit log: private, appended to, opened anew, and whole lines."""

import os
import resource
import stat
from pathlib import Path

import pytest

from pushd.audit.output import STDOUT, AuditFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_a_new_file_or_one_that_exists(path: Path) -> None:
    before = os.umask(0)
    try:
        AuditFile(str(path)).close()
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    path.chmod(0o644)
    AuditFile(str(path)).close()
    assert mode(path) == 0o600


def test_lines_are_appended_also_after_another_program_has_truncated_the_file(path: Path) -> None:
    path.write_bytes(b"earlier\n")
    file = AuditFile(str(path))
    file.write(b"first\n")
    assert path.read_bytes() == b"earlier\nfirst\n"
    os.truncate(path, 0)
    file.write(b"second\n")
    assert path.read_bytes() == b"second\n"
    file.close()


def test_renamed_file_is_opened_anew(path: Path) -> None:
    file = AuditFile(str(path))
    file.write(b"first\n")
    moved = path.rename(path.with_suffix(".1"))
    file.reopen()
    file.write(b"second\n")
    assert (moved.read_bytes(), path.read_bytes(), mode(path)) == (b"first\n", b"second\n", 0o600)
    file.close()


def test_file_that_cannot_be_opened_anew_stays_in_use(path: Path) -> None:
    directory = path.parent / "logs"
    directory.mkdir()
    file = AuditFile(str(directory / "audit.log"))
    moved = directory.rename(path.parent / "moved")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.write(b"line\n")
    assert (moved / "audit.log").read_bytes() == b"line\n"
    file.close()


def test_line_that_was_written_in_part_is_ended_before_the_next(path: Path) -> None:
    """The kernel writes up to the limit of a file as it does up to the end of a full disk."""
    file = AuditFile(str(path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match="4 of 6 bytes"):
            file.write(b"first\n")
        with pytest.raises(OSError):
            file.write(b"second\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.write(b"third\n")
    assert path.read_bytes() == b"firs\nthird\n"
    file.close()


def test_pipe_that_nobody_reads_does_not_block(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError):
        AuditFile(str(path))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = AuditFile(str(path))
    with pytest.raises(OSError):
        for _ in range(100):
            file.write(b"x" * 65_536)
    file.close()
    os.close(reader)


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    file = AuditFile(STDOUT)
    file.write(b"line\n")
    file.reopen()
    file.write(b"another\n")
    file.close()
    assert capfd.readouterr().out == "line\nanother\n"
