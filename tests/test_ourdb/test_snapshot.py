"""A snapshot is of one state, or says that it is not: beside a writer, and after closing."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ourdb
from ourdb import OurDB, Snapshot
from ourdb.disk import Disk


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


class StepDisk(Disk):
    """Lets something happen when the next file is mapped, once."""

    step: Callable[[], object] | None = None

    def map(self, fd: int, size: int) -> mmap.mmap:
        step, self.step = self.step, None
        if step is not None:
            step()
        return super().map(fd, size)


@pytest.mark.parametrize("name", ["get", "get_history", "read_part"])
def test_zeros_that_a_checkpoint_writes_while_a_record_is_read_are_no_record(writer: OurDB, name: str) -> None:
    """A deleted record becomes zeros, which are a valid empty record: the state is asked for after the read, too."""
    disk = StepDisk()
    with OurDB(writer.path, {}, read_only=True, disk=disk) as reader, reader.snapshot() as then:
        disk.step = lambda: go_on(writer)
        with pytest.raises(ourdb.SnapshotOvertaken):
            READS[name](then)
        assert disk.step is None


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
