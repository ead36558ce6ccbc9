"""Names in a directory: many are looked up, few are kept; what is kept is right after every change."""

from __future__ import annotations

import errno
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS, Directory, MemoryDatabase, codec
from vfs_db.names import KNOWN_WEIGHT, Names, key_of, read_names


class Counting(MemoryDatabase):
    """Counts what is read of it."""

    gets = 0

    def get(self, id: int) -> bytes:
        self.gets += 1
        return super().get(id)


@pytest.fixture
def metadata() -> Counting:
    return Counting()


@pytest.fixture
def filled(metadata: Counting) -> DatabaseVFS:
    """A directory of 1000 files of which no cache knows anything."""
    fs = vfs_db.new(MemoryDatabase(), metadata)
    with fs.transaction():
        fs.dir_create("d")
        for number in range(1000):
            fs.file_create(f"d/{number}")
    fs.refresh()
    metadata.gets = 0
    return fs


def test_after_one_lookup_in_a_directory_another_reads_one_entry(filled: DatabaseVFS, metadata: Counting) -> None:
    filled.stat("d/1")
    assert metadata.gets <= 1000 + 4  # and the root, the name of the directory in it, the directory, the entry
    for number in range(2, 1000):
        metadata.gets = 0
        assert filled.get(f"d/{number}").metadata.name == str(number)
        assert metadata.gets == 1
    metadata.gets = 0
    assert not filled.exists("d/1000")
    assert metadata.gets <= 1  # a hash that is another name's, once in four millions


def test_what_a_lookup_keeps_is_a_few_bytes_a_name(filled: DatabaseVFS) -> None:
    tracemalloc.start()
    try:
        filled.stat("d/1")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 30_000  # decoded entries would be 500 000
    assert peak < 300_000


def test_names_lead_where_they_should_after_every_change(filled: DatabaseVFS) -> None:
    there = {str(number): filled.get(f"d/{number}").metadata.id for number in range(0, 1000, 7)}
    filled.dir_create("other")
    for turn, name in enumerate(list(there)):
        if turn % 5 == 0:
            filled.rename(f"d/{name}", f"d/new {name}")
            there[f"new {name}"] = there.pop(name)
        elif turn % 5 == 1:
            filled.delete(f"d/{name}")
            del there[name]
        elif turn % 5 == 2:
            filled.rename(f"d/{name}", f"other/{name}")
            del there[name]
        elif turn % 5 == 3:  # takes the place of another, as an editor saves
            filled.rename(f"d/{name}", f"d/{turn * 7 + 1}")
            there[str(turn * 7 + 1)] = there.pop(name)
        else:
            filled.delete(f"d/{name}")
            there[name] = filled.file_create(f"d/{name}").metadata.id
        for known in (name, f"new {name}", str(turn * 7 + 1)):
            if known in there:
                assert filled.get(f"d/{known}").metadata.id == there[known]
            elif known == name:
                assert not filled.exists(f"d/{known}")
    filled.refresh()
    assert {name: filled.get(f"d/{name}").metadata.id for name in there} == there
    assert [str(problem) for problem in filled.check()] == []


def test_names_looked_up_before_a_transaction_are_right_in_it_and_after(filled: DatabaseVFS) -> None:
    ids = [filled.get(f"d/{number}").metadata.id for number in range(10)]
    with filled.transaction():
        filled.rename("d/1", "d/0")
        assert filled.get("d/0").metadata.id == ids[1]
        assert not filled.exists("d/1")
        filled.rename("d/2", "d/1")
        filled.delete("d/3")
        filled.file_create("d/2")
        assert not filled.exists("d/3")
    assert [filled.get(f"d/{number}").metadata.id for number in (0, 1)] == ids[1:3]
    assert filled.get("d/2").metadata.id not in ids[:3]
    assert not filled.exists("d/3")
    with pytest.raises(KeyError), filled.transaction():
        filled.delete("d/5")
        filled.rename("d/6", "d/5")
        raise KeyError
    assert [filled.get(f"d/{number}").metadata.id for number in (5, 6)] == ids[5:7]


