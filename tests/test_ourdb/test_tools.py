"""check, compact, backup, repair, import and the command line."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ourdb
from ourdb import OurDB
from ourdb.disk import Disk
from ourdb.store import Store
from ourdb.view import OwnView
from tests.small_disk import may_mount, on_small_disk

State = dict[int, list[bytes]]
CONFIGS = {
    "wide": {"file_size": 3000},
    "one file": {"record_nr_max": 3000, "record_size_max": 100, "keysize": 4},
}


def fill(db: OurDB) -> State:
    for number in range(300):
        db.set(data=b"%d" % number * 3)
    for number in range(1, 300, 3):
        db.set(id=number, data=b"new%d" % number)
    for number in range(2, 300, 3):
        db.delete(number)
    return content(db)


def content(db: OurDB) -> State:
    return {record_id: db.get_history(record_id, 100) for record_id in db}


def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "ourdb", *arguments], capture_output=True, check=False, input=data)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_compact_keeps_every_version_and_takes_back_what_was_deleted(tmp_path: Path, config: dict[str, int]) -> None:
    with ourdb.new(tmp_path / "db", **config) as db, ourdb.new(tmp_path / "db", read_only=True) as reader:  # type: ignore[arg-type]
        expected = fill(db)
        reader.refresh()
        assert content(reader) == expected
        before = db.stats()["record_bytes"]
        db.compact()
        assert int(db.stats()["record_bytes"]) < int(before)
        assert content(db) == expected
        assert content(reader) == expected
        assert list(db.check()) == []
        next_id = db.set(data=b"more")
        assert next_id == 301
        reader.refresh()
        assert reader.get(next_id) == b"more"
        db.compact(keep_history=False)
        assert content(db) == {**{i: versions[:1] for i, versions in expected.items()}, 301: [b"more"]}


def test_compact_writes_what_a_fresh_database_would_hold(tmp_path: Path) -> None:
    """The compacted files are those of the same sets made anew, in the order of the ids."""
    with ourdb.new(tmp_path / "db", record_nr_max=5000, incremental_mode=False) as db:
        for number in range(100):
            db.set(id=number % 30, data=b"%d" % number)
        db.delete(7)
        expected = content(db)
        db.compact()
    with ourdb.new(tmp_path / "fresh", record_nr_max=5000, incremental_mode=False) as fresh:
        for record_id, versions in expected.items():
            for version in reversed(versions):
                fresh.set(id=record_id, data=version)
    for name in ("0.db", "lookup/data"):
        assert (tmp_path / "db" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_compact_is_refused_while_a_snapshot_or_a_transaction_is_open(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db") as db:
        expected = fill(db)
        with db.snapshot(), pytest.raises(ourdb.OurDBError, match="snapshot"):
            db.compact()
        with db.transaction(), pytest.raises(ourdb.OurDBError, match="transaction"):
            db.compact()
        assert content(db) == expected


def test_a_readers_snapshot_is_overtaken_by_compact_and_never_shows_other_records(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", file_size=3000) as db, ourdb.new(tmp_path / "db", read_only=True) as reader:
        expected = fill(db)
        reader.refresh()
        with reader.snapshot() as then:
            assert then.get(4) == b"new4"
            db.compact(keep_history=False)
            db.set(id=4, data=b"behind the compaction")
            for read in (lambda: then.get(4), lambda: then.get_history(4, 9), lambda: list(then), lambda: len(then)):
                with pytest.raises(ourdb.SnapshotOvertaken, match="new snapshot"):
                    read()
        assert content(reader) == {k: v[:1] for k, v in expected.items()} | {4: [b"behind the compaction", b"new4"]}


_NO_ROOM = """
import os, sys
import ourdb
db = ourdb.new(sys.argv[1] + "/db", 5000, 100, incremental_mode=False, keysize=6, file_size=500_000)
for n in range(1200):
    db.set(id=n, data=b"%d" % n * 1000)
db.sync()
for n in range(0, 1200, 4):
    db.delete(n)
