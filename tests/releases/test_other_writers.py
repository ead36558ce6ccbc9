"""Folders that others wrote: earlier releases, and the reference where it appended to what we had closed."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import ourdb
import vfs_db
from tests.releases.make import content_of, summary_of

RELEASES = sorted(Path(__file__).parent.glob("*.tar.xz"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a folder with what one release wrote."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_there_is_an_image_of_a_release() -> None:
    assert RELEASES


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_a_database_that_an_earlier_release_wrote_holds_what_it_held(release: Path, name: str) -> None:
    expected = json.loads((release / "content.json").read_text())[name]
    with ourdb.new(release / name, read_only=True) as reader:
        assert content_of(reader) == expected
    with ourdb.new(release / name) as db:
        assert content_of(db) == expected
        assert list(db.check()) == []
        added = db.set(data=b"by this one")
        assert str(added) not in expected
        db.compact()
    with ourdb.new(release / name) as db:
        assert content_of(db) == expected | {str(added): [b"by this one".hex()]}


@pytest.mark.parametrize("name", ["tree", "killed-tree"])
def test_a_filesystem_that_an_earlier_release_wrote_holds_what_it_held(release: Path, name: str) -> None:
    expected = json.loads((release / "content.json").read_text())[name]
    with vfs_db.open(release / name, read_only=True) as reader:
        assert summary_of(reader) == expected
    with vfs_db.open(release / name) as fs:
        assert summary_of(fs) == expected
        assert list(fs.check()) == []
        fs.file_write("a/b/by this one", b"x")
        fs.compact()
    with vfs_db.open(release / name) as fs:
        assert summary_of(fs).keys() == expected.keys() | {"/a/b/by this one"}
        assert list(fs.check()) == []


class Reference:
    """Writes to a closed folder as the reference does: it appends, sets slot and `.inc`, and knows of no other file."""

    def __init__(self, folder: Path, keysize: int, file_size: int) -> None:
        self.folder = folder
        self.keysize = keysize
        self.file_size = file_size

    def slot(self, record_id: int) -> bytes:
        with (self.folder / "lookup" / "data").open("rb") as table:
            table.seek(record_id * self.keysize)
            return table.read(self.keysize)

    def put_slot(self, record_id: int, slot: bytes) -> None:
        with (self.folder / "lookup" / "data").open("r+b") as table:
            table.seek(record_id * self.keysize)
            table.write(slot)

    def set(self, record_id: int, data: bytes) -> None:
        number = max(int(path.stem) for path in self.folder.glob("*.db"))
        file = self.folder / f"{number}.db"
        if file.stat().st_size >= self.file_size:
            number += 1
            file = self.folder / f"{number}.db"
            file.write_bytes(b"\0")
        at = file.stat().st_size
        with file.open("ab") as records:
            records.write(struct.pack("<HI", len(data), crc32(data)) + self.slot(record_id).rjust(6, b"\0") + data)
        self.put_slot(record_id, struct.pack(">HI", number, at)[6 - self.keysize :])

    def add(self, data: bytes) -> int:
        inc = self.folder / "lookup" / ".inc"
        record_id = int(inc.read_text())
        inc.write_text(str(record_id + 1))
        self.set(record_id, data)
        return record_id

    def delete(self, record_id: int) -> None:
        location = int.from_bytes(self.slot(record_id), "big")
        with (self.folder / f"{location >> 32}.db").open("r+b") as records:
            records.seek(location & 0xFFFFFFFF)
            size = int.from_bytes(records.read(2), "little")
            records.seek(location & 0xFFFFFFFF)
            records.write(bytes(12 + size))
        self.put_slot(record_id, bytes(self.keysize))


@pytest.mark.parametrize("keysize", [2, 3, 4, 6])
def test_what_the_reference_appended_after_our_close_is_read_and_kept(tmp_path: Path, keysize: int) -> None:
    """In turns: none takes the place of the other's records, nor gives out its ids."""
    file_size = 400 if keysize == 6 else 1 << 29
    config: dict[str, Any] = {"record_nr_max": 500, "keysize": keysize, "file_size": file_size}
    expected: dict[int, list[bytes]] = {}
    for turn in range(4):
        with ourdb.new(tmp_path / "db", **config) as db:
            assert {record_id: db.get_history(record_id, 100) for record_id in db} == expected
            assert list(db.check()) == []
            for number in range(5):
                expected[db.set(data=b"ours %d" % number * 9)] = [b"ours %d" % number * 9]
            for record_id in list(expected)[::3]:
                db.set(id=record_id, data=b"ours %d" % turn)
                expected[record_id].insert(0, b"ours %d" % turn)
            gone = min(expected)
            db.delete(gone)
            del expected[gone]
        other = Reference(tmp_path / "db", keysize, file_size)
        for number in range(7):
            data = b"the other's %d" % number * 5
            expected[other.add(data)] = [data]
        for record_id in list(expected)[::2]:
            other.set(record_id, b"theirs %d" % turn)
            expected[record_id].insert(0, b"theirs %d" % turn)
        gone = min(expected)
        other.delete(gone)
        del expected[gone]
    with ourdb.new(tmp_path / "db") as db:
        assert {record_id: db.get_history(record_id, 100) for record_id in db} == expected
        assert list(db.check()) == []
        db.compact()
        assert {record_id: db.get_history(record_id, 100) for record_id in db} == expected