def test_one_damaged_entry_hides_no_other(filled: DatabaseVFS, metadata: Counting) -> None:
    one = filled.get("d/5").metadata.id
    whole = metadata.get(one)
    metadata.set(id=one, data=whole[:30])  # its name can still be read
    filled.refresh()
    with pytest.raises(OSError, match=f"entry {one}") as error:
        filled.get("d/5")
    assert error.value.errno == errno.EIO
    assert filled.get("d/6").metadata.name == "6"
    assert not filled.exists("d/5000")
    for damage in (whole[:5], b"", b"\7" + whole[1:], b"\2" + whole[1:], whole[:4] + b"\1" + whole[5:]):
        metadata.set(id=one, data=damage)
        filled.refresh()
        assert filled.get("d/6").metadata.name == "6"
        for name in ("5", "5000"):  # either may be the one that can't be read
            with pytest.raises(OSError, match="not all can be read"):
                filled.get(f"d/{name}")


def test_of_two_entries_with_one_name_the_first_counts(filled: DatabaseVFS, metadata: Counting) -> None:
    first, second = filled.get("d/5").metadata.id, filled.get("d/6").metadata.id
    metadata.set(id=second, data=codec.encode(filled.get("d/6")).replace(b"\1\x006", b"\1\x005"))
    filled.refresh()
    assert filled.get("d/5").metadata.id == first
    filled.dir_list("d")
    assert filled.get("d/5").metadata.id == first


def test_hashes_that_collide_give_both_ids_and_lose_the_one_that_left() -> None:
    probe = Names([(key_of(b"a"), 7), (key_of(b"b"), 1), (key_of(b"a"), 5)])
    assert probe.ids_of("a") == [5, 7]
    probe.forget_hashes("a", lambda one_id, _name: one_id == 5)
    assert probe.ids_of("a") == [7]
    probe.forget_hashes("a", lambda one_id, _name: one_id == 7)
    assert probe.ids_of("a") == []
    assert probe.ids_of("b") == [1]
    assert probe.ids_of("c") == []
    assert probe.ids_of("no text \ud800") == []


def test_entry_that_is_of_another_directory_now_is_not_found_where_it_is_still_listed(
    filled: DatabaseVFS, metadata: Counting
) -> None:
    """As a kill leaves it over databases without transactions."""
    filled.dir_create("other")
    moved = filled.file_create("other/moved")
    directory = filled.get("d")
    assert isinstance(directory, Directory)
    listing = attrs.evolve(directory, children=directory.children.added_one(moved.metadata.id))
    metadata.set(id=directory.metadata.id, data=codec.encode(listing))
    filled.refresh()
    assert not filled.exists("d/moved")
    assert filled.get("other/moved").metadata.id == moved.metadata.id
    assert filled.file_create("d/moved").metadata.id != moved.metadata.id


def test_weight_is_that_of_hashes_and_of_the_names_looked_up(filled: DatabaseVFS, metadata: Counting) -> None:
    ids = filled.get("d").children  # type: ignore[union-attr]
    names = read_names(ids, {}, metadata.get, metadata.get)
    assert names.weight() == 8 * 1000 + KNOWN_WEIGHT
    names["1"] = 1
    assert names.weight() == 8 * 1000 + 2 * KNOWN_WEIGHT


@pytest.mark.parametrize("ns_times", [False, True])
def test_name_is_read_of_both_versions(ns_times: bool) -> None:
    metadata = MemoryDatabase()
    fs = vfs_db.new(MemoryDatabase(), metadata, ns_times=ns_times)
    made = fs.file_write("ünï", bytes(CHUNK_SIZE))
    assert codec.name_of(metadata.get(made.metadata.id), made.metadata.id) == "ünï".encode()
    with pytest.raises(codec.CorruptEntry, match=f"holds entry {made.metadata.id}"):
        codec.name_of(metadata.get(made.metadata.id), 77)


def test_opening_a_tree_of_empty_files_does_not_read_it(tmp_path: Path) -> None:
    """Also without any content there is a record 0 that tells which ids of content were given out."""
    with vfs_db.open(tmp_path / "vfs") as fs:
        fs.file_create("a")
        assert 0 in fs.db_data  # type: ignore[operator]
    data, metadata = MemoryDatabase(), Counting()
    fs = vfs_db.new(data, metadata)
    for number in range(100):
        fs.file_create(str(number))
    fs = vfs_db.new(data, metadata)
    metadata.gets = 0
    fs = vfs_db.new(data, metadata)
    assert metadata.gets < 30


def test_databases_that_are_refused_are_left_as_they_were() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    data.set(id=3, data=b"something else")
    with pytest.raises(OSError, match="no root directory"):
        vfs_db.new(data, metadata)
    assert list(data) == [3]
    assert list(metadata) == []