db.sync()
free = os.statvfs(sys.argv[1])
with open(sys.argv[1] + "/ballast", "wb") as file:
    file.write(bytes((free.f_bavail - 30) * free.f_bsize))
def files():
    return {name: os.path.getsize(sys.argv[1] + "/db/" + name) for name in os.listdir(sys.argv[1] + "/db") if name != "journal"}
before = files()
for turn in range(3):
    try:
        db.compact()
        raise AssertionError("there is no room for the survivors")
    except OSError as error:
        assert error.errno == 28, error
    assert files() == before
    assert [i for i in db if db.get(i) != b"%d" % i * 1000] == [] and len(db) == 900
    db.set(id=1, data=b"1" * 1000)  # writing goes on
    before = files()
os.unlink(sys.argv[1] + "/ballast")
db.compact(keep_history=False)
assert sum(files().values()) < 0.8 * sum(before.values())
assert len(db) == 900 and list(db.check()) == []
db.close()
with ourdb.new(sys.argv[1] + "/db") as db:
    assert len(db) == 900 and db.get(1199) == b"1199" * 1000
print("whole")
"""


@pytest.mark.skipif(not may_mount(), reason="a system that lets nobody mount a small disk")
def test_compact_on_a_nearly_full_disk_changes_nothing_until_there_is_room(tmp_path: Path) -> None:
    result = on_small_disk(tmp_path, "9m", sys.executable, "-c", _NO_ROOM, str(tmp_path))
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert result.stdout == "whole\n"


def test_compact_stops_at_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db") as db:
        fill(db)
        location = db.lookup(3)
    with (tmp_path / "db" / "0.db").open("r+b") as file:
        file.seek(location.position + 12)
        file.write(b"!")
    before = {path: path.read_bytes() for path in (tmp_path / "db").rglob("*.db")}
    with ourdb.new(tmp_path / "db") as db:
        with pytest.raises(ourdb.CorruptRecord):
            db.compact()
        assert db.get(4) == b"new4"
    assert {path: path.read_bytes() for path in (tmp_path / "db").rglob("*.db*")} == before


def test_a_backup_is_the_state_at_its_start(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", file_size=3000) as db:
        expected = fill(db)
        db.backup(tmp_path / "copy")
        db.set(data=b"later")
        with pytest.raises(FileExistsError):
            db.backup(tmp_path / "copy")
    with ourdb.new(tmp_path / "copy") as copy:
        assert content(copy) == expected
        assert list(copy.check()) == []
        assert copy.set(data=b"on") == 301
    assert os.stat(tmp_path / "copy" / "lookup" / "data").st_blocks * 512 < 1 << 20  # the table stays sparse


@pytest.mark.parametrize("dest", ["copy", "lookup/copy", "lookup.old", "a/b", "link"])
def test_a_backup_into_the_databases_own_folder_is_refused(tmp_path: Path, dest: str) -> None:
    """It would be removed with it, that in `lookup.old` by the next repair."""
    with ourdb.new(tmp_path / "db") as db:
        db.set(data=b"x")
        os.mkdir(tmp_path / "db" / "there")
        os.symlink(tmp_path / "db" / "there", tmp_path / "link")
        before = sorted((tmp_path / "db").rglob("*"))
        with pytest.raises((ourdb.OurDBError, FileExistsError), match="give a (folder outside|new one)"):
            db.backup(tmp_path / ("link" if dest == "link" else "db") / ("inner" if dest == "link" else dest))
        assert sorted((tmp_path / "db").rglob("*")) == before
        db.backup(tmp_path / "db.copy")
    with ourdb.new(tmp_path / "db.copy") as copy:
        assert copy.get(1) == b"x"


@pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
def test_an_imported_table_brings_the_exported_state_back(tmp_path: Path, sparse: bool) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=1000, record_size_max=65535) as db:
        for number in range(20):
            db.set(data=b"%d" % number)
        exported = content(db)
        (db.export_sparse if sparse else db.export_data)(tmp_path / "table")
        db.set(id=3, data=b"changed")
        db.set(data=b"new")
        (db.import_sparse if sparse else db.import_data)(tmp_path / "table")
        assert content(db) == exported
        assert len(db) == 20
        assert db.get_next_id() == 21
    with ourdb.new(tmp_path / "db") as db:
        assert content(db) == exported


@pytest.mark.parametrize("inc", [b"101", b"99999999999", b"9" * 30])
def test_a_table_with_a_next_id_that_no_database_of_its_size_has_is_refused(tmp_path: Path, inc: bytes) -> None:
    """It would be written, and the database could not be opened again."""
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set(data=b"x")
        db.export_data(tmp_path / "table")
        (tmp_path / "table" / ".inc").write_bytes(inc)
        with pytest.raises(ourdb.UnsupportedFormat, match="next id"):
            db.import_data(tmp_path / "table")
        db.export_data(tmp_path / "db" / "lookup_data")
    (tmp_path / "db" / "lookup_data" / ".inc").write_bytes(inc)
    shutil.rmtree(tmp_path / "db" / "lookup")
    with pytest.raises(ourdb.UnsupportedFormat, match="next id"):
        ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6)
    assert not (tmp_path / "db" / "lookup").exists()


def test_a_table_that_leads_to_what_was_rolled_back_is_refused(tmp_path: Path) -> None:
    """A whole record lies there, until the next one is written over it."""
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set(data=b"kept")
        with contextlib.suppress(ZeroDivisionError), db.transaction():
            db.set(data=b"taken back")
            assert db.get(2) == b"taken back"  # written by that
            location = db.lookup(2).position
            raise ZeroDivisionError
        (tmp_path / "table").mkdir()
        for there in (0, location):
            (tmp_path / "table" / "data").write_bytes(b"\2\0\0\0" + there.to_bytes(6, "big"))
            with pytest.raises(ourdb.CorruptRecord):
                db.import_sparse(tmp_path / "table")
        assert content(db) == {1: [b"kept"]}


@pytest.mark.parametrize("size", range(1, 40))
def test_zeros_of_a_deleted_record_of_any_size_are_not_taken_for_an_empty_one(tmp_path: Path, size: int) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set_many([(None, b"x" * size), (None, b""), (None, b"three"), (2, b"two")])
        db.export_data(tmp_path / "table")
        db.delete(1)
        db.sync()
        with pytest.raises(ourdb.CorruptRecord, match="id 1 .*deleted since"):
            db.import_data(tmp_path / "table")


@pytest.mark.parametrize("is_zero", [False, True], ids=["before it is zeros", "when it is zeros"])
def test_a_table_that_leads_to_what_was_deleted_since_is_refused(tmp_path: Path, is_zero: bool) -> None:
    """The record is twelve zeros after the next checkpoint, which would be an empty one."""
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set_many([(None, b"one"), (None, b"two"), (None, b""), (None, b""), (None, b"five"), (None, b"")])
        db.export_data(tmp_path / "table")
        db.import_data(tmp_path / "table")  # empty records that are there are no reason to refuse it
        db.delete_many([3, 4])
        db.sync()
        db.import_data(tmp_path / "table")  # nor empty ones that were deleted: that is what they were
        assert content(db) == {1: [b"one"], 2: [b"two"], 3: [b""], 4: [b""], 5: [b"five"], 6: [b""]}
        db.delete(2)
        if is_zero:
            db.sync()
        expected = content(db)
        with pytest.raises(ourdb.CorruptRecord, match="id 2 lies here, where a record was deleted since"):
            db.import_data(tmp_path / "table")
        with db.transaction():
            db.delete(5)
            with pytest.raises(ourdb.CorruptRecord, match="deleted since"):
                db.import_data(tmp_path / "table")
            assert db.get_many([1, 3]) == [b"one", b""]
        del expected[5]
        assert content(db) == expected
    with ourdb.new(tmp_path / "db") as db:
        assert content(db) == expected
        assert list(db.check()) == []


def test_a_table_in_which_two_ids_share_a_record_is_refused(tmp_path: Path) -> None:
    """Deleting one of them would take the other's."""
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set(data=b"one")
        (tmp_path / "table").mkdir()
        (tmp_path / "table" / "data").write_bytes(b"\1\0\0\0\0\0\0\0\0\1" + b"\2\0\0\0\0\0\0\0\0\1")
        with pytest.raises(ourdb.UnsupportedFormat, match="two ids"):
            db.import_sparse(tmp_path / "table")
        assert content(db) == {1: [b"one"]}


