"""A snapshot is of one state, or says that it is not: beside a writer, and after closing."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import ourdb
from ourdb import OurDB, Snapshot
from ourdb.disk import Disk
from ourdb.journal import COMMITS_AT
from tests.step_disk import StepDisk


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[OurDB]:
    """A key-value database with ids on either side of the slots that are read in one go."""
    with ourdb.new(tmp_path / "db", record_nr_max=200_000, incremental_mode=False) as db:
        db.set_many([(1, b"old"), (1, b"one"), (5, b"five"), (90_000, b"ninety")])
        db.sync()
        yield db


@pytest.fixture
def reader(writer: OurDB) -> Iterator[OurDB]:
    with ourdb.new(writer.path, read_only=True) as db:
        yield db


def go_on(writer: OurDB) -> None:
    """Make a commit on either side of what was read, and the checkpoint that takes the old state away."""
    with writer.transaction():
        writer.delete_many([1, 5, 90_000])
        writer.set(id=150_000, data=b"new")
    writer.sync()


def checkpointed(writer: OurDB, change: Callable[[], object]) -> Callable[[], None]:
    """Return a step that changes something and takes the state before away."""

    def step() -> None:
        change()
        writer.sync()

    return step


def content(db: OurDB) -> dict[int, list[bytes]]:
    return {record_id: db.get_history(record_id, 10) for record_id in db}


READS: dict[str, Callable[[Snapshot], object]] = {
    "get": lambda then: then.get(1),
    "get_many": lambda then: then.get_many([5, 1]),
    "get_history": lambda then: then.get_history(1, 5),
    "read_part": lambda then: then.read_part(1, 0, 2),
    "locate": lambda then: then.locate(1),
    "in": lambda then: 1 in then,
    "not in": lambda then: 7 in then,
    "list": list,
    "len": len,
    "items": lambda then: list(then.items()),
    "changes": lambda then: then.changes(),
}


def test_a_state_that_is_overtaken_between_two_ids_is_not_gone_on_with(writer: OurDB, reader: OurDB) -> None:
    with reader.snapshot() as then:
        ids = iter(then)
        assert next(ids) == 1
        go_on(writer)
        assert next(ids) == 5, "it was read while the state was there"
        with pytest.raises(ourdb.SnapshotOvertaken, match="new snapshot"):
            next(ids)
    with reader.snapshot() as now:
        assert list(now) == [150_000]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_state_that_was_overtaken_is_not_read(
    writer: OurDB, reader: OurDB, read: Callable[[Snapshot], object]
) -> None:
    with reader.snapshot() as then:
        read(then)
        go_on(writer)
        with pytest.raises(ourdb.SnapshotOvertaken, match="new snapshot"):
            read(then)


@pytest.mark.parametrize("name", ["get", "get_history", "read_part"])
def test_zeros_that_a_checkpoint_writes_while_a_record_is_read_are_no_record(writer: OurDB, name: str) -> None:
    """A deleted record becomes zeros, which are a valid empty record: the state is asked for after the read, too."""
    disk = StepDisk()
    with OurDB(writer.path, {}, read_only=True, disk=disk) as reader, reader.snapshot() as then:
        disk.before("map", "", lambda: go_on(writer))
        with pytest.raises(ourdb.SnapshotOvertaken):
            READS[name](then)
        assert not disk.times


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_a_snapshot_of_a_database_that_was_closed_is_closed(
    writer: OurDB, read: Callable[[Snapshot], object], read_only: bool
) -> None:
    path = writer.path
    writer.close()  # nothing is left to be written: the clean close itself closes nothing
    db = ourdb.new(path, read_only=read_only)
    then = db.snapshot()
    ids = iter(then)
    next(ids)
    db.close()
    with pytest.raises(ourdb.DatabaseClosed, match="snapshot of .* is closed"):
        read(then)
    with pytest.raises(ourdb.DatabaseClosed, match="snapshot of .* is closed"):
        list(ids)
    then.close()


@pytest.mark.parametrize("read_only", [False, True], ids=["writers", "readers"])
def test_closing_one_of_two_joined_handles_leaves_the_other_open(tmp_path: Path, read_only: bool) -> None:
    for name in ("a", "b"):
        with ourdb.new(tmp_path / name) as db:
            db.set(data=name.encode())
    a, b = (ourdb.new(tmp_path / name, read_only=read_only) for name in ("a", "b"))
    ourdb.joined(a, b)
    with b.snapshot() as then:
        a.close()
        assert (then.get(1), b.get(1), list(b), len(b), b.get_history(1, 2)) == (b"b", b"b", [1], 1, [b"b"])
        b.refresh()
    with pytest.raises(ourdb.DatabaseClosed):
        a.get(1)
    b.close()


# What reads a whole database beside a writer


def test_len_is_that_of_one_state(writer: OurDB) -> None:
    writer.set(id=7, data=b"in the journal only")
    disk = StepDisk()
    with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
        disk.before("next_data", "", checkpointed(writer, lambda: writer.delete_many([5, 7, 90_000])))
        assert len(reader) == 1
        assert not disk.times


def test_many_records_are_of_one_state(writer: OurDB) -> None:
    disk = StepDisk()
    with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
        disk.before("map", "", checkpointed(writer, lambda: writer.set_many([(1, b"new"), (5, b"new")])))
        assert reader.get_many(iter([1, 5])) == [b"new", b"new"]
        assert not disk.times


def test_what_another_state_shows_is_no_problem_of_the_one_that_is_checked(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="off") as writer:
        writer.set_many([(number, b"%d" % number * 50) for number in range(20)])
        writer.sync()
        disk = StepDisk()
        with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
            disk.before("map", "", lambda: compact(writer))
            assert list(reader.check()) == []  # begun anew
            assert not disk.times


def test_a_check_that_has_told_of_something_does_not_begin_anew(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False) as writer:
        writer.set_many([(number, b"%d" % number * 50) for number in range(20)])
        position = writer.lookup(3).position
    with open(tmp_path / "db" / "0.db", "r+b") as file:
        file.seek(position + 20)
        file.write(b"damaged")
    with (
        ourdb.new(tmp_path / "db") as writer,
        ourdb.new(tmp_path / "db", read_only=True) as reader,
    ):
        problems = reader.check()
        assert next(problems).record_id == 3
        writer.delete(5)
        writer.sync()
        with pytest.raises(ourdb.SnapshotOvertaken):
            list(problems)


def test_the_next_id_moves_on_with_the_writer(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db") as writer, ourdb.new(tmp_path / "db", read_only=True) as reader:
        assert reader.get_next_id() == writer.set(data=b"one")
        writer.sync()
        assert reader.get_next_id() == 2


@pytest.mark.parametrize("start", [-1, -10])
def test_a_part_and_a_depth_below_0_are_refused_by_a_snapshot_too(writer: OurDB, start: int) -> None:
    with writer.snapshot() as then:
        with pytest.raises(ValueError, match="start must be 0 or more"):
            then.read_part(1, start, 5)
        with pytest.raises(ValueError, match="depth must be 0 or more"):
            then.get_history(1, start)


def test_records_in_the_journal_are_not_taken_for_those_of_a_compaction_since(tmp_path: Path) -> None:
    """What a reader knows of a "full" writer's journal goes with the journal: other records lie at those locations then."""
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="full") as writer:
        writer.set_many([(number, b"record %d" % number) for number in range(6)])
        with ourdb.new(tmp_path / "db", read_only=True) as reader:
            assert reader.get(1) == b"record 1"
            writer.delete(1)
            writer.compact()
            assert {number: reader.get_history(number, 9) for number in reader} == {
                number: [b"record %d" % number] for number in (0, 2, 3, 4, 5)
            }


