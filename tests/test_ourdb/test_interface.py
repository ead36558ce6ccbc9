"""What `ourdb.new` and its handle promise, on sound folders and on bad ones, whose bytes stay as they were."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ourdb

# One config for each key size and mode; small tables.
CONFIGS = [
    pytest.param({"incremental_mode": incremental, "record_nr_max": 1000, "keysize": keysize}, id=f"{mode}-{keysize}")
    for mode, incremental in (("incremental", True), ("keyvalue", False))
    for keysize in (2, 3, 4, 6)
]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return each path below *folder*, with the bytes of the files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


@pytest.fixture
def db(path: Path) -> Iterator[ourdb.OurDB]:
    """A key-value database with ids below 1000; `check` finds nothing in it when the test ends."""
    with ourdb.new(path=path, record_nr_max=1000, incremental_mode=False) as handle:
        yield handle
    assert_sound(path)


@pytest.fixture
def numbered(path: Path) -> Iterator[ourdb.OurDB]:
    """The same in incremental mode."""
    with ourdb.new(path=path, record_nr_max=1000) as handle:
        yield handle
    assert_sound(path)


def assert_sound(path: Path) -> None:
    with ourdb.new(path=path) as handle:
        assert list(handle.check()) == []


# Records


@pytest.mark.parametrize("config", CONFIGS)
def test_records_and_their_history_survive_reopening_by_path_alone(config: dict[str, Any], path: Path) -> None:
    with ourdb.new(path=path, **config) as db:
        ids = [db.set(data=b"a") if config["incremental_mode"] else db.set(id=n, data=b"a") for n in (1, 2, 3)]
        assert ids == [1, 2, 3]
        for data in (b"b", b"c"):
            assert db.set(id=2, data=data) == 2
        db.delete(3)
    with ourdb.new(path=path) as db:
        assert (db.config.keysize, db.config.record_nr_max) == (config["keysize"], 1000)
        assert db.incremental_mode is config["incremental_mode"]
        assert db.get(1) == b"a"
        assert db.get_history(2, 10) == [b"c", b"b", b"a"]
        assert db.get_history(2, 2) == [b"c", b"b"]
        assert list(db) == [1, 2]
        assert len(db) == 2
        assert [record_id in db for record_id in (1, 2, 3)] == [True, True, False]
        with pytest.raises(ourdb.RecordNotFound):
            db.get(3)


def test_a_record_lies_in_the_file_byte_for_byte_as_documented(path: Path) -> None:
    """Header: size u16 and CRC-32 little endian, previous location u16 and u32 big endian; byte 0 is no record's."""
    with ourdb.new(path=path, record_nr_max=1000, record_size_max=65535) as db:
        db.set(data=b"first")
        db.set(id=1, data=b"second")
        assert db.lookup(1) == ourdb.Location(file_number=0, position=18)
        assert db.lookup(2) == ourdb.Location(0, 0)
    first = struct.pack("<HI", 5, zlib.crc32(b"first")) + struct.pack(">HI", 0, 0) + b"first"
    second = struct.pack("<HI", 6, zlib.crc32(b"second")) + struct.pack(">HI", 0, 1) + b"second"
    assert (path / "0.db").read_bytes() == b"\0" + first + second
    assert (path / "lookup" / "data").read_bytes() == bytes(6) + struct.pack(">HI", 0, 18) + bytes(6 * 998)
    assert (path / "lookup" / ".inc").read_bytes() == b"2"


def test_a_clean_close_leaves_record_files_and_table_only(numbered: ourdb.OurDB, path: Path) -> None:
    numbered.set(data=b"x")
    numbered.close()
    assert set(contents(path)) == {"0.db", "lookup", "lookup/data", "lookup/.inc", "lookup/.ourdb"}


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 4095, 4096, 4097, 65534, 65535])
def test_every_size_up_to_the_largest_is_read_back(size: int, path: Path) -> None:
    data = os.urandom(size)
    with ourdb.new(path=path, incremental_mode=False) as db:
        db.set(id=0, data=data)
        assert db.get(0) == data
    with ourdb.new(path=path) as db:
        assert db.get(0) == data
        assert db.get_history(0, 2) == [data]


