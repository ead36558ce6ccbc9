"""`write_batch`: a transaction's changes in one call. And parts of records, read without the rest."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path
from typing import Any

import pytest

import ourdb
from ourdb.db import OurDB
from ourdb.errors import CorruptRecord, DatabaseClosed, OurDBError, ReadOnly, RecordNotFound, RecordTooLarge


def _pair(folder: Path, **options: Any) -> tuple[OurDB, OurDB]:
    data = ourdb.new(folder / "data", incremental_mode=False, record_nr_max=1000, keysize=6, **options)
    metadata = ourdb.new(folder / "metadata", incremental_mode=False, record_nr_max=1000, keysize=6, **options)
    ourdb.joined(data, metadata)
    return data, metadata


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".ourdb"
    }


@pytest.mark.parametrize("synchronous", ["off", "normal", "full"])
@pytest.mark.parametrize("file_size", [2000, 1 << 20])
def test_leaves_the_same_bytes_as_a_transaction(tmp_path: Path, synchronous: str, file_size: int) -> None:
    chosen = random.Random(file_size)
    one = _pair(tmp_path / "one", synchronous=synchronous, file_size=file_size)
    two = _pair(tmp_path / "two", synchronous=synchronous, file_size=file_size)
    there: tuple[set[int], set[int]] = (set(), set())
    for _ in range(120):
        sets: list[list[tuple[int, bytes]]] = []
        deletes: list[list[int]] = []
        for ids in there:
            sets.append([(chosen.randrange(40), chosen.randbytes(chosen.randrange(300))) for _ in range(3)])
            gone = sorted(ids - {record_id for record_id, _ in sets[-1]})[: chosen.randrange(3)]
            deletes.append(gone)
            ids.update(record_id for record_id, _ in sets[-1])
            ids.difference_update(gone)
        one[1].write_batch(sets[1], deletes[1], joined_sets=sets[0], joined_deletes=deletes[0])
        with two[1].transaction():
            for db, some_sets, some_deletes in zip(two, sets, deletes, strict=True):
                for record_id, data in some_sets:
                    db.set(id=record_id, data=data)
                for record_id in some_deletes:
                    db.delete(record_id)
        for mine, theirs in zip(one, two, strict=True):
            assert len(mine) == len(theirs)
            assert {record_id: mine.get(record_id) for record_id in mine} == {
                record_id: theirs.get(record_id) for record_id in theirs
            }
    for db in one + two:
        db.close()
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_is_all_or_nothing(tmp_path: Path) -> None:
    data, metadata = _pair(tmp_path)
    metadata.write_batch([(1, b"one")], joined_sets=[(1, b"content")])
    with pytest.raises(RecordNotFound):
        metadata.write_batch([(1, b"two")], [7], joined_sets=[(1, b"other")])
    with pytest.raises(RecordTooLarge):
        metadata.write_batch([(1, b"two")], joined_sets=[(1, bytes(65536))])
    with pytest.raises(TypeError):
        metadata.write_batch([(1, b"two"), (2, "text")], joined_sets=[(1, b"other")])  # type: ignore[list-item]
    with pytest.raises(RecordNotFound):
        metadata.write_batch([], [1, 1])
    assert (metadata.get(1), data.get(1)) == (b"one", b"content")
    assert metadata.get_history(1, 5) == [b"one"]
    with pytest.raises(RuntimeError), metadata.transaction():
        metadata.write_batch([(1, b"two")], joined_deletes=[1])
        assert 1 not in data
        raise RuntimeError
    assert (metadata.get(1), data.get(1)) == (b"one", b"content")
    data.close()
    metadata.close()
    with pytest.raises(DatabaseClosed):
        metadata.write_batch([(1, b"two")])


def test_a_snapshot_keeps_what_a_batch_replaces(tmp_path: Path) -> None:
    data, metadata = _pair(tmp_path)
    metadata.write_batch([(1, b"one")], joined_sets=[(1, b"content")])
    with metadata.snapshot() as then, data.snapshot() as content:
        metadata.write_batch([(1, b"two")], joined_deletes=[1])
        assert (then.get(1), content.get(1)) == (b"one", b"content")
    assert metadata.get(1) == b"two"
    assert 1 not in data
    data.close()
    metadata.close()


def test_refuses_what_set_refuses(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=True) as db:
        db.write_batch([(None, b"one"), (None, b"two"), (1, b"new")])
        db.write_batch([(None, b"three"), (2, b"newer")], [1])
        assert [db.get(record_id) for record_id in db] == [b"newer", b"three"]
        with pytest.raises(OurDBError, match="incremental"):
            db.write_batch([(9, b"data")])
        with pytest.raises(OurDBError, match="not joined"):
            db.write_batch([], joined_sets=[(1, b"")])
    with ourdb.new(tmp_path / "db", read_only=True) as db, pytest.raises(ReadOnly):
        db.write_batch([(1, b"data")])


# Parts of records


def _part(db: OurDB, record_id: int, start: int, size: int) -> bytes:
    buffer = bytearray(size)
    with memoryview(buffer) as view:
        part = bytes(buffer[: db.read_into(record_id, view, start)])
    for _ in range(2):  # not verified perhaps, and verified
        assert db.read_part(record_id, start, start + size) == part
    return part


def test_parts_are_what_get_gives(tmp_path: Path) -> None:
    chosen = random.Random(1)
    with ourdb.new(tmp_path / "db", incremental_mode=False, record_nr_max=100, keysize=6) as db:
        for turn in range(20):
            for record_id in range(20):
                db.set(id=record_id, data=chosen.randbytes(chosen.choice((0, 1, 500, 65535))))
            if turn % 7 == 3:
                db.sync()
            if turn % 10 == 9:
                db.compact(keep_history=turn % 20 == 19)
            for _ in range(30):
                record_id, start, size = chosen.randrange(20), chosen.randrange(66000), chosen.randrange(5000)
                assert _part(db, record_id, start, size) == db.get(record_id)[start : start + size]
        with db.transaction():
            db.set(id=1, data=b"staged")
            assert _part(db, 1, 2, 9) == b"aged"
        with db.snapshot() as then, memoryview(bytearray(3)) as view:
            db.set(id=1, data=b"newer")
            assert (then.read_into(1, view, 0), bytes(view)) == (3, b"sta")
            assert then.read_part(1, 1, 3) == b"ta"
        db.delete(1)
        with pytest.raises(RecordNotFound):
            _part(db, 1, 0, 5)
        with pytest.raises(ValueError, match="start"):
            _part(db, 2, -1, 5)
        expected = db.get(2)[10:30]
    with pytest.raises(DatabaseClosed):
        _part(db, 2, 10, 20)
    with ourdb.new(tmp_path / "db", read_only=True) as db:
        assert _part(db, 2, 10, 20) == expected


def test_the_first_part_verifies_the_whole_record(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        for record_id in range(100):
            db.set(id=record_id, data=bytes([record_id]) * 1000)
    raw = bytearray((tmp_path / "db" / "0.db").read_bytes())
    raw[1 + 40 * 1012 + 12 + 999] ^= 1  # the last byte of record 40
    (tmp_path / "db" / "0.db").write_bytes(raw)
    with ourdb.new(tmp_path / "db") as db:
        for _ in range(2):
            for record_id in range(100):
                if record_id == 40:
                    with pytest.raises(CorruptRecord, match="CRC"):
                        _part(db, record_id, 0, 10)
                else:
                    assert _part(db, record_id, 10, 10) == bytes([record_id]) * 10


def test_parts_beside_deletes_and_checkpoints(tmp_path: Path) -> None:
    """A checkpoint overwrites deleted records with zeros; nobody may be handed those."""
    found: list[bytes] = []
    with ourdb.new(tmp_path / "db", incremental_mode=False, record_nr_max=100, keysize=6) as db:
        db.set(id=1, data=b"x" * 60_000)
        is_over = threading.Event()

        def read() -> None:
            while not is_over.is_set():
                try:
                    found.append(bytes(set(_part(db, 1, 100, 50_000))))
                except RecordNotFound:
                    continue

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(15):
            db.delete(1)
            db.sync()
            db.set(id=1, data=b"x" * 60_000)
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert set(found) == {b"x"}


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_batches_beside_compactions_lose_nothing(tmp_path: Path, synchronous: Any) -> None:
    """A compaction puts another store in place while writers wait for the lock."""
    with ourdb.new(tmp_path / "db", incremental_mode=False, record_nr_max=100, synchronous=synchronous) as db:

        def write(thread: int) -> None:
            for number in range(60):
                db.set_many([(thread, b"%d" % number)])
                db.write_batch([(thread + 10, b"%d" % number)])
                db.set(id=thread + 20, data=b"%d" % number)

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            db.compact()
        assert {db.get(record_id) for record_id in db} == {b"59"}
        assert len(db) == 9
    with ourdb.new(tmp_path / "db") as db:
        assert {db.get(record_id) for record_id in db} == {b"59"}
        assert list(db.check()) == []


def test_a_part_read_in_a_transaction_that_is_rolled_back_says_nothing_of_what_lies_there_then(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        with contextlib.suppress(ZeroDivisionError), db.transaction():
            db.set(id=1, data=b"taken back" * 10)
            for _ in range(3):  # mapped, verified, remembered
                assert db.read_part(1, 0, 50) == b"taken back" * 5
            raise ZeroDivisionError
        db.set(id=1, data=b"short")
        db.set(id=2, data=b"what follows it" * 5)
        assert db.read_part(1, 0, 50) == b"short"


@pytest.mark.parametrize("stop", [65536, 10**12, 10**30])
def test_a_part_may_end_far_behind_the_record(tmp_path: Path, stop: int) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        db.set(id=1, data=b"hello")
        assert db.read_part(1, 1, stop) == b"ello"
        assert db.read_part(1, 10**20, stop) == b""
        with db.snapshot() as then:
            assert then.read_part(1, 1, stop) == b"ello"


def test_what_an_iterator_gives_is_written_whichever_way_it_takes(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        db.set(id=0, data=b"the journal is open")
        for data in (b"plain", bytearray(b"one that a transaction has to take")):
            db.write_batch(((record_id, data) for record_id in range(1, 4)), iter([0]))  # type: ignore[misc]
            assert db.get_many([1, 2, 3]) == [data] * 3
            assert 0 not in db
            db.set(id=0, data=b"again")