def test_names_that_move_while_others_look_them_up_never_lead_astray(filled: DatabaseVFS) -> None:
    """Lookups learn names, and read them anew after each refresh, while a writer renames and replaces."""
    ids = {str(number): filled.get(f"d/{number}").metadata.id for number in range(60)}
    is_over = threading.Event()
    astray: list[object] = []

    def look() -> None:
        choose = random.Random(3)
        while not is_over.is_set():
            name = choose.choice([str(choose.randrange(60)), f"{choose.randrange(60)}'"])
            try:
                found = filled.get(f"d/{name}").metadata
            except FileNotFoundError:
                continue
            except BaseException as error:  # noqa: BLE001 - told below
                astray.append(error)
                return
            if (found.name, found.id) != (name, ids[name.removesuffix("'")]):
                astray.append((name, found))

    threads = [threading.Thread(target=look) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for turn in range(1500):
            name = str(turn % 60)
            if turn % 100 == 0:
                filled.refresh()
            filled.rename(f"d/{name}", f"d/{name}'")
            filled.rename(f"d/{name}'", f"d/{name}")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert astray == []
    assert {name: filled.get(f"d/{name}").metadata.id for name in ids} == ids
    assert not any(filled.exists(f"d/{name}'") for name in ids)


def test_names_survive_what_a_large_transaction_writes_early(tmp_path: Path) -> None:
    """More changes than a transaction keeps in memory: names made, moved and deleted before and after are right in it and after it."""
    with vfs_db.open(tmp_path / "t") as fs:
        fs.dir_create("d")
        fs.dir_create("e")
        for number in range(20):
            fs.file_create(f"d/old{number}")
        fs.refresh()
        fs.stat("d/old0")  # its names are hashes now, but for this one
        with fs.transaction():
            fs.delete("d/old1")
            fs.rename("d/old2", "d/renamed")
            fs.move("d/old3", "e/moved")
            for number in range(900):
                fs.file_create(f"d/n{number}")
            for number in range(9):  # more entries than are kept
                fs.dir_create(f"e/{number}")
                for one in range(1000):
                    fs.file_create(f"e/{number}/{one}")
            assert not fs.exists("d/old1")
            assert not fs.exists("d/old2")
            assert not fs.exists("d/old3")
            assert fs.exists("d/renamed")
            assert fs.exists("e/moved")
            assert fs.exists("d/old4")
            fs.delete("d/old4")
            fs.file_create("d/old1")
            fs.delete("d/n5")
        seen = {entry.metadata.name for entry in fs.dir_list("d")}
        for name in [f"old{number}" for number in range(20)] + ["renamed", "n5", "n6", "n899", "absent"]:
            assert fs.exists(f"d/{name}") == (name in seen), name
        assert seen.isdisjoint({"old2", "old3", "old4", "n5"})
        assert {"old1", "renamed", "n6"} <= seen
        assert fs.exists("e/moved")
        assert list(fs.check()) == []


def test_names_that_a_rolled_back_transaction_changed_are_as_before(tmp_path: Path) -> None:
    """The names that others look at are not those that a transaction brings up to date when it writes early."""
    with vfs_db.open(tmp_path / "t") as fs:
        fs.dir_create("d")
        for number in range(20):
            fs.file_create(f"d/old{number}")
        with pytest.raises(ZeroDivisionError), fs.transaction():
            fs.delete("d/old1")
            for number in range(9):
                fs.dir_create(f"d/more{number}")
                for one in range(1000):
                    fs.file_create(f"d/more{number}/{one}")
            fs.delete("d/old2")
            raise ZeroDivisionError
        assert fs.exists("d/old1")
        assert fs.exists("d/old2")
        assert not fs.exists("d/more0")
        assert sorted(entry.metadata.name for entry in fs.dir_list("d")) == sorted(f"old{n}" for n in range(20))


@pytest.mark.parametrize("kind", ["memory", "ourdb"])
def test_names_of_a_directory_as_it_was_before_a_commit_are_not_kept(
    kind: str, make_fs: Callable[[str], DatabaseVFS]
) -> None:
    """Between a reader's two steps, from a path to the directory and from it to its names, a commit may come."""
    fs = make_fs(kind)
    fs.dir_create("d")
    for name in ("gone", "stays"):
        fs.file_write(f"d/{name}", b"1")
    before = fs.get("d")
    assert isinstance(before, Directory)
    fs.file_write("d/new", b"2")
    fs.delete("d/gone")
    fs.refresh()
    assert fs.get("d").metadata.name == "d"
    fs._state.names(before)
    assert fs.file_read("d/new") == b"2"
    assert not fs.exists("d/gone")
    assert fs.file_write("d/newer", b"3").metadata.size == 1
