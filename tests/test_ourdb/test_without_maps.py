"""Where files can't be mapped and folders can't be locked by the system, as in WebAssembly, all else is the same."""

from __future__ import annotations

import mmap
import random
from pathlib import Path

import pytest

import ourdb
import vfs_db
from ourdb import OurDB
from ourdb.disk import Disk


class Plain(Disk):
    """A system whose maps would be copies, which see no later write: none may be made."""

    maps_files = False
    locks_folders = False

    def map(self, fd: int, size: int) -> mmap.mmap:
        raise AssertionError(f"{size} bytes of descriptor {fd} were mapped")


@pytest.mark.parametrize("config", [{}, {"keysize": 6, "file_size": 3000}, {"keysize": 3}])
@pytest.mark.parametrize("level", ["normal", "full", "off"])
def test_a_database_answers_as_a_dict_does(tmp_path: Path, level: ourdb.db.Synchronous, config: dict[str, int]) -> None:
    choose = random.Random(3)
    given = {"incremental_mode": False, "record_nr_max": 1000, **config}
    model: dict[int, list[bytes]] = {}
    db = OurDB(str(tmp_path / "db"), given, synchronous=level, disk=Plain())
    for step in range(1500):
        record_id = choose.randrange(40)
        what = choose.random()
        if what < 0.6:
            data = b"%d" % step * choose.randrange(1, 20)
            db.set(id=record_id, data=data)
            model.setdefault(record_id, []).insert(0, data)
        elif what < 0.7 and record_id in model:
            db.delete(record_id)
            del model[record_id]
        elif what < 0.75:
            db.sync()
        elif what < 0.76:
            db.compact()
        elif what < 0.78:
            db.close()
            db = OurDB(str(tmp_path / "db"), {}, synchronous=level, disk=Plain())
        elif record_id in model:
            newest = model[record_id][0]
            view = memoryview(bytearray(5))
            assert (db.get(record_id), db.get_history(record_id, 3)) == (newest, model[record_id][:3])
            assert db.read_part(record_id, 1, 4) == newest[1:4]
            assert view[: db.read_into(record_id, view, 1)] == newest[1:6]
        else:
            assert record_id not in db
    assert {one: db.get_history(one, 99) for one in db} == model
    assert list(db.check()) == []
    db.close()


def test_a_reader_sees_what_the_writer_commits(tmp_path: Path) -> None:
    with OurDB(str(tmp_path / "db"), {}, disk=Plain()) as writer:
        record_id = writer.set(data=b"one")
        with OurDB(str(tmp_path / "db"), {}, disk=Plain(), read_only=True) as reader:
            assert reader.get(record_id) == b"one"
            for data in (b"two", b"three"):
                writer.set(id=record_id, data=data)
                writer.sync()
                assert reader.get(record_id) == data
            with reader.snapshot() as then:
                writer.sync()
                writer.set(id=record_id, data=b"four")
                writer.sync()
                with pytest.raises(ourdb.SnapshotOvertaken):
                    then.get(record_id)


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = OurDB(str(tmp_path / "db"), {}, disk=Plain())
    with pytest.raises(ourdb.DatabaseLocked):
        OurDB(str(tmp_path / "db"), {}, disk=Plain())
    with OurDB(str(tmp_path / "other"), {}, disk=Plain()):
        first.close()
        with OurDB(str(tmp_path / "db"), {}, disk=Plain()) as second, pytest.raises(ourdb.DatabaseLocked):
            second.set(data=b"there")
            OurDB(str(tmp_path / "db"), {}, disk=Plain())


def test_a_filesystem_works(tmp_path: Path) -> None:
    for expected in (0, 1, 2):
        data = OurDB(str(tmp_path / "data"), {"incremental_mode": False}, disk=Plain())
        metadata = OurDB(str(tmp_path / "metadata"), {"incremental_mode": False}, disk=Plain())
        with vfs_db.new(data, metadata) as fs:
            assert len(fs.dir_list("/")) == expected
            with fs.open(f"{expected}", "wb") as file:
                file.write(bytes(range(256)) * 1000)
            with fs.open(f"{expected}", "rb") as file:
                file.seek(100_000)
                assert file.read(1000) == (bytes(range(256)) * 5)[100_000 % 256 :][:1000]
            fs.sync()
            assert fs.file_read(f"{expected}") == bytes(range(256)) * 1000
            assert list(fs.check()) == []
            fs.close()