def test_65536_bytes_are_refused_and_nothing_is_written(db: ourdb.OurDB, path: Path) -> None:
    db.set(id=1, data=b"kept")
    before = contents(path)
    with pytest.raises(ourdb.RecordTooLarge, match=r"65536.*65535|65535.*65536") as caught:
        db.set(id=1, data=bytes(65536))
    assert isinstance(caught.value, ValueError)
    assert db.get_history(1, 5) == [b"kept"]
    assert contents(path) == before


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data * 2))[::2]])
def test_any_bytes_like_data_is_taken_as_it_is_at_the_call(kind: Callable[[bytes], Any], db: ourdb.OurDB) -> None:
    given = kind(b"aabbccdd")
    expected = bytes(given)
    db.set(id=1, data=given)
    if isinstance(given, bytearray):
        given[:] = b"changed!"
    found = db.get(1)
    assert found == expected
    assert type(found) is bytes


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], 1.5])
def test_data_of_another_type_is_a_type_error_and_nothing_is_written(data: Any, db: ourdb.OurDB, path: Path) -> None:
    db.set(id=1, data=b"kept")
    before = contents(path)
    with pytest.raises(TypeError):
        db.set(id=1, data=data)
    with pytest.raises(TypeError):
        db.set_many([(2, b"fine"), (3, data)])
    assert list(db) == [1]
    assert db.get_history(1, 5) == [b"kept"]
    assert contents(path) == before


# Ids


@pytest.mark.parametrize("record_id", [-1, 1000, 1001, 2**32, 2**32 + 1, 2**64, -(2**70)])
def test_an_id_out_of_range_is_refused_and_never_wraps(record_id: int, db: ourdb.OurDB, path: Path) -> None:
    db.set(id=1, data=b"one")
    before = contents(path)
    for call in (
        lambda: db.get(record_id),
        lambda: db.get_history(record_id, 1),
        lambda: db.lookup(record_id),
        lambda: db.delete(record_id),
        lambda: db.set(id=record_id, data=b"x"),
        lambda: db.get_many([1, record_id]),
        lambda: db.set_many([(1, b"x"), (record_id, b"x")]),
        lambda: db.delete_many([1, record_id]),
    ):
        with pytest.raises(ourdb.IdOutOfRange, match="Index out of bounds") as caught:
            call()
        assert isinstance(caught.value, ValueError)
        assert str(record_id) in str(caught.value)
    assert record_id not in db
    assert db.get_history(1, 5) == [b"one"]
    assert contents(path) == before


@pytest.mark.parametrize("record_id", [True, False, "1", 1.0, b"1", (1,)])
def test_an_id_of_another_type_is_a_type_error(record_id: Any, db: ourdb.OurDB, path: Path) -> None:
    """A bool is no id, although Python would take it for 0 or 1."""
    db.set_many([(0, b"zero"), (1, b"one")])
    before = contents(path)
    for call in (
        lambda: db.get(record_id),
        lambda: db.get_history(record_id, 1),
        lambda: db.lookup(record_id),
        lambda: db.delete(record_id),
        lambda: db.set(id=record_id, data=b"x"),
    ):
        with pytest.raises(TypeError):
            call()
    assert record_id not in db
    assert contents(path) == before


@pytest.mark.parametrize("record_id", [True, "1", 1.0, b"1"])
def test_one_id_of_another_type_among_many_refuses_them_all(record_id: Any, db: ourdb.OurDB, path: Path) -> None:
    db.set_many([(0, b"zero"), (1, b"one")])
    before = contents(path)
    for call in (
        lambda: db.set_many([(0, b"x"), (record_id, b"x")]),
        lambda: db.delete_many([0, record_id]),
        lambda: db.get_many([0, record_id]),
    ):
        with pytest.raises(TypeError, match="whole number"):
            call()
    assert contents(path) == before
    assert db.get_many([0, 1]) == [b"zero", b"one"]


@pytest.mark.parametrize("depth", [1.5, "1", True, None])
def test_a_depth_of_another_type_is_a_type_error(depth: Any, db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"one")
    with pytest.raises(TypeError, match="depth must be a whole number"):
        db.get_history(1, depth)


def test_the_last_id_works_and_the_one_after_does_not(db: ourdb.OurDB) -> None:
    for record_id in (0, 999):
        assert db.set(id=record_id, data=b"x") == record_id
    assert list(db) == [0, 999]