class _RefreshDisk(Disk):
    """Another boot's disk, that lets something happen before each read of the journal's commits."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.step: Callable[[], object] = lambda: None

    def boot_id(self) -> bytes:
        return b"another boot 000"

    def read_all(self, fd: int, size: int, position: int) -> bytes:
        if position >= COMMITS_AT and self.is_same_file(fd, self._path):
            self.step()
        return super().read_all(fd, size, position)


def test_a_snapshot_is_read_while_its_handle_is_refreshed(tmp_path: Path) -> None:
    """Behind a power cut, when the journal alone has the records, and no writer has mended that yet."""
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="full") as writer:
        for number in range(3):
            writer.set(id=number, data=b"record %d" % number)
        shutil.copytree(tmp_path / "db", tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "0.db", 1)
    os.truncate(tmp_path / "cut" / "0.db", 100)
    disk = _RefreshDisk(tmp_path / "cut" / "journal")
    found: list[list[bytes]] = []
    with OurDB(str(tmp_path / "cut"), {}, read_only=True, disk=disk) as reader, reader.snapshot() as then:

        def look() -> None:
            thread = threading.Thread(target=lambda: found.append(then.get_many(range(3))))
            thread.start()
            thread.join()

        disk.step = look
        reader.refresh()
    assert len(found) > 6
    assert found == [[b"record 0", b"record 1", b"record 2"]] * len(found)


class _BeginningDisk(Disk):
    """A writer's disk that waits, once, before a journal gets its header."""

    def __init__(self) -> None:
        self.is_there, self.go = threading.Event(), threading.Event()

    def allocate(self, fd: int, position: int, size: int) -> None:
        super().allocate(fd, position, size)
        self.is_there.set()
        assert self.go.wait(30)


