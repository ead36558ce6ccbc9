"""Ids: never given out twice while in use, used again when free, found again after a kill."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import ourdb
import vfs_db
from vfs_db import MemoryDatabase, codec
from vfs_db.counter import (
    COUNTER_FIELDS,
    CorruptCounter,
    Counter,
    NextIds,
    PlaceholderIds,
    decode_counter,
    encode_counter,
    id_source,
)

DOCS = Path(__file__).parents[2] / "docs" / "format.md"


def test_record_0_is_what_the_docs_say() -> None:
    data = encode_counter(7, [3, 5])
    assert data.hex() == "564944530100" + "07000000" + "02000000" + "03000000" + "05000000" + data[-4:].hex()
    assert decode_counter(data) == (7, [3, 5])


def test_every_damage_of_record_0_is_noticed() -> None:
    data = encode_counter(70, [3, 5, 9])
    for size in range(len(data)):
        with pytest.raises(CorruptCounter):
            decode_counter(data[:size])
    for at in range(len(data)):
        with pytest.raises(CorruptCounter):
            decode_counter(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_hints_that_can_not_be_ids_are_dropped() -> None:
    assert decode_counter(encode_counter(7, [0, 3, 7, 8])) == (7, [3])


def test_most_creations_do_not_write_record_0(tmp_path: Path) -> None:
    fs = vfs_db.open(tmp_path)
    for number in range(200):
        fs.file_write(f"f{number}", b"x")
    metadata = fs.db_metadata
    assert isinstance(metadata, ourdb.OurDB)
    versions = len(metadata.get_history(0, 1000))
    assert 200 / 64 <= versions <= 200 / 64 + 3
    fs.close()


def test_closing_writes_the_exact_next_id(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        highest = fs.file_create("a").metadata.id
    with vfs_db.open(tmp_path) as fs:
        assert fs.file_create("b").metadata.id == highest + 1


def test_freed_ids_are_used_again_also_after_reopening(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        ids = [fs.file_create(f"f{number}").metadata.id for number in range(10)]
        for number in range(10):
            fs.delete(f"f{number}")
    with vfs_db.open(tmp_path) as fs:
        again = [fs.file_create(f"g{number}").metadata.id for number in range(10)]
        assert sorted(again) == ids


def test_years_of_churn_do_not_use_ids_up() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    highest = 0
    for _ in range(300):
        file = fs.file_write("f", b"x" * 100)
        highest = max(highest, file.metadata.id, *file.chunk_ids)
        fs.delete("f")
    assert highest < 5


def test_hint_that_is_in_use_is_not_given_out() -> None:
    """After a kill record 0 may list ids that were used again since."""
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    first = fs.file_write("a", b"first").metadata.id
    metadata.set(id=0, data=encode_counter(first + 5, [first]))
    data.set(id=0, data=encode_counter(9, [1]))
    again = vfs_db.new(data, metadata)
    second = again.file_write("b", b"second")
    assert second.metadata.id != first
    assert list(second.chunk_ids) != [1]
    assert (again.file_read("a"), again.file_read("b")) == (b"first", b"second")


@pytest.mark.parametrize("damage", [None, b"", b"garbage", encode_counter(9, [2])[:-1]])
def test_lost_record_0_is_made_again_from_the_tree(damage: bytes | None) -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fs.makedirs("a/b")
    fs.file_write("a/b/f", b"f" * 100_000)
    for database in (data, metadata):
        database.delete(0)
        if damage is not None:
            database.set(id=0, data=damage)
    again = vfs_db.new(data, metadata)
    again.file_write("g", b"g")
    again.dir_create("d")
    assert again.file_read("a/b/f") == b"f" * 100_000
    assert list(again.check()) == []


def test_ids_lost_to_kills_are_found_when_no_other_is_left(tmp_path: Path) -> None:
    def opened() -> vfs_db.DatabaseVFS:
        options: dict[str, Any] = {"incremental_mode": False, "record_nr_max": 100, "record_size_max": 65535}
        return vfs_db.new(
            ourdb.new(path=str(tmp_path / "data"), **options), ourdb.new(path=str(tmp_path / "metadata"), **options)
        )

    fs = opened()
    for number in range(50):
        fs.file_create(f"f{number}")
    metadata = fs.db_metadata
    fs.close()
    metadata = ourdb.new(path=str(tmp_path / "metadata"))
    metadata.set(id=0, data=encode_counter(100, []))  # as after many kills: all ids given out
    metadata.close()
    fs = opened()
    made = [fs.file_create(f"g{number}").metadata.id for number in range(48)]
    assert len(set(made)) == 48
    with pytest.raises(OSError, match="No space left on device") as caught:
        fs.file_create("one too many")
    assert caught.value.errno == 28
    assert list(fs.check()) == []
    fs.delete("g3")
    fs.file_create("fits again")
    fs.close()


def test_failed_operation_gives_its_ids_back() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    before = fs.file_create("a").metadata.id
    for _ in range(5):
        with pytest.raises(RuntimeError), fs.transaction():
            fs.file_create("b")
            raise RuntimeError
    assert fs.file_create("b").metadata.id == before + 1


def test_each_kind_of_database_gets_the_source_that_fits(tmp_path: Path) -> None:
    assert isinstance(id_source(MemoryDatabase(), is_transactional=False), Counter)
    assert isinstance(id_source(MemoryDatabase(incremental_mode=True), is_transactional=False), PlaceholderIds)
    with ourdb.new(path=str(tmp_path / "db")) as db:
        assert isinstance(id_source(db, is_transactional=True), NextIds)


def test_incremental_ids_of_a_rolled_back_file_stay_in_step(tmp_path: Path) -> None:
    fs = vfs_db.new(ourdb.new(path=str(tmp_path / "d")), ourdb.new(path=str(tmp_path / "m")))
    with pytest.raises(RuntimeError), fs.transaction():
        fs.file_write("a", b"a")
        raise RuntimeError
    with fs.transaction():
        fs.file_write("b", b"b")
        fs.file_write("c", b"c")
        fs.delete("b")
        fs.file_write("d", b"d")
    assert [entry.metadata.name for entry in fs.dir_list("/")] == ["c", "d"]
    assert (fs.file_read("c"), fs.file_read("d")) == (b"c", b"d")
    assert list(fs.check()) == []
    fs.close()


def rows(title: str) -> list[tuple[str, str]]:
    """Return (field, type) of the table under *title* in the docs."""
    section = DOCS.read_text("utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    return [(one[0], one[1]) for one in re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", section, re.MULTILINE)][1:]


def test_docs_have_the_fields_of_record_0() -> None:
    assert [row for row in rows("Record 0") if row[0] != "---"] == list(COUNTER_FIELDS)


def test_docs_have_the_fields_of_an_entry() -> None:
    found = [row for row in rows("Version 1 entries") if row[0] != "---"]
    assert found[: len(codec.FIELDS)] == list(codec.FIELDS)
    assert [row[0] for row in found[len(codec.FIELDS) :]] == ["children", "chunk ids", "target"]
