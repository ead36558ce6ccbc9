"""Images that the reference left: same tree, same contents, same metadata; and a filesystem made of one."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import ourdb
import vfs_db
from vfs_db import DatabaseVFS, Directory, File, Symlink

_SPEC = importlib.util.spec_from_file_location("golden_cases", Path(__file__).parents[1] / "golden" / "cases.py")
assert _SPEC is not None
assert _SPEC.loader is not None
cases = importlib.util.module_from_spec(_SPEC)
sys.modules["golden_cases"] = cases
_SPEC.loader.exec_module(cases)

NAMES = cases.names("vfs_image")


def unpacked(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return an image as a folder that vfs_db.open takes, and what the reference says is in it."""
    case = cases.unpack(name, folder)
    for part in ("data", "metadata"):
        shutil.copytree(case / f"{part}_lookup_data", case / part / "lookup")
        ourdb.new(
            path=str(case / part), record_nr_max=3000, record_size_max=65535
        ).close()  # so small a table needs it said
    return case, cases.load(case)


def assert_same_tree(fs: DatabaseVFS, golden: dict[str, Any], *, is_converted: bool = False) -> None:
    items = golden["final_tree"]
    found = {(path, 0 if is_converted else entry.metadata.id): entry for path, entry in fs.find("/") if path != "/"}
    assert len(found) == len(items)
    if is_converted:  # ids are new, and what had a name that was there already has another one
        items = list({item["path"]: item for item in reversed(items)}.values())
    for item in items:
        path, expected = item["path"], item["entry"]
        entry = found[path, 0 if is_converted else expected["id"]]
        for field in ("name", "size", "created_at", "modified_at", "accessed_at", "mode", "owner", "group"):
            assert getattr(entry.metadata, field) == expected[field], (path, field)
        assert entry.metadata.file_type.name == expected["kind"]
        if isinstance(entry, File) and item["read"]["ok"]:
            data, result = fs.file_read(path), item["read"]["result"]
            assert (len(data), hashlib.sha256(data).hexdigest()) == (result["len"], result["sha256"])
        if isinstance(entry, Symlink):
            assert entry.target == expected["target"]


@pytest.mark.parametrize("name", NAMES)
def test_image_of_the_reference_reads_as_the_reference_read_it(name: str, tmp_path: Path) -> None:
    folder, golden = unpacked(name, tmp_path)
    with vfs_db.open(folder) as fs:
        assert_same_tree(fs, golden)
        for call in (lambda: fs.file_write("new", b"x"), lambda: fs.dir_create("d"), fs.repair):
            with pytest.raises(OSError, match="Read-only"):
                call()
        # its copies share their chunks with what they were copied from, and names may be there twice
        assert {problem.kind for problem in fs.check()} <= {"name", "shared"}


@pytest.mark.parametrize("name", NAMES)
def test_converted_image_is_the_same_tree_and_can_be_written(name: str, tmp_path: Path) -> None:
    folder, golden = unpacked(name, tmp_path)
    vfs_db.convert(folder, tmp_path / "new")
    with vfs_db.open(tmp_path / "new") as fs:
        assert_same_tree(fs, golden, is_converted=True)
        assert list(fs.check()) == []
        fs.file_write("written", b"x")
        assert isinstance(fs.get("/"), Directory)
    with pytest.raises(FileExistsError):
        vfs_db.convert(folder, tmp_path / "new")


@pytest.mark.parametrize("is_made", [False, True], ids=["new folder", "empty folder"])
def test_a_conversion_that_fails_leaves_the_destination_as_it_was(tmp_path: Path, is_made: bool) -> None:
    """Here it fails half-way through the entries, as the caller makes an error of the warning about a damaged one."""
    with vfs_db.open(tmp_path / "source") as fs:
        fs.file_write("first", b"first" * 1000)
        fs.file_write("damaged", b"x")
        assert isinstance(fs.db_metadata, ourdb.OurDB)
        location = fs.db_metadata.lookup(fs.get("damaged").metadata.id)
        fs.sync()
    with (tmp_path / "source" / "metadata" / "0.db").open("r+b") as file:
        file.seek(location.position + 14)
        file.write(b"\xff\xfe")
    destination = tmp_path / "above" / "new"
    if is_made:
        destination.mkdir(parents=True)
    with warnings.catch_warnings(), pytest.raises(vfs_db.DamagedEntry):
        warnings.simplefilter("error")
        vfs_db.convert(tmp_path / "source", destination)
    assert (tmp_path / "above").exists() == is_made
    assert list(destination.glob("*")) == []
    with pytest.raises(FileNotFoundError):
        vfs_db.convert(tmp_path / "nowhere", destination)
    assert (tmp_path / "above").exists() == is_made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problems = vfs_db.convert(tmp_path / "source", destination)
    assert "unreadable" in {problem.kind for problem in problems}
    with vfs_db.open(destination) as fs:
        assert fs.file_read("first") == b"first" * 1000


def test_damaged_record_of_an_image_hides_nothing_else(tmp_path: Path) -> None:
    folder, golden = unpacked(NAMES[-1], tmp_path)
    newest = golden["state"]["id_table"]
    entry = next(item for item in golden["final_tree"] if item["entry"]["kind"] == "file")
    table = (folder / "metadata/lookup/data").read_bytes()
    slot = table[6 * newest[str(entry["entry"]["id"])] :][:6]
    position = int.from_bytes(slot[2:], "big")
    with (folder / "metadata/0.db").open("r+b") as file:
        file.seek(position + 14)
        file.write(b"damage")
    with vfs_db.open(folder, read_only=True) as fs:
        with pytest.warns(vfs_db.DamagedEntry):
            others = {path for path, _ in fs.find("/")}
        expected = {item["path"] for item in golden["final_tree"]}
        assert expected - others == {entry["path"]}
        assert ("unreadable", entry["entry"]["id"]) in {(problem.kind, problem.entry_id) for problem in fs.check()}