def test_a_journal_that_is_begun_while_it_is_read_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    """The reader found no header yet, and then the first commit."""
    disk = _BeginningDisk()
    with OurDB(str(tmp_path / "db"), {"incremental_mode": False}, disk=disk) as writer:
        reading = _RefreshDisk(tmp_path / "db" / "journal")
        with OurDB(str(tmp_path / "db"), {}, read_only=True, disk=reading) as reader:
            thread = threading.Thread(target=lambda: writer.set(id=1, data=b"one"))
            thread.start()
            assert disk.is_there.wait(30)

            def go_on() -> None:
                disk.go.set()
                thread.join()

            reading.step = go_on
            reader.refresh()
            assert reader.get(1) == b"one"


def delete(writer: OurDB) -> None:
    writer.delete_many(range(1, 30, 2))


def roll_over(writer: OurDB) -> None:
    for number in range(40):
        writer.set(id=number, data=b"later" * 50)
    writer.delete(3)


def compact(writer: OurDB) -> None:
    writer.delete_many(range(1, 6))
    writer.compact(keep_history=False)
    writer.set(id=1, data=b"behind the compaction")


@pytest.mark.parametrize("go_on", [delete, roll_over, compact])
@pytest.mark.parametrize("moment", ["0.db", "2.db", "data.new", ".ourdb.new"])
def test_a_backup_beside_a_writer_is_of_one_state(tmp_path: Path, go_on: Callable[[OurDB], None], moment: str) -> None:
    """Whatever the writer does while the copy is made; a copy of an older state is made one of a newer."""
    with ourdb.new(tmp_path / "db", incremental_mode=False, file_size=2000, synchronous="off") as writer:
        for number in range(30):
            writer.set(id=number, data=b"%d" % number * 100)
            writer.set(id=number, data=b"again%d" % number)
        writer.sync()
        states = [content(writer)]
        disk = StepDisk()
        with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
            where = "copy" if moment.endswith(".db") else os.path.join("copy", "lookup")
            disk.before("create", os.path.join(where, moment), checkpointed(writer, lambda: go_on(writer)))
            reader.backup(tmp_path / "copy")
            assert not disk.times
        states.append(content(writer))
    with ourdb.new(tmp_path / "copy") as copy:
        assert content(copy) in states
        assert list(copy.check()) == []
        copy.set(id=7, data=b"goes on")


def test_a_backup_that_is_overtaken_copies_what_is_new_and_no_more(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="off") as writer:
        writer.set_many([(number, bytes([number]) * 60_000) for number in range(100)])
        writer.sync()
        disk = StepDisk()
        with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
            step = checkpointed(writer, lambda: writer.set(id=1, data=b"one more"))
            disk.before("create", f"{os.sep}data.new", step, times=20)
            reader.backup(tmp_path / "copy")
            assert not disk.times
        expected = content(writer)
    assert disk.written < 2 * 100 * 60_000
    with ourdb.new(tmp_path / "copy") as copy:
        assert content(copy) == expected


