"""What lies in a folder, and what is different."""

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


def test_a_folder_is_read_with_what_tells_its_files_apart(folder):
    tree = read_tree(str(folder), False, 100)
    found = (folder / "a").stat()
    assert tree.files == {"a": FileStamp(found.st_mtime_ns, 5, found.st_ino)}
    assert tree.folders == {"": folder.stat().st_ino}


def test_the_folders_in_it_are_read_where_that_is_wanted(folder):
    tree = read_tree(str(folder), True, 100)
    assert set(tree.files) == {"a", "sub/b", "sub/deep/c"}
    assert tree.folders == {
        "": folder.stat().st_ino,
        "sub": (folder / "sub").stat().st_ino,
        "sub/deep": (folder / "sub/deep").stat().st_ino,
    }


def test_links_are_files_and_nobody_goes_where_they_lead(folder):
    (folder / "up").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "not-there")
    assert set(read_tree(str(folder), True, 100).files) == {"a", "up", "nowhere", "sub/b", "sub/deep/c"}


@pytest.mark.parametrize(("recursive", "count"), [(False, 2), (True, 6)])
def test_more_files_and_folders_than_the_limit_are_refused(folder, recursive, count):
    read_tree(str(folder), recursive, count)
    with pytest.raises(TooManyFiles, match=f"^there are more than {count - 1} files and folders in it$"):
        read_tree(str(folder), recursive, count - 1)


@pytest.mark.parametrize(("path", "error"), [("not-there", FileNotFoundError), ("a", NotADirectoryError)])
def test_what_is_no_folder_can_not_be_read(folder, path, error):
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
def test_a_folder_inside_that_is_closed_or_gone_is_left_out(folder, monkeypatch, error):
    failing(monkeypatch, folder / "sub", error)
    tree = read_tree(str(folder), True, 100)
    assert (set(tree.files), set(tree.folders)) == ({"a"}, {""})


def test_an_error_that_may_pass_is_not_taken_for_an_empty_folder(folder, monkeypatch):
    failing(monkeypatch, folder / "sub", OSError)
    with pytest.raises(OSError):
        read_tree(str(folder), True, 100)


def test_a_file_that_goes_while_the_folder_is_read_is_left_out(folder, monkeypatch):
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
def test_a_file_is_changed_when_its_time_its_size_or_its_inode_is_another(new):
    assert compare({"a": OLD}, {"a": new}) == [("a", "changed", new)]


def test_what_came_and_went_is_told_by_path_and_what_stayed_is_not():
    before = {"b": OLD, "same": OLD}
    assert compare(before, {"c": OLD, "a": OLD, "same": OLD}) == [
        ("a", "created", OLD),
        ("b", "deleted", None),
        ("c", "created", OLD),
    ]