def test_a_table_without_records_brings_its_next_id(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "all deleted", record_nr_max=100, keysize=6) as db:
        db.delete(db.set(data=b"x"))
        db.export_data(tmp_path / "table")
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.import_data(tmp_path / "table")
        assert db.get_next_id() == 2
    with ourdb.new(tmp_path / "db") as db:
        assert (list(db), len(db), db.get_next_id()) == ([], 0, 2)


def test_a_table_that_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6) as db:
        db.set(data=b"x")
        (tmp_path / "table").mkdir()
        (tmp_path / "table" / "data").write_bytes(
            b"\x01\0\0\0" + (1).to_bytes(6, "big") + b"\x02\0\0\0" + (999).to_bytes(6, "big")
        )
        with pytest.raises(ourdb.CorruptRecord):
            db.import_sparse(tmp_path / "table")
        with pytest.raises(ourdb.UnsupportedFormat, match="600"):
            db.import_data(tmp_path / "table")
        (tmp_path / "table" / "data").write_bytes((200).to_bytes(4, "little") + (1).to_bytes(6, "big"))
        with pytest.raises(ourdb.UnsupportedFormat, match="200"):
            db.import_sparse(tmp_path / "table")
        assert content(db) == {1: [b"x"]}


def test_check_names_file_position_and_id_of_damage(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6, incremental_mode=False) as db:
        db.set_many([(1, b"one" * 50), (2, b"two" * 50), (3, b"three" * 50)])
        position = db.lookup(2).position
    path = tmp_path / "db" / "0.db"
    raw = bytearray(path.read_bytes())
    raw[position + 20] ^= 1
    path.write_bytes(bytes(raw) + b"torn tail")
    table = tmp_path / "db" / "lookup" / "data"
    slots = bytearray(table.read_bytes())
    slots[6 * 9 : 6 * 10] = (5000).to_bytes(6, "big")
    slots[6 * 8 : 6 * 9] = slots[6:12]
    table.write_bytes(slots)
    with ourdb.new(tmp_path / "db") as db:
        found = {(problem.record_id, problem.position) for problem in db.check()}
        with pytest.raises(ourdb.CorruptRecord, match=f"position {position}: CRC mismatch: data corruption detected"):
            db.get(2)
        assert db.get(1) == b"one" * 50
    assert found == {(2, position), (8, 1), (9, 5000), (None, len(raw))}


