"""`set_many` takes a short way for common items; whatever comes between them, it does what single sets do."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ourdb
from ourdb.db import OurDB
from ourdb.disk import Disk

_ITEMS = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(st.binary(max_size=40), st.binary(max_size=9).map(bytearray))), max_size=30
)


def _bytes_of(path: Path) -> dict[str, str]:
    files = [*path.glob("*.db"), path / "lookup" / "data"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(_ITEMS, max_size=4), file_size=st.sampled_from([64, 500_000_000]), full=st.booleans())
def test_set_many_writes_what_single_sets_write(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[int, bytes]]],
    file_size: int,
    full: bool,
) -> None:
    folder = tmp_path_factory.mktemp("many")
    for name in ("one", "many"):
        with ourdb.new(
            folder / name, record_nr_max=10, file_size=file_size, incremental_mode=False, keysize=6,
            synchronous="full" if full else "off",
        ) as db:  # fmt: skip
            for items in batches:
                if name == "many":
                    assert db.set_many(items) == [record_id for record_id, _ in items]
                else:
                    for record_id, data in items:
                        db.set(id=record_id, data=data)
    assert _bytes_of(folder / "many") == _bytes_of(folder / "one")


def test_items_may_write_themselves_while_they_are_taken(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, record_nr_max=1000) as db:
        db.set(id=0, data=b"before")

        def items() -> Iterator[tuple[int, bytes]]:
            yield 1, b"one"
            db.set(id=2, data=b"two")
            with db.transaction():
                yield 3, b"three"
                db.set(id=999, data=b"both")
            db.delete(0)
            yield from ((record_id, b"many") for record_id in range(4, 400))
            db.delete(4)  # it was stored by now: items are taken 128 at a time
            db.set(id=2, data=b"two again")
            yield 999, b"the last one counts"

        assert db.set_many(items()) == [1, *range(3, 400), 999]
        assert list(db) == [1, 2, 3, *range(5, 400), 999]
        assert len(db) == 399
        assert db.get_many([2, 3, 999]) == [b"two again", b"three", b"the last one counts"]
        assert db.get_history(999, 9) == [b"the last one counts", b"both"]


def test_ids_given_by_the_database_in_one_go(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=1000) as db:
        assert db.set_many([(None, b"a")] * 300) == list(range(1, 301))
        assert db.set_many([(None, b"new"), (7, b"again"), (None, b"newer")]) == [301, 7, 302]
        assert db.set_many((record_id, b"all again") for record_id in range(1, 201)) == list(range(1, 201))
        assert db.get_history(7, 9) == [b"all again", b"again", b"a"]
        with pytest.raises(ourdb.DatabaseFull):
            db.set_many([(None, b"too many")] * 800)
        with pytest.raises(ourdb.OurDBError, match="incremental"):
            db.set_many([(record_id, b"") for record_id in range(290, 500)])
        assert db.get_next_id() == 303
        assert len(db) == 302
        assert list(db.check()) == []


@pytest.mark.parametrize("bad", [(100, b""), (-1, b""), (True, b""), (5, "text"), (5, bytes(65536)), (None, b"")])
@pytest.mark.parametrize("others", [1, 90])
def test_one_bad_item_leaves_everything_as_it_was(tmp_path: Path, bad: tuple[int, bytes], others: int) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, record_nr_max=100) as db:
        db.set(id=5, data=b"kept")
        with pytest.raises((TypeError, ValueError, ourdb.OurDBError)):
            db.set_many([(5, b"gone"), *((record_id, b"gone") for record_id in range(6, 6 + others)), bad])
        assert list(db) == [5]
        assert db.get_history(5, 9) == [b"kept"]
        db.set(id=5, data=b"on it goes")
    with ourdb.new(tmp_path / "db") as again:
        assert again.get_history(5, 9) == [b"on it goes", b"kept"]
        assert list(again.check()) == []


class _FullDisk(Disk):
    """A disk that is full for large writes while *is_full*."""

    is_full = False

    def write_all(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> None:
        if self.is_full and len(data) > 1 << 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write_all(fd, data, position)


def test_a_nested_set_many_that_fails_on_a_full_disk_takes_back_its_own(tmp_path: Path) -> None:
    disk = _FullDisk()
    with OurDB(str(tmp_path / "db"), {"incremental_mode": False}, disk=disk) as db:
        with db.transaction():
            db.set(id=1, data=b"before")
            disk.is_full = True
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                db.set_many([(record_id, bytes(60000)) for record_id in range(1, 100)])
            disk.is_full = False
            db.set(id=2, data=b"behind")
        assert {record_id: db.get_history(record_id, 9) for record_id in db} == {1: [b"before"], 2: [b"behind"]}
        assert len(db) == 2
        assert list(db.check()) == []
