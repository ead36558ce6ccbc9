"""The contract has no method that some kind of database is left out of: what is not elsewhere is here, and counted."""

from __future__ import annotations

import ast
import inspect
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import vfs_db
from vfs_db import DatabaseVFS, Directory


def used_of_fs(path: Path) -> Iterator[str]:
    """Yield the names of the attributes of `fs` that the test functions use which take the fixture of that name."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef) and any(one.arg == "fs" for one in function.args.args):
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fs":
                    yield node.attr


def test_every_public_method_is_called_over_every_kind_of_database() -> None:
    public = {name for name in dir(DatabaseVFS) if not name.startswith("_")}
    assert len(public) > 60
    assert public - {name for path in Path(__file__).parent.glob("test_*.py") for name in used_of_fs(path)} == set()


def is_on_disk(fs: DatabaseVFS) -> bool:
    return bool(fs.metadata_dir)


def test_after_closing_every_method_says_so(fs: DatabaseVFS, tmp_path: Path) -> None:
    """Whatever it is asked: even that nothing is there would be an answer, and a wrong one."""
    file = fs.file_write("f", b"content")
    root = fs.root_get()
    out, host = tmp_path / "out", tmp_path / "host"
    host.mkdir()
    (host / "f").write_bytes(b"host")
    given = {
        "path": "f", "src": "f", "dst": "g", "old_path": "f", "new_path": "g", "target": "f", "pattern": "*",
        "directory": root, "entry": file, "data": b"x", "text": "x", "size": 0, "mode": 0o600, "owner": "me", "group": "us",
        "dest": out, "host_dir": host, "host_path": host / "f",
    }  # fmt: skip
    fs.close()
    answers = {}
    for name, method in inspect.getmembers(fs, inspect.ismethod):
        parameters = inspect.signature(method).parameters.values()
        needed = [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
        if name.startswith("_") or name in ("close", "destroy"):
            continue
        try:
            answer = method(*(given[one] for one in needed))
            if isinstance(answer, AbstractContextManager):
                with answer:
                    pass
            elif isinstance(answer, Iterator):
                answer = list(answer)
            answers[name] = answer
        except ValueError as error:
            if "the filesystem is closed" not in str(error):
                answers[name] = error
    for pattern in ("", "f", "x/y"):  # which are looked up, not listed
        with pytest.raises(ValueError, match="the filesystem is closed"):
            fs.glob(pattern)
    assert answers == {}
    assert [path.name for path in host.iterdir()] == ["f"]
    assert not out.exists()


def test_snapshot_is_of_one_state_or_refused(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"before")
    if not is_on_disk(fs):
        with pytest.raises(io.UnsupportedOperation, match="snapshot"), fs.snapshot():
            pass
        return
    with fs.snapshot() as then:
        fs.file_write("f", b"after")
        fs.file_create("g")
        assert then.file_read("f") == b"before"
        assert not then.exists("g")
    assert fs.file_read("f") == b"after"


def test_backup_is_the_same_tree_or_refused(fs: DatabaseVFS, tmp_path: Path) -> None:
    fs.makedirs("d/e")
    fs.file_write("d/f", b"content")
    if not is_on_disk(fs):
        with pytest.raises(io.UnsupportedOperation):
            fs.backup(tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        return
    fs.backup(tmp_path / "backup")
    with vfs_db.open(tmp_path / "backup") as copy:
        assert copy.file_read("d/f") == b"content"
        assert list(copy.walk()) == list(fs.walk())


def test_history_is_told_or_refused(fs: DatabaseVFS) -> None:
    for size in (1, 2, 3):
        fs.file_write("f", bytes(size))
    if not is_on_disk(fs):
        with pytest.raises(io.UnsupportedOperation):
            fs.history("f")
        return
    assert [one.entry.metadata.size for one in fs.history("f")][:3] == [3, 2, 1]


def test_what_concerns_the_whole_changes_nothing_in_the_tree(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e")
    fs.file_write("d/f", b"first")
    fs.file_write("d/f", b"content")
    before = [(path, entry) for path, entry in fs.find()]
    for call in (fs.sync, fs.refresh, fs.compact, lambda: fs.compact(keep_history=False), fs.repair):
        call()
        assert [(path, entry) for path, entry in fs.find()] == before
        assert fs.file_read("d/f") == b"content"
        assert list(fs.check()) == []
    assert fs.repair(orphans="free") == []
    assert not fs.is_closed


def test_repair_finds_what_no_directory_lists(fs: DatabaseVFS) -> None:
    made = fs.file_write("f", b"content")
    fs.db_metadata.delete(made.metadata.id)
    fs.refresh()
    assert [one.kind for one in fs.repair(orphans="free")][:1] == ["unreadable"]
    assert list(fs.check()) == []
    assert not fs.exists("f")


def test_directories_of_one_name_are_merged(fs: DatabaseVFS) -> None:
    for path in ("a/d/x", "a/y", "b/d/z"):
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.file_write(path, path.encode())
    fs.copy_into("a", "b")
    assert [fs.file_read(path) for path in ("b/d/x", "b/y", "b/d/z")] == [b"a/d/x", b"a/y", b"b/d/z"]


@pytest.mark.parametrize("count", [3, 1500])
def test_what_a_directory_holds_is_given_by_id(fs: DatabaseVFS, count: int) -> None:
    wanted = [f"{number:04}" for number in range(count)]
    with fs.transaction():
        directory = fs.dir_create("d")
        for name in reversed(wanted):
            fs.file_create(f"d/{name}")
    fs.rename("d", "e")
    assert isinstance(directory, Directory)
    assert [entry.metadata.name for entry in fs.each_by_name(directory)] == wanted
    assert sorted(entry.metadata.name for entry in fs.list_of(directory)) == wanted
    assert sorted(entry.metadata.name for entry in fs.each_of(directory)) == wanted