def test_unset_and_deleted_ids_are_key_errors(db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"x")
    db.delete(1)
    for record_id in (1, 2):
        for call in (
            lambda: db.get(record_id),  # noqa: B023 - called at once
            lambda: db.get_history(record_id, 5),  # noqa: B023
            lambda: db.delete(record_id),  # noqa: B023
            lambda: db.get_many([record_id]),  # noqa: B023
            lambda: db.delete_many([record_id]),  # noqa: B023
        ):
            with pytest.raises(KeyError, match="Record not found") as caught:
                call()
            assert isinstance(caught.value, ourdb.RecordNotFound)


def test_key_value_mode_needs_an_id_and_has_no_next_one(db: ourdb.OurDB, path: Path) -> None:
    before = contents(path)
    with pytest.raises(ourdb.OurDBError, match="id must be provided when incremental is disabled"):
        db.set(data=b"x")
    with pytest.raises(ourdb.OurDBError, match="incremental mode is not enabled"):
        db.get_next_id()
    assert contents(path) == before


def test_incremental_ids_start_at_1_and_are_never_given_again(path: Path) -> None:
    with ourdb.new(path=path) as db:
        assert [db.set(data=b"x") for _ in range(3)] == [1, 2, 3]
        db.delete(3)
        assert db.get_next_id() == 4
    with ourdb.new(path=path) as db:
        assert db.set(data=b"y") == 4


@pytest.mark.parametrize("record_id", [0, 2, 3, 4, 999])
def test_incremental_mode_gives_the_ids_itself(record_id: int, numbered: ourdb.OurDB, path: Path) -> None:
    """0, the next, one beyond, one deleted: an id may be given only where a record is."""
    for _ in range(2):
        numbered.set(data=b"x")
    numbered.delete(2)
    before = contents(path)
    with pytest.raises(ourdb.OurDBError, match="cannot set id for insertions when incremental mode is enabled"):
        numbered.set(id=record_id, data=b"y")
    assert list(numbered) == [1]
    assert numbered.get_next_id() == 3
    assert contents(path) == before


def test_a_full_table_is_refused_and_updates_go_on(path: Path) -> None:
    with ourdb.new(path=path, record_nr_max=4) as db:
        assert [db.set(data=b"x") for _ in range(3)] == [1, 2, 3]
        before = contents(path)
        for call in (lambda: db.set(data=b"y"), db.get_next_id, lambda: db.set_many([(None, b"y")])):
            with pytest.raises(ourdb.DatabaseFull, match="lookup table is full"):
                call()
        assert contents(path) == before
        db.set(id=3, data=b"z")
        assert db.get_history(3, 5) == [b"z", b"x"]


# Delete and history


def test_delete_zeroes_the_record_and_a_later_set_starts_a_new_history(path: Path) -> None:
    with ourdb.new(path=path, incremental_mode=False) as db:
        db.set(id=1, data=b"older")
        db.set(id=1, data=b"newer")
        db.set(id=2, data=b"other")
        db.delete(1)
        db.set(id=1, data=b"again")
        assert db.get_history(1, 10) == [b"again"]
    raw = (path / "0.db").read_bytes()
    assert raw[1 + 12 : 18] == b"older"
    assert raw[18 : 18 + 17] == bytes(17)
    assert raw[35 + 12 : 52] == b"other"


def test_history_goes_on_over_record_files(path: Path) -> None:
    """A record file is closed for appending once it has *file_size* bytes, whatever of its records is updated."""
    with ourdb.new(path=path, incremental_mode=False, file_size=100) as db:
        for number in range(20):
            db.set(id=5, data=f"version {number}".encode() * 3)
        assert db.get_history(5, 100) == [f"version {number}".encode() * 3 for number in reversed(range(20))]
    files = sorted(path.glob("*.db"), key=lambda file: int(file.stem))
    assert [file.stem for file in files] == [str(number) for number in range(len(files))]
    assert len(files) > 5
    assert all(file.stat().st_size >= 100 for file in files[:-1])


