"""Snapshots of folders, and their differences."""

import os
from pathlib import Path

import pytest

from pushd.sources.tree import FileStamp, TooManyFiles, compare, read_tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_text("12345")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "b").touch()
    (tmp_path / "sub" / "deep" / "c").touch()
    return tmp_path


def test_snapshot_has_file_stamps(folder):
    tree = read_tree(str(folder), False, 100)
    found = (folder / "a").stat()
    assert tree.files == {"a": FileStamp(found.st_mtime_ns, 5, found.st_ino)}
    assert tree.folders == {"": folder.stat().st_ino}


def test_subfolders_are_read_if_recursive(folder):
    tree = read_tree(str(folder), True, 100)
    assert set(tree.files) == {"a", "sub/b", "sub/deep/c"}
    assert tree.folders == {
        "": folder.stat().st_ino,
        "sub": (folder / "sub").stat().st_ino,
        "sub/deep": (folder / "sub/deep").stat().st_ino,
    }


def test_links_are_not_followed(folder):
    (folder / "up").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "not-there")
    assert set(read_tree(str(folder), True, 100).files) == {"a", "up", "nowhere", "sub/b", "sub/deep/c"}


@pytest.mark.parametrize(("recursive", "count"), [(False, 2), (True, 6)])
def test_too_many_files_are_refused(folder, recursive, count):
    read_tree(str(folder), recursive, count)
    with pytest.raises(TooManyFiles, match=f"^more than {count - 1} files and folders$"):
        read_tree(str(folder), recursive, count - 1)


@pytest.mark.parametrize(("path", "error"), [("not-there", FileNotFoundError), ("a", NotADirectoryError)])
def test_missing_folder_or_file_raises(folder, path, error):
    with pytest.raises(error):
        read_tree(str(folder / path), True, 100)


def failing(monkeypatch: pytest.MonkeyPatch, path: Path, error: type[OSError]) -> None:
    scandir = os.scandir

    def scan(wanted: str) -> object:
        if wanted == str(path):
            raise error(str(path))
        return scandir(wanted)

    monkeypatch.setattr(os, "scandir", scan)


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError, NotADirectoryError])
def test_unreadable_subfolder_is_omitted(folder, monkeypatch, error):
    failing(monkeypatch, folder / "sub", error)
    tree = read_tree(str(folder), True, 100)
    assert (set(tree.files), set(tree.folders)) == ({"a"}, {""})


def test_temporary_error_of_a_subfolder_is_raised(folder, monkeypatch):
    failing(monkeypatch, folder / "sub", OSError)
    with pytest.raises(OSError):
        read_tree(str(folder), True, 100)


def test_file_deleted_while_reading_is_omitted(folder, monkeypatch):
    scandir = os.scandir

    def scan(path: str) -> object:
        with scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        (folder / "a").unlink(missing_ok=True)
        return type("Entries", (), {"__enter__": lambda _: iter(found), "__exit__": lambda *_: None})()

    monkeypatch.setattr(os, "scandir", scan)
    assert read_tree(str(folder), False, 100).files == {}


OLD = FileStamp(1, 1, 1)


@pytest.mark.parametrize("new", [FileStamp(2, 1, 1), FileStamp(1, 2, 1), FileStamp(1, 1, 2)])
def test_file_is_changed_if_time_size_or_inode_differ(new):
    assert compare({"a": OLD}, {"a": new}) == [("a", "changed", new)]


def test_differences_are_sorted_by_path():
    before = {"b": OLD, "same": OLD}
    assert compare(before, {"c": OLD, "a": OLD, "same": OLD}) == [
        ("a", "created", OLD),
        ("b", "deleted", None),
        ("c", "created", OLD),
    ]
