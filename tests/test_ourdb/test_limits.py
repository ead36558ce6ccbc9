"""The limits at their edges: the last that fits works, the first that does not is refused and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import ourdb
from ourdb.db import Synchronous

_FILE_SIZE_MAX = (1 << 32) - 1


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.glob("*.db")}


def _grow(path: Path, size: int) -> None:
    """Make a record file *size* bytes long; what is new is a hole."""
    os.truncate(path, size)


@pytest.mark.parametrize(("keysize", "end"), [(2, 1 << 16), (3, 1 << 24), (4, _FILE_SIZE_MAX)])
def test_short_slots_reach_to_their_last_position_and_no_further(tmp_path: Path, keysize: int, end: int) -> None:
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100, file_size=_FILE_SIZE_MAX, incremental_mode=False, keysize=keysize) as db:
        db.set(id=1, data=b"first")
    _grow(folder / "0.db", end - 1)
    with ourdb.new(folder) as db:
        db.set(id=2, data=b"last")
        before = _sizes(folder)
        for write in (
            lambda: db.set(id=3, data=b"too far"),
            lambda: db.set(id=1, data=b"too far"),
            lambda: db.set_many([(3, b"too far")]),
        ):
            with pytest.raises(ourdb.DatabaseFull, match=f"(slot|key size) of {keysize}"):
                write()
        assert _sizes(folder) == before
        assert list(db) == [1, 2]
    with ourdb.new(folder) as db:
        assert db.get_many([1, 2]) == [b"first", b"last"]
        db.compact()
        db.set(id=3, data=b"room again")
        assert db.get_many([1, 2, 3]) == [b"first", b"last", b"room again"]


def test_a_record_begins_at_most_at_the_last_position_of_4_gib(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100, file_size=_FILE_SIZE_MAX, incremental_mode=False, keysize=6) as db:
        db.set(id=1, data=b"first")
    _grow(folder / "0.db", _FILE_SIZE_MAX - 1)
    with ourdb.new(folder) as db:
        db.set(id=2, data=b"at the last position")
        db.set(id=3, data=b"in the next file")
        assert tuple(db.lookup(2)) == (0, _FILE_SIZE_MAX - 1)
        assert tuple(db.lookup(3)) == (1, 1)
    with ourdb.new(folder) as db:
        assert db.get_many([1, 2, 3]) == [b"first", b"at the last position", b"in the next file"]


def test_there_is_no_record_file_behind_65535(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100, file_size=50, incremental_mode=False, keysize=6) as db:
        db.set(id=1, data=b"first")
    (folder / "65535.db").write_bytes(b"\0" * 49)
    with ourdb.new(folder) as db:
        db.set(id=2, data=b"last of all")
        assert tuple(db.lookup(2)) == (65535, 49)
        before = _sizes(folder)
        for write in (lambda: db.set(id=3, data=b"no"), lambda: db.set_many([(3, b"no")])):
            with pytest.raises(ourdb.DatabaseFull, match="65536"):
                write()
        assert _sizes(folder) == before
        db.delete(1)
    with ourdb.new(folder) as db:
        assert list(db) == [2]
        assert db.get(2) == b"last of all"


@pytest.mark.parametrize("incremental", [False, True])
def test_ids_end_below_record_nr_max(tmp_path: Path, incremental: bool) -> None:
    with ourdb.new(tmp_path / "db", 4, 100, incremental_mode=incremental, keysize=6) as db:
        if incremental:
            assert [db.set(data=b"x") for _ in range(3)] == [1, 2, 3]
            for full in (db.get_next_id, lambda: db.set(data=b"x"), lambda: db.set_many([(None, b"x")])):
                with pytest.raises(ourdb.DatabaseFull, match="ids 1 to 3"):
                    full()
        else:
            db.set(id=3, data=b"x")
            for outside in (lambda: db.set(id=4, data=b"x"), lambda: db.set_many([(4, b"x")])):
                with pytest.raises(ourdb.IdOutOfRange, match="0 to 3"):
                    outside()
        before = _sizes(tmp_path / "db")
    assert _sizes(tmp_path / "db") == before


@pytest.mark.parametrize("synchronous", ["full", "normal", "off"])
def test_a_record_holds_65535_bytes_and_not_one_more(tmp_path: Path, synchronous: Synchronous) -> None:
    with ourdb.new(tmp_path / "db", 10, 100, incremental_mode=False, keysize=6, synchronous=synchronous) as db:
        db.set(id=1, data=bytes(65535))
        db.set(id=1, data=b"y" * 65535)
        before = _sizes(tmp_path / "db")
        for write in (lambda: db.set(id=1, data=bytes(65536)), lambda: db.set_many([(1, bytes(65536))])):
            with pytest.raises(ourdb.RecordTooLarge, match="65536 bytes of data, a record holds at most 65535"):
                write()
        assert _sizes(tmp_path / "db") == before
        assert db.get_history(1, 9) == [b"y" * 65535, bytes(65535)]


_ONE_FILE = {"short slots": {"keysize": 2}, "a short file": {"keysize": 4, "file_size": 50_000}}


@pytest.mark.parametrize("config", _ONE_FILE.values(), ids=_ONE_FILE)
@pytest.mark.parametrize("keep_history", [True, False])
def test_what_fits_one_file_fits_it_compacted(tmp_path: Path, config: dict[str, int], keep_history: bool) -> None:
    """A long record may begin at the last position; in the order of the ids others would come behind it."""
    with ourdb.new(tmp_path / "db", 100, 100, incremental_mode=False, **config) as db:  # type: ignore[arg-type]
        for number in range(20):
            db.set_many([(50, b"%d" % number * 500), (51, b"%d" % number * 500)])
        db.delete(51)
        for number in range(20):
            db.set(id=52 + number, data=b"%d" % number * 500)
        db.set(id=1, data=b"long" * 10_000)
        with pytest.raises(ourdb.DatabaseFull):
            db.set(id=99, data=b"x")
        before = _sizes(tmp_path / "db")["0.db"]
        versions = {one: db.get_history(one, 99)[: 99 if keep_history else 1] for one in db}
        db.compact(keep_history=keep_history)
        assert _sizes(tmp_path / "db")["0.db"] < before
    with ourdb.new(tmp_path / "db") as db:
        assert {one: db.get_history(one, 99) for one in db} == versions
        assert list(db.check()) == []


def test_more_than_the_config_allows_is_left_as_it_is_by_compact(tmp_path: Path) -> None:
    """A folder of the original tells no file_size; one that is given may be less than what is there already."""
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100, incremental_mode=False) as db:
        for number in range(20):
            db.set(id=number, data=b"%d" % number * 100)
    (folder / "lookup" / ".ourdb").unlink()
    with ourdb.new(folder, 100, 100, file_size=1000) as db:
        before = _sizes(folder)
        with pytest.raises(ourdb.DatabaseFull, match="file_size=1000 and the key size, 2.*nothing was changed"):
            db.compact()
        assert _sizes(folder) == before
        db.delete_many(range(16))
        db.compact()
        db.set(id=0, data=b"room again")
        assert db.get_many([0, 19]) == [b"room again", b"19" * 100]