@pytest.mark.parametrize("depth", [0, -1])
def test_no_versions_are_asked_for_and_none_given_or_refused(depth: int, db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"x")
    if depth == 0:
        assert db.get_history(1, depth) == []
    else:
        with pytest.raises(ValueError):
            db.get_history(1, depth)


# Several at once


def test_set_many_get_many_delete_many(numbered: ourdb.OurDB) -> None:
    assert numbered.set_many([(None, b"a"), (None, b"b"), (1, b"c")]) == [1, 2, 1]
    assert numbered.get_many([2, 1, 2]) == [b"b", b"c", b"b"]
    numbered.delete_many([1])
    assert list(numbered) == [2]


def test_set_many_is_all_or_nothing(db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"kept")
    with pytest.raises(ourdb.RecordTooLarge):
        db.set_many([(1, b"new"), (2, b"new"), (3, bytes(65536))])
    with pytest.raises(ourdb.RecordNotFound):
        db.delete_many([1, 2])
    assert list(db) == [1]
    assert db.get_history(1, 5) == [b"kept"]


def test_a_transaction_is_rolled_back_by_an_exception(db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"before")

    def failing() -> None:
        with db.transaction():
            db.set(id=1, data=b"inside")
            db.set(id=2, data=b"inside")
            assert db.get(1) == b"inside"
            assert list(db) == [1, 2]
            db.delete(1)
            assert 1 not in db
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert list(db) == [1]
    assert db.get_history(1, 5) == [b"before"]


def test_a_snapshot_stays_what_it_was(db: ourdb.OurDB) -> None:
    db.set(id=1, data=b"then")
    with db.snapshot() as then:
        db.set(id=1, data=b"now")
        db.set(id=2, data=b"now")
        assert then.get(1) == b"then"
        with pytest.raises(ourdb.RecordNotFound):
            then.get(2)
        db.delete(1)
        db.sync()
        assert then.get(1) == b"then"
    assert list(db) == [2]


# Config


@pytest.mark.parametrize(
    ("made", "given", "values"),
    [
        ({"record_nr_max": 1000}, {"record_nr_max": 2000}, ("1000", "2000")),
        ({"record_nr_max": 1000, "keysize": 6}, {"keysize": 3}, ("6", "3")),
        ({"keysize": 3}, {"keysize": 6}, ("3", "6")),
        ({"file_size": 1000}, {"file_size": 1001}, ("1000", "1001")),
        ({"incremental_mode": True}, {"incremental_mode": False}, ("True", "False")),
        ({"incremental_mode": False}, {"incremental_mode": True}, ("False", "True")),
        ({"record_nr_max": 1000, "record_size_max": 65535}, {"record_size_max": 100}, ("65535", "100")),
    ],
)
def test_a_config_that_contradicts_the_folder_is_refused_with_both_values(
    made: dict[str, Any], given: dict[str, Any], values: tuple[str, str], path: Path
) -> None:
    with ourdb.new(path=path, **made) as db:
        db.set(data=b"x", id=None if db.incremental_mode else 1)
    before = contents(path)
    with pytest.raises(ourdb.OurDBError) as caught:
        ourdb.new(path=path, **given)
    for value in values:
        assert value in str(caught.value)
    assert contents(path) == before
    with ourdb.new(path=path, **made) as db:
        assert db.get(1) == b"x"