def test_a_history_that_leads_forward_does_not_loop(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6, incremental_mode=False) as db:
        db.set(id=1, data=b"one")
        db.set(id=1, data=b"two")
        position = db.lookup(1).position
    with (tmp_path / "db" / "0.db").open("r+b") as file:
        file.seek(position + 6)
        file.write(position.to_bytes(6, "big"))
    with ourdb.new(tmp_path / "db") as db:
        assert db.get(1) == b"two"
        with pytest.raises(ourdb.CorruptRecord, match="not before"):
            db.get_history(1, 100)
        assert [problem.record_id for problem in db.check()] == [1]


def test_a_table_that_may_be_of_two_key_sizes_is_not_repaired_without_the_config(tmp_path: Path) -> None:
    """Slots of four bytes read as pairs of two; where one of them is damaged, only the pairs seem to be sound."""
    folder = tmp_path / "db"
    with ourdb.new(folder, record_nr_max=40, record_size_max=100, incremental_mode=False, keysize=4) as db:
        db.set_many([(record_id, b"%d" % record_id * 20) for record_id in range(20)])
    (folder / "lookup" / ".ourdb").unlink()
    with open(folder / "lookup" / "data", "r+b") as table:
        table.seek(7 * 4)
        table.write(b"\0\1\0\0")
    with pytest.raises(ourdb.OurDBError, match=r"\[2, 4\].*keysize"):
        ourdb.repair(folder)
    ourdb.repair(folder, record_nr_max=40, record_size_max=100, incremental_mode=False, keysize=4)
    with ourdb.new(folder) as db:
        assert db.get(19) == b"19" * 20


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"record_nr_max": 50}, ("1000", "50")),
        ({"keysize": 3}, ("keysize=6", "keysize=3")),
        ({"file_size": 1000}, ("file_size=5000", "file_size=1000")),
        ({"incremental_mode": True}, ("False", "True")),
        ({"record_size_max": 100}, ("65535", "100")),
    ],
)
def test_repair_is_refused_with_a_config_that_contradicts_the_folders_own(
    tmp_path: Path, given: dict[str, Any], values: tuple[str, str]
) -> None:
    folder = tmp_path / "db"
    own = {"record_nr_max": 1000, "record_size_max": 65535, "file_size": 5000, "incremental_mode": False}
    with ourdb.new(folder, **own) as db:  # type: ignore[arg-type]
        db.set(id=7, data=b"x")
    before = _files(folder)
    with pytest.raises(ourdb.OurDBError, match=r"leave it out.*\.ourdb") as caught:
        ourdb.repair(folder, **given)
    assert all(value in str(caught.value) for value in values)
    assert _files(folder) == before
    assert ourdb.repair(folder, **own).records == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [2, 3, 4, 6])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_repair_is_refused_with_a_config_that_contradicts_the_table(tmp_path: Path, right: int, cut: int) -> None:
    """It would take the slots apart wrongly, and lose every id."""
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100, incremental_mode=False, keysize=right) as db:
        db.set_many([(one, b"%d" % one) for one in (*range(1, 40), 90)])
        expected = content(db)
    (folder / "lookup" / ".ourdb").unlink()
    os.truncate(folder / "lookup" / "data", right * 100 - cut)
    before = _files(folder)
    for keysize in {2, 3, 4, 6} - {right}:
        with pytest.raises(
            ourdb.OurDBError, match=rf"(key size .*{right}, .*means {keysize}|a record with id).*move the table away"
        ):
            ourdb.repair(folder, 100, 100, incremental_mode=False, keysize=keysize)
    with pytest.raises(ourdb.OurDBError, match="id 90.*record_nr_max=90"):
        ourdb.repair(folder, 90, 100, incremental_mode=False, keysize=right)
    assert _files(folder) == before
    ourdb.repair(folder, 100, 100, incremental_mode=False, keysize=right)
    with ourdb.new(folder) as db:
        assert content(db) == expected