@pytest.mark.parametrize("is_made", [False, True], ids=["new folder", "empty folder"])
def test_a_backup_that_is_always_overtaken_gives_up_and_leaves_nothing(tmp_path: Path, is_made: bool) -> None:
    dest = tmp_path / "copies" / "first"
    if is_made:
        dest.mkdir(parents=True)
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="off") as writer:
        writer.set(id=1, data=b"one")
        writer.sync()
        disk = StepDisk()
        with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
            step = checkpointed(writer, lambda: writer.set(id=1, data=b"one more"))
            disk.before("create", f"{os.sep}data.new", step, times=100_000)
            with pytest.raises(ourdb.SnapshotOvertaken):
                reader.backup(dest)
    assert (tmp_path / "copies").exists() == is_made
    assert list(dest.glob("*")) == []


@pytest.mark.parametrize("call", ["export_data", "export_sparse", "backup"])
def test_the_next_id_is_of_the_moment_that_the_records_are_of(tmp_path: Path, call: str) -> None:
    disk = StepDisk()
    with OurDB(str(tmp_path / "db"), {}, disk=disk) as db:
        db.set_many([(None, b"one"), (None, b"two")])
        disk.before("create", "data.new", lambda: db.set(data=b"later"))
        getattr(db, call)(tmp_path / "out")
        assert not disk.times
        assert db.get_next_id() == 4
    folder = tmp_path / "out" / "lookup" if call == "backup" else tmp_path / "out"
    assert (folder / ".inc").read_bytes() == b"3"


@pytest.mark.parametrize("call", ["export_data", "export_sparse"])
def test_an_export_beside_a_writer_is_of_one_state(tmp_path: Path, call: str) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous="off") as writer:
        writer.set_many([(number, b"%d" % number) for number in range(30)])
        writer.sync()
        disk = StepDisk()
        with OurDB(writer.path, {}, read_only=True, disk=disk) as reader:
            disk.before("create", "data.new", checkpointed(writer, lambda: writer.delete_many(range(5, 30))))
            getattr(reader, call)(tmp_path / "out")
            assert not disk.times
        writer.set(id=2, data=b"again")
        writer.import_data(tmp_path / "out") if call == "export_data" else writer.import_sparse(tmp_path / "out")
        assert {record_id: writer.get(record_id) for record_id in writer} == {n: b"%d" % n for n in range(5)}
    assert os.listdir(tmp_path / "out") == ["data"]


@pytest.mark.parametrize("moment", ["0.db", "2.db", "lookup/data.new", "lookup/.inc.new", "lookup/.ourdb.new"])
def test_half_a_backup_is_no_database(tmp_path: Path, moment: str) -> None:
    """What a process leaves that is killed at a moment is refused, or all there; what an error leaves is nothing."""
    with OurDB(str(tmp_path / "db"), {"file_size": 2000}, disk=(disk := StepDisk())) as db:
        db.set_many([(None, b"%d" % number * 100) for number in range(30)])
        expected = content(db)
        at = os.path.join("copy", *moment.split("/"))
        disk.before("create", at, lambda: shutil.copytree(tmp_path / "copy", tmp_path / "killed"))
        db.backup(tmp_path / "copy")
        assert not disk.times
        shutil.rmtree(tmp_path / "copy")

        def fail() -> None:
            raise OSError(errno.ENOSPC, "a full disk")

        disk.before("create", at, fail)
        with pytest.raises(OSError, match="a full disk"):
            db.backup(tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    with suppress(ourdb.UnsupportedFormat), ourdb.new(tmp_path / "killed") as killed:
        if moment == "0.db":  # nothing was there yet
            assert list(killed) == []
        else:
            assert content(killed) == expected


def test_a_snapshot_says_what_it_is(writer: OurDB, reader: OurDB) -> None:
    for db, name in ((writer, "Snapshot"), (reader, "SharedSnapshot")):
        with db.snapshot() as then:
            assert repr(then) == f"<{name} of {db.path!r}>"
        assert repr(then) == f"<{name} of {db.path!r}, closed>"