@pytest.mark.parametrize(("given", "right"), [(3, 6), (2, 6), (6, 2)])
def test_a_table_of_a_port_is_not_misread_with_another_key_size(given: int, right: int, path: Path) -> None:
    """A port of the reference leaves no `.ourdb`; the slots themselves tell."""
    with ourdb.new(path=path, record_nr_max=6000, keysize=right) as db:
        for _ in range(20):
            db.set(data=b"some data")
    (path / "lookup" / ".ourdb").unlink()
    before = contents(path)
    with pytest.raises(ourdb.OurDBError) as caught:
        ourdb.new(path=path, record_nr_max=6000 * right // given, keysize=given)
    assert str(given) in str(caught.value)
    assert str(right) in str(caught.value)
    assert contents(path) == before
    with ourdb.new(path=path, record_nr_max=6000, keysize=right) as db:
        assert db.get(20) == b"some data"


@pytest.mark.parametrize(
    "given",
    [
        {"record_nr_max": 0},
        {"record_nr_max": -5},
        {"record_nr_max": 2**32},
        {"record_nr_max": "1000"},
        {"record_nr_max": True},
        {"record_size_max": -1},
        {"file_size": 0},
        {"file_size": 1.5},
        {"incremental_mode": 1},
        {"keysize": 5},
        {"keysize": 8},
        {"synchronous": "sometimes"},
        {"timeout": -1.0},
        {"timeout": "1"},
    ],
)
def test_an_impossible_option_is_refused_and_no_folder_made(given: dict[str, Any], path: Path) -> None:
    with pytest.raises(ourdb.OurDBError) as caught:
        ourdb.new(path=path, **given)
    (name,) = given
    assert name in str(caught.value)
    assert not path.exists()


# The table of docs/format.md; a table is sparse, so that the larger ones cost nothing here.
@pytest.mark.parametrize(
    ("record_nr_max", "record_size_max", "keysize", "table_size"),
    [
        (16777215, 4096, 6, 100663290),
        (16777215, 1, 3, 50331645),
        (16777215, 2, 6, 100663290),
        (1000, 4096, 2, 2000),
        (1000, 65535, 6, 6000),
        (4882, 4096, 2, 9764),
        (4883, 4096, 6, 29298),
        (65535, 305, 2, 131070),
        (65535, 306, 6, 393210),
        (65536, 305, 3, 196608),
        (65536, 306, 6, 393216),
        (65536, 65536, 3, 196608),
        (1048576, 4096, 3, 3145728),
        (16777216, 1, 4, 67108864),
        (16777216, 256, 4, 67108864),
        (16777216, 4096, 4, 67108864),
        (16777216, 4097, 4, 67108864),
        (20000000, 1, 4, 80000000),
        (20000001, 1, 6, 120000006),
    ],
)
def test_the_key_size_follows_from_the_config_as_in_the_reference(
    record_nr_max: int, record_size_max: int, keysize: int, table_size: int, path: Path
) -> None:
    with ourdb.new(path=path, record_nr_max=record_nr_max, record_size_max=record_size_max) as db:
        assert db.config.keysize == keysize
        db.set(data=b"x")
    table = (path / "lookup" / "data").stat()
    assert table.st_size == table_size
    assert table.st_blocks * 512 <= 64 * 1024


def test_the_defaults_are_the_references(path: Path) -> None:
    with ourdb.new(path=path) as db:
        config = db.config
    assert (config.record_nr_max, config.record_size_max, config.file_size) == (16777215, 4096, 500 * 2**20)
    assert config.incremental_mode is True


def test_reset_empties_the_database_and_leaves_other_files_alone(path: Path) -> None:
    with ourdb.new(path=path, file_size=100) as db:
        for _ in range(10):
            db.set(data=bytes(50))
    (path / "mine.txt").write_bytes(b"not the database's")
    with ourdb.new(path=path, reset=True) as db:
        assert list(db) == []
        assert db.set(data=b"first") == 1
    assert (path / "mine.txt").read_bytes() == b"not the database's"
    assert sorted(file.name for file in path.glob("*.db")) == ["0.db"]


def test_reset_takes_back_a_compaction_that_was_not_finished(path: Path) -> None:
    """Its new files would come in the place of those that were removed."""
    with ourdb.new(path=path) as db:
        db.set(data=b"old")
    shutil.copy(path / "0.db", path / "0.db.compact")
    (path / "compact").write_bytes(b"1 %08x" % zlib.crc32(b"1 "))
    with ourdb.new(path=path, reset=True) as db:
        assert list(db) == []
    assert not list(path.glob("*compact"))


def test_reset_leaves_an_exported_table_alone(path: Path) -> None:
    with ourdb.new(path=path) as db:
        db.set(data=b"old")
        db.export_data(path / "lookup_data")
    (path / "007.db").write_bytes(b"not the database's")
    with ourdb.new(path=path, reset=True) as db:
        assert list(db) == []
    assert (path / "lookup_data" / "data").exists()
    assert (path / "007.db").exists()


# The handle


def test_a_closed_handle_says_so(db: ourdb.OurDB, tmp_path: Path) -> None:
    db.set(id=1, data=b"x")
    db.close()
    db.close()
    calls: list[Callable[[], object]] = [
        lambda: db.get(1),
        lambda: db.get_history(1, 1),
        lambda: db.lookup(1),
        lambda: db.set(id=1, data=b"y"),
        lambda: db.delete(1),
        lambda: db.get_many([1]),
        lambda: db.set_many([(1, b"y")]),
        lambda: db.delete_many([1]),
        lambda: 1 in db,
        lambda: len(db),
        lambda: list(db),
        lambda: db.snapshot().__enter__(),
        lambda: db.transaction().__enter__(),
        db.sync,
        db.refresh,
        db.get_next_id,
        db.compact,
        db.stats,
        lambda: list(db.check()),
        lambda: db.export_data(tmp_path / "full"),
        lambda: db.export_sparse(tmp_path / "sparse"),
        lambda: db.backup(tmp_path / "backup"),
    ]
    for call in calls:
        with pytest.raises(ourdb.DatabaseClosed, match="closed"):
            call()
    assert not (tmp_path / "backup").exists()


def test_destroy_removes_the_folder(path: Path) -> None:
    db = ourdb.new(path=path)
    db.set(data=b"x")
    db.destroy()
    assert not path.exists()
    with pytest.raises(ourdb.DatabaseClosed):
        db.get(1)


def test_with_closes(path: Path) -> None:
    with ourdb.new(path=path) as db:
        db.set(data=b"x")
    with pytest.raises(ourdb.DatabaseClosed):
        db.get(1)


def test_a_second_writer_is_refused_in_this_process_and_in_another(db: ourdb.OurDB, path: Path) -> None:
    db.set(id=1, data=b"x")
    with pytest.raises(ourdb.DatabaseLocked, match=str(os.getpid())):
        ourdb.new(path=path)
    script = "import ourdb, sys\ntry: ourdb.new(path=sys.argv[1])\nexcept ourdb.DatabaseLocked as e: print(e)"
    found = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert str(os.getpid()) in found.stdout
    assert db.set(id=1, data=b"y") == 1


def test_a_reader_beside_the_writer_sees_commits_and_writes_nothing(db: ourdb.OurDB, path: Path) -> None:
    db.set(id=1, data=b"one")
    before = contents(path)
    with ourdb.new(path=path, read_only=True) as reader:
        assert reader.get(1) == b"one"
        for call in (
            lambda: reader.set(id=1, data=b"x"),
            lambda: reader.delete(1),
            lambda: reader.set_many([(1, b"x")]),
            reader.compact,
            reader.destroy,
        ):
            with pytest.raises(ourdb.ReadOnly):
                call()
        assert contents(path) == before
        db.set(id=1, data=b"two")
        reader.refresh()
        assert reader.get_history(1, 5) == [b"two", b"one"]


# Bad folders


def test_a_folder_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    (folder / "picture.jpg").write_bytes(b"jpeg")
    before = contents(folder)
    for read_only in (False, True):
        with pytest.raises(ourdb.UnsupportedFormat, match="photos"):
            ourdb.new(path=folder, read_only=read_only)
    assert contents(folder) == before


def test_an_empty_folder_becomes_a_database_but_not_for_a_reader(tmp_path: Path) -> None:
    with pytest.raises(ourdb.UnsupportedFormat):
        ourdb.new(path=tmp_path, read_only=True)
    assert contents(tmp_path) == {}
    with ourdb.new(path=tmp_path) as db:
        assert db.set(data=b"x") == 1


def test_a_missing_folder_is_not_made_for_a_reader(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ourdb.new(path=path, read_only=True)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_path_that_is_a_file_is_refused(read_only: bool, path: Path) -> None:
    path.write_bytes(b"a file")
    with pytest.raises(NotADirectoryError) as caught:
        ourdb.new(path=path, read_only=read_only)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"a file"


def test_record_files_without_a_table_are_not_overwritten(path: Path) -> None:
    """The reference leaves such folders; a new table over them would lose every record."""
    with ourdb.new(path=path) as db:
        db.set(data=b"precious")
    for name in ("data", ".inc", ".ourdb"):
        (path / "lookup" / name).unlink()
    (path / "lookup").rmdir()
    before = contents(path)
    for read_only in (False, True):
        with pytest.raises(ourdb.UnsupportedFormat, match="repair"):
            ourdb.new(path=path, read_only=read_only)
    assert contents(path) == before
    with ourdb.open_recovered(path=path) as db:
        assert db.get(1) == b"precious"


def test_a_record_file_without_the_first_one_is_not_written_beside(path: Path) -> None:
    path.mkdir()
    (path / "5.db").write_bytes(b"precious")
    with pytest.raises(ourdb.UnsupportedFormat, match="repair"):
        ourdb.new(path=path)
    assert contents(path) == {"5.db": b"precious"}


# Modules are loaded first: an interpreter in root's home can't be read by anybody else.
UNPRIVILEGED = """
import os, sys, tempfile, traceback
import ourdb
with tempfile.TemporaryDirectory() as scratch:
    ourdb.new(path=scratch).close()
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for read_only in (False, True):
    try:
        with ourdb.new(path=sys.argv[1], read_only=read_only) as db:
            print("opened", db.get(1))
    except PermissionError as error:
        print("refused", error.filename)
"""


@pytest.mark.parametrize("part", ["lookup", "."])
def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_one_without_a_table(part: str) -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        path = Path(parent) / "db"
        with ourdb.new(path=path) as db:
            db.set(data=b"x")
        (path / part).chmod(0)
        found = subprocess.run([sys.executable, "-c", UNPRIVILEGED, path], capture_output=True, text=True, check=False)
        (path / part).chmod(0o755)
        assert found.stderr == ""
        assert all(line.startswith(f"refused {path}") for line in found.stdout.splitlines())
        assert found.stdout.count("\n") == 2


def test_a_folder_without_write_permission_is_refused_but_opens_for_reading() -> None:
    """In a child process that gives up root's rights, if it has them."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        path = Path(parent) / "db"
        with ourdb.new(path=path) as db:
            db.set(data=b"x")
        for entry in (path, *path.rglob("*")):
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        before = contents(path)
        found = subprocess.run([sys.executable, "-c", UNPRIVILEGED, path], capture_output=True, text=True, check=False)
        assert found.stderr == ""
        refused, opened = found.stdout.splitlines()
        assert refused.startswith(f"refused {path}")
        assert opened == "opened b'x'"
        assert contents(path) == before
        for entry in (path, path / "lookup"):
            entry.chmod(0o755)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        ourdb.new(path=tmp_path / "file" / "db")


# Damage


def damaged(path: Path) -> bytearray:
    """Make a database with three records and return the bytes of `0.db`, for the test to damage."""
    with ourdb.new(path=path, incremental_mode=False, record_nr_max=1000) as db:
        for record_id in (1, 2, 3):
            db.set(id=record_id, data=f"record number {record_id}".encode())
    return bytearray((path / "0.db").read_bytes())


RECORD = 12 + len("record number 1")


@pytest.mark.parametrize("offset", range(RECORD))
def test_a_flipped_byte_is_a_corrupt_record_and_the_others_are_read(offset: int, path: Path) -> None:
    """Whichever byte of the record it is, but for its previous location, which history reads."""
    raw = damaged(path)
    at = 1 + RECORD
    raw[at + offset] ^= 0xFF
    (path / "0.db").write_bytes(raw)
    with ourdb.new(path=path) as db:
        assert [db.get(1), db.get(3)] == [b"record number 1", b"record number 3"]
        if 6 <= offset < 12:
            assert db.get(2) == b"record number 2"
            read: Callable[[], object] = lambda: db.get_history(2, 2)  # noqa: E731
        else:
            read = lambda: db.get(2)  # noqa: E731
        with pytest.raises(ourdb.CorruptRecord) as caught:
            read()
        assert str(path / "0.db") in str(caught.value) or 6 <= offset < 8
        if not 6 <= offset < 12:
            assert caught.value.position == at
            assert caught.value.path == str(path / "0.db")
        assert list(db.check()) != []
    assert (path / "0.db").read_bytes() == raw


def test_a_flipped_data_byte_is_named_as_the_reference_does(path: Path) -> None:
    raw = damaged(path)
    raw[-1] ^= 1
    (path / "0.db").write_bytes(raw)
    with ourdb.new(path=path) as db, pytest.raises(ourdb.CorruptRecord, match="CRC mismatch: data corruption detected"):
        db.get(3)


@pytest.mark.parametrize("missing", range(1, RECORD + 1))
def test_a_truncated_record_is_corrupt_and_the_others_are_read(missing: int, path: Path) -> None:
    raw = damaged(path)[:-missing]
    (path / "0.db").write_bytes(raw)
    with ourdb.new(path=path, read_only=True) as db:
        assert [db.get(1), db.get(2)] == [b"record number 1", b"record number 2"]
        with pytest.raises(ourdb.CorruptRecord) as caught:
            db.get(3)
        assert caught.value.path == str(path / "0.db")
        assert list(db.check()) != []
    assert (path / "0.db").read_bytes() == raw


def test_a_truncated_last_record_does_not_spoil_the_next_set(path: Path) -> None:
    raw = damaged(path)[:-3]
    (path / "0.db").write_bytes(raw)
    with ourdb.new(path=path) as db:
        db.set(id=4, data=b"record number 4")
        assert db.get(4) == b"record number 4"
        assert [db.get(1), db.get(2)] == [b"record number 1", b"record number 2"]
        with pytest.raises(ourdb.CorruptRecord):
            db.get(3)


@pytest.mark.parametrize("location", [0xFFFF, 0xFFFFFF, 0xFFFF_0000_0001, 0x0000_FFFF_FFFF])
def test_a_slot_that_points_nowhere_is_corrupt_and_never_other_data(location: int, path: Path) -> None:
    with ourdb.new(path=path, incremental_mode=False, record_nr_max=1000, keysize=6) as db:
        for record_id in (1, 2, 3):
            db.set(id=record_id, data=b"x")
    with (path / "lookup" / "data").open("r+b") as table:
        table.seek(2 * 6)
        table.write(location.to_bytes(6, "big"))
    with ourdb.new(path=path) as db:
        with pytest.raises(ourdb.CorruptRecord):
            db.get(2)
        assert [db.get(1), db.get(3)] == [b"x", b"x"]
        assert [problem.record_id for problem in db.check()] == [2]


def test_a_history_that_loops_ends_with_an_error(path: Path) -> None:
    """The previous location of a record points at the record itself: it must be older, so it is refused."""
    raw = damaged(path)
    raw[1 + 6 : 1 + 12] = struct.pack(">HI", 0, 1)
    (path / "0.db").write_bytes(raw)
    with ourdb.new(path=path) as db:
        assert db.get(1) == b"record number 1"
        with pytest.raises(ourdb.CorruptRecord):
            db.get_history(1, 1_000_000)


@pytest.mark.parametrize("change", ["shorter", "longer", "empty"])
def test_a_table_of_the_wrong_size_is_refused(change: str, path: Path) -> None:
    damaged(path)
    table = path / "lookup" / "data"
    raw = table.read_bytes()
    table.write_bytes({"shorter": raw[:-1], "longer": raw + b"\0", "empty": b""}[change])
    before = contents(path)
    with pytest.raises(ourdb.OurDBError, match="data"):
        ourdb.new(path=path)
    assert contents(path) == before


@pytest.mark.parametrize("inc", [b"", b"zero", b"-1", b"1e3", b"99999999999999999999", b"\xff"])
def test_a_damaged_next_id_is_refused(inc: bytes, path: Path) -> None:
    with ourdb.new(path=path) as db:
        db.set(data=b"x")
    (path / "lookup" / ".inc").write_bytes(inc)
    before = contents(path)
    with pytest.raises(ourdb.OurDBError, match=r"\.inc"):
        ourdb.new(path=path)
    assert contents(path) == before


def test_any_flipped_byte_of_the_identity_is_refused(path: Path) -> None:
    """`lookup/.ourdb` holds the config: read wrong, every slot would be."""
    damaged(path)
    file = path / "lookup" / ".ourdb"
    raw = file.read_bytes()
    misread = []
    for offset in range(len(raw)):
        changed = bytearray(raw)
        changed[offset] ^= 0x01
        file.write_bytes(changed)
        try:
            with ourdb.new(path=path, read_only=True) as db:
                if db.config.table_size != 2000 or db.get(1) != b"record number 1":
                    misread.append(offset)
        except ourdb.OurDBError:
            pass
    assert misread == []