def test_repair_takes_what_is_given_besides_a_config_that_the_table_bears_out(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, file_size=5000, incremental_mode=False) as db:
        db.set(id=7, data=b"x")
    with open(folder / "lookup" / ".ourdb", "r+b") as file:
        file.seek(32)
        file.write(b"!")
    ourdb.repair(folder, file_size=5000)
    with ourdb.new(folder, 100, file_size=5000, incremental_mode=False) as db:
        assert db.get(7) == b"x"


def test_a_lost_table_is_rebuilt_and_what_is_guessed_is_said(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db") as db:
        for number in range(50):
            db.set(data=b"%d" % number)
        for number in range(1, 50, 2):
            db.set(id=number, data=b"new" * number)
        expected = content(db)
    shutil.rmtree(tmp_path / "db" / "lookup")
    with pytest.raises(ourdb.UnsupportedFormat, match="repair"):
        ourdb.new(tmp_path / "db")
    with ourdb.open_recovered(tmp_path / "db") as db:
        assert content(db) == expected
        assert db.recovered is not None
        assert (len(db.recovered.guessed_ids), db.recovered.is_certain) == (50, False)
        assert db.get_next_id() == 51


@pytest.mark.parametrize("damage", ["an older version", "its file", "a circle"])
def test_repair_names_the_ids_whose_history_ends_early(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "db"
    with ourdb.new(folder, record_nr_max=100, keysize=6, incremental_mode=False, file_size=500) as db:
        db.set_many([(one, b"oldest" * 20) for one in range(4)])
        oldest = db.lookup(2)
        for value in (b"older", b"newest"):
            db.set_many([(one, value * 20) for one in range(4)])
        newest = db.lookup(2)
    if damage == "its file":
        (folder / "0.db").unlink()
    else:
        at = oldest if damage == "an older version" else newest
        with open(folder / f"{at.file_number}.db", "r+b") as file:
            file.seek(at.position + (12 if at == oldest else 6))
            file.write(b"!" if at == oldest else at.file_number.to_bytes(2, "big") + at.position.to_bytes(4, "big"))
    report = ourdb.repair(folder)
    expected = [0, 1, 2, 3] if damage == "its file" else [2]
    assert (report.shortened_ids, report.lost_ids, report.duplicate_ids) == (expected, [], [])
    assert not report.is_certain
    with ourdb.new(folder) as db:
        assert db.get_many(range(4)) == [b"newest" * 20] * 4
        assert list(db.check()) == []


@pytest.mark.parametrize(("given", "records"), [({"incremental_mode": False}, 0), ({"record_nr_max": 11}, 10)])
def test_repair_says_how_many_records_have_no_id(tmp_path: Path, given: dict[str, Any], records: int) -> None:
    with ourdb.new(tmp_path / "db") as db:
        db.set_many([(None, b"%d" % number) for number in range(50)])
    shutil.rmtree(tmp_path / "db" / "lookup")
    report = ourdb.repair(tmp_path / "db", **given)
    assert (report.records, report.versions, report.unreached) == (records, 50, 50 - records)


def test_a_table_is_rebuilt_by_ids_inside_the_values(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        for number in (9, 4, 77, 5):
            db.set(id=number, data=b"%d:first" % number)
            db.set(id=number, data=b"%d:second" % number)
        db.delete(4)
        expected = content(db)
    shutil.rmtree(tmp_path / "db" / "lookup")

    def id_of(value: bytes) -> int | None:
        return int(value.split(b":")[0])

    with ourdb.open_recovered(tmp_path / "db", incremental_mode=False, id_of=id_of) as db:
        # The deleted record's older version is still in the file: nothing tells that it was deleted.
        assert content(db) == {**expected, 4: [b"4:first"]}


def test_repair_keeps_what_is_whole_of_a_damaged_database(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        for number in range(40):
            db.set(id=number * 3, data=b"%d" % number * 9)
        expected = content(db)
        position = db.lookup(30).position
    with (tmp_path / "db" / "0.db").open("r+b") as file:
        file.seek(position)
        file.write(b"\xff" * 15)
    report = ourdb.repair(tmp_path / "db")
    assert [(at, size) for _, at, size in report.lost] == [(position, 12 + 9 * 2)]
    del expected[30]
    with ourdb.new(tmp_path / "db") as db:
        assert content(db) == expected
        assert list(db.check()) == []


def test_what_was_exported_for_the_original_opens_without_lookup(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=2000, record_size_max=65535) as db:
        expected = fill(db)
    assert run("export", str(tmp_path / "db"), "--for-original").returncode == 0
    shutil.rmtree(tmp_path / "db" / "lookup")
    with ourdb.new(tmp_path / "db", record_nr_max=2000, record_size_max=65535) as db:
        assert content(db) == expected
        assert db.get_next_id() == 301


@pytest.mark.parametrize("name", ["lookup_data", "lookup_sparse", "lookup_dump.db"])
def test_a_saved_table_is_taken_for_what_it_is_wherever_the_folder_lies(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "my_sparse_lookup_dump.db"
    with ourdb.new(folder, record_nr_max=2000, record_size_max=65535) as db:
        expected = fill(db)
        (db.export_data if name == "lookup_data" else db.export_sparse)(folder / name)
    shutil.rmtree(folder / "lookup")
    with pytest.raises(ourdb.UnsupportedFormat, match="give the config"):
        ourdb.new(folder, record_nr_max=2000, keysize=3)
    with ourdb.new(folder, record_nr_max=2000, record_size_max=65535) as db:
        assert content(db) == expected


def _held() -> tuple[set[str], int, int]:
    """Return what this process holds: descriptors, maps of files, threads."""
    if not os.path.isdir("/proc/self/fd"):
        return set(), 0, threading.active_count()
    maps = sum(".db" in line or "/lookup/" in line for line in Path("/proc/self/maps").read_text().splitlines())
    return set(os.listdir("/proc/self/fd")), maps, threading.active_count()


def test_a_thousand_opens_leak_no_descriptor_map_or_thread(tmp_path: Path) -> None:
    ourdb.new(tmp_path / "db").close()
    before = _held()
    for number in range(1000):
        with ourdb.new(tmp_path / "db", read_only=True) as reader:
            assert len(reader) == number // 50
        if number % 50 == 49:
            with ourdb.new(tmp_path / "db") as db:
                db.set(data=b"x")
                db.get(1)
                db.compact()
    assert _held() == before


def test_nothing_is_left_to_the_garbage_collector_to_close(tmp_path: Path) -> None:
    """Nor is anything that will be removed from Python used: its development mode, warnings being errors, has nothing to say."""
    code = """
import ourdb, sys, vfs_db
with ourdb.new(sys.argv[1] + "/db") as db:
    with db.transaction():
        db.set(data=b"one")
    with db.snapshot() as then:
        then.get(1)
    db.compact()
    db.backup(sys.argv[1] + "/copy")
    with ourdb.new(sys.argv[1] + "/db", read_only=True) as reader:
        reader.get(1)
    try:
        ourdb.new(sys.argv[1] + "/db")
    except ourdb.DatabaseLocked:
        pass
ourdb.repair(sys.argv[1] + "/db")
with vfs_db.open(sys.argv[1] + "/tree") as fs:
    fs.makedirs("a/b")
    with fs.open("a/b/f", "w") as file:
        file.write("text")
    fs.copy("a", "c")
    fs.export_tree("c", sys.argv[1] + "/exported")
    fs.compact()
    assert list(fs.check()) == []
"""
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


class _Overtaken(OwnView):
    """A view under which a compaction of *db* runs while a read is before or behind finding its record."""

    moment = ""

    def __init__(self, db: OurDB) -> None:
        super().__init__(db._commits)
        self._db = db

    def locate(self, store: Store, record_id: int) -> int:
        self._compact_at("before")
        location = super().locate(store, record_id)
        self._compact_at("behind")
        return location

    def _compact_at(self, moment: str) -> None:
        if self.moment == moment:
            self.moment = ""
            other = threading.Thread(target=self._db.compact)
            other.start()
            other.join()


class _FaultyDisk(Disk):
    """A disk on which one changing call fails, the one after *left* more have gone well; syncs cost nothing."""

    left: int | None = None

    def __init__(self) -> None:
        for name in ("pwrite", "truncate", "replace", "unlink", "allocate"):
            setattr(self, name, self._failing(getattr(self, name)))
        for name in ("fsync", "fdatasync", "sync_folder"):
            setattr(self, name, self._failing(lambda _: None))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise OSError(errno.EIO, "a fault on purpose")
            return call(*arguments)

        return attempt


def test_a_compaction_that_fails_at_any_call_loses_nothing(tmp_path: Path) -> None:
    """The handle goes on as if nothing had been, or refuses until it is opened again."""
    with ourdb.new(tmp_path / "db", record_nr_max=100, keysize=6, incremental_mode=False, file_size=300) as made:
        made.set_many([(record_id, b"%d" % record_id * 20) for record_id in range(30)])
        made.delete_many(range(0, 30, 2))
        expected = content(made)
    outcomes = set()
    for number in itertools.count():
        folder = shutil.copytree(tmp_path / "db", tmp_path / str(number))
        disk = _FaultyDisk()
        db = OurDB(str(folder), {}, disk=disk)
        disk.left = number
        try:
            db.compact()
        except OSError:
            pass
        else:
            break
        disk.left = None
        try:
            assert content(db) == expected
            db.set(id=1, data=b"goes on")
            found = expected | {1: [b"goes on", *expected[1]]}
        except ourdb.OurDBError as error:
            assert "open again" in str(error)
            found = expected
        outcomes.add(found == expected)
        db.close()
        with OurDB(str(folder), {}, disk=_FaultyDisk()) as again:
            assert content(again) == found, number
            assert list(again.check()) == []
    assert outcomes == {True, False}


@pytest.mark.parametrize("is_lookup_lost", [False, True])
def test_repair_finishes_a_compaction_that_was_killed_before_it_looks(tmp_path: Path, is_lookup_lost: bool) -> None:
    """Some record files are new then and others old, and what is left of it would replace what was mended."""
    given = {"record_nr_max": 100, "keysize": 6, "incremental_mode": False, "file_size": 300}
    with ourdb.new(tmp_path / "db", **given) as made:  # type: ignore[arg-type]
        for value in (b"old %d ", b"new %d "):
            made.set_many([(one, value % one * 5) for one in range(30)])
        made.delete_many(range(0, 30, 3))
        expected = content(made)
    outcomes = []
    for number in itertools.count():
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "db", folder)
        disk = _FaultyDisk()
        db = OurDB(str(folder), {}, disk=disk)
        disk.left = number
        with contextlib.suppress(OSError):
            db.compact()
            break
        db.close()
        if not (folder / "compact").exists():
            continue
        outcomes.append(len(list(folder.glob("*.compact"))))
        if is_lookup_lost:
            shutil.rmtree(folder / "lookup")
        known: dict[str, Any] = given if is_lookup_lost else {}
        report = ourdb.repair(folder, **known, id_of=lambda value: int(value.split()[1]))
        assert (report.lost, report.lost_ids, list(folder.glob("*compact*"))) == ([], [], [])
        with ourdb.new(folder) as again:
            assert content(again) == expected
            assert list(again.check()) == []
    assert set(outcomes) > {0, 1, 2}


def test_repair_is_refused_where_a_folder_has_the_journals_name(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db") as db:
        db.set(data=b"x")
    (tmp_path / "db" / "journal").mkdir()
    before = _files(tmp_path / "db")
    with pytest.raises(IsADirectoryError, match="move it away"):
        ourdb.repair(tmp_path / "db")
    assert _files(tmp_path / "db") == before


@pytest.mark.parametrize("config", [*CONFIGS.values(), {"file_size": 60}], ids=[*CONFIGS, "many files"])
@pytest.mark.parametrize("moment", ["before", "behind"])
def test_a_read_that_a_compaction_overtakes_gives_its_own_record(
    tmp_path: Path, config: dict[str, Any], moment: str
) -> None:
    """Other records lie at the same places of the new files."""
    given = {"record_nr_max": 1000, "keysize": 6, "incremental_mode": False, **config}
    with OurDB(str(tmp_path / "db"), given, disk=_FaultyDisk()) as db:
        db.set_many([(record_id, b"%6d" % record_id * 10) for record_id in range(400)])
        db.delete_many(range(0, 400, 3))
    for record_id in (1, 199):
        shutil.copytree(tmp_path / "db", tmp_path / str(record_id))
        with OurDB(str(tmp_path / str(record_id)), {}, disk=_FaultyDisk()) as db:
            db._view = view = _Overtaken(db)
            expected = b"%6d" % record_id * 10
            view.moment = moment
            assert db.get(record_id) == expected
            assert view.moment == ""
            db.delete(2)  # so that the next compaction moves records again
        with OurDB(str(tmp_path / str(record_id)), {}, disk=_FaultyDisk()) as db:  # which has nothing mapped yet
            db._view = view = _Overtaken(db)
            view.moment = moment
            assert db.get_history(record_id, 2) == [expected]
            assert view.moment == ""
