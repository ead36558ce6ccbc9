"""Transactions, snapshots and joined databases, within one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ourdb
from ourdb import OurDB
from ourdb.disk import Disk, _Unmapped


@pytest.fixture
def db(tmp_path: Path) -> Iterator[OurDB]:
    """A small key-value database, checked when the test ends."""
    database = ourdb.new(tmp_path / "db", record_nr_max=1000, keysize=6, file_size=2000, incremental_mode=False)
    yield database
    assert list(database.check()) == []
    database.close()


def test_a_transaction_is_seen_by_its_thread_only_until_it_commits(db: OurDB) -> None:
    db.set(id=1, data=b"old")
    seen: list[object] = []

    def look() -> None:
        seen.append((db.get(1), 2 in db, list(db), len(db)))

    with db.transaction():
        db.set(id=1, data=b"new")
        db.set(id=2, data=b"more")
        assert (db.get(1), db.get(2), list(db), len(db)) == (b"new", b"more", [1, 2], 2)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    look()
    assert seen == [(b"old", False, [1], 1), (b"new", True, [1, 2], 2)]


def test_an_exception_rolls_everything_back(db: OurDB) -> None:
    db.set(id=1, data=b"old")
    with pytest.raises(ZeroDivisionError), db.transaction():
        db.set(id=1, data=b"new" * 500)
        db.set(id=2, data=b"x" * 3000)
        db.delete(1)
        raise ZeroDivisionError
    assert db.get_history(1, 9) == [b"old"]
    assert (2 in db, len(db)) == (False, 1)
    db.set(id=2, data=b"after")
    assert db.get(2) == b"after"


def test_an_inner_block_that_fails_takes_back_only_its_own(db: OurDB) -> None:
    db.set(id=5, data=b"five")
    with db.transaction():
        db.set(id=1, data=b"outer")
        with pytest.raises(ZeroDivisionError), db.transaction():
            db.set(id=1, data=b"inner")
            db.set(id=2, data=b"y" * 5000)
            db.delete(5)
            raise ZeroDivisionError
        assert (db.get(1), 2 in db, db.get(5)) == (b"outer", False, b"five")
        db.set(id=3, data=b"outer too")
    assert {record_id: db.get_history(record_id, 9) for record_id in db} == {
        1: [b"outer"],
        3: [b"outer too"],
        5: [b"five"],
    }


def test_an_incremental_id_that_was_rolled_back_is_given_again(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", record_nr_max=100) as db:
        with pytest.raises(ZeroDivisionError), db.transaction():
            assert db.set(data=b"a") == 1
            assert db.get_next_id() == 2
            raise ZeroDivisionError
        assert db.get_next_id() == 1
        assert db.set(data=b"b") == 1


def test_set_many_is_all_or_nothing(db: OurDB) -> None:
    with pytest.raises(ourdb.RecordTooLarge):
        db.set_many([(1, b"a"), (2, b"b" * 65536)])
    assert list(db) == []
    assert db.set_many([(1, b"a"), (2, b"b"), (1, b"c")]) == [1, 2, 1]
    assert db.get_many([2, 1]) == [b"b", b"c"]
    assert db.get_history(1, 9) == [b"c", b"a"]
    with pytest.raises(ourdb.RecordNotFound):
        db.delete_many([1, 3])
    assert list(db) == [1, 2]
    db.delete_many([1, 2])
    assert list(db) == []


def test_a_snapshot_stays_as_it_was_taken(db: OurDB) -> None:
    db.set_many([(i, b"%d" % i) for i in range(50)])
    with db.snapshot() as then:
        for i in range(0, 50, 2):
            db.set(id=i, data=b"changed")
        db.delete(1)
        db.set(id=77, data=b"new")
        db.sync()  # a checkpoint would write the table and the deleted record's zeros
        assert [then.get(i) for i in then] == [b"%d" % i for i in range(50)]
        assert (1 in then, 77 in then, len(then)) == (True, False, 50)
    assert (1 in db, db.get(77), len(db)) == (False, b"new", 50)
    db.sync()
    with pytest.raises(ourdb.OurDBError, match="closed"):
        then.get(1)


def test_a_second_thread_waits_for_a_transaction_as_long_as_the_timeout(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, timeout=0.05) as db:
        errors: list[BaseException] = []

        def wait() -> None:
            for call in (lambda: db.set(id=1, data=b"second"), db.sync, db.compact, db.close):
                try:
                    call()
                except ourdb.DatabaseLocked as error:
                    errors.append(error)

        with db.transaction():
            db.set(id=1, data=b"first")
            thread = threading.Thread(target=wait)
            thread.start()
            thread.join()
        assert len(errors) == 4
        assert db.get(1) == b"first"


def test_threads_lose_nothing_and_tear_nothing(db: OurDB) -> None:
    """Four writers move amounts between records in transactions; readers see one sum always."""
    db.set_many([(i, b"100") for i in range(8)])
    stop = threading.Event()
    sums: set[int] = set()
    failures: list[BaseException] = []

    def move(seed: int) -> None:
        for step in range(150):
            with db.transaction():
                a, b = (seed + step) % 8, (seed * 3 + step * 5) % 8
                db.set(id=a, data=b"%d" % (int(db.get(a)) - 1))
                db.set(id=b, data=b"%d" % (int(db.get(b)) + 1))

    def read() -> None:
        try:
            while not stop.is_set():
                sums.add(sum(map(int, db.get_many(range(8)))))
        except BaseException as error:  # noqa: BLE001 - the main thread reports it
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=move, args=(seed,)) for seed in range(4)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert sums == {800}


def test_a_close_ends_other_threads_calls_with_database_closed(tmp_path: Path) -> None:
    db = ourdb.new(tmp_path / "db", incremental_mode=False)
    db.set(id=1, data=b"x" * 100)
    started = threading.Barrier(5)
    outcomes: list[str] = []

    def work(write: bool) -> None:
        started.wait()
        try:
            while True:
                if write:
                    db.set(id=1, data=b"x" * 100)
                else:
                    assert db.get(1) == b"x" * 100
        except BaseException as error:  # noqa: BLE001 - its kind is what is asked
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    db.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["DatabaseClosed"] * 4


@pytest.mark.parametrize("level", ["normal", "full", "off"])
def test_joined_databases_commit_and_roll_back_together(tmp_path: Path, level: ourdb.db.Synchronous) -> None:
    first = ourdb.new(tmp_path / "a", incremental_mode=False, synchronous=level)
    second = ourdb.new(tmp_path / "b", incremental_mode=False, synchronous=level)
    first.set(id=1, data=b"before")
    ourdb.joined(first, second)
    with pytest.raises(ZeroDivisionError), first.transaction():
        first.set(id=2, data=b"a")
        second.set(id=2, data=b"b")
        raise ZeroDivisionError
    assert (2 in first, 2 in second) == (False, False)
    with second.transaction():
        first.set(id=2, data=b"a")
        second.set(id=2, data=b"b")
    second.close()
    first.set(id=3, data=b"alone again")
    first.close()
    with ourdb.new(tmp_path / "a") as first, ourdb.new(tmp_path / "b") as second:
        assert {i: first.get(i) for i in first} == {1: b"before", 2: b"a", 3: b"alone again"}
        assert {i: second.get(i) for i in second} == {2: b"b"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["a", "b", *["lookup", "0.db", "data", ".ourdb"] * 2]
    )


@pytest.mark.parametrize("level", ["normal", "full", "off"])
@pytest.mark.parametrize("incremental", [True, False])
def test_a_closed_handle_writes_nothing_through_its_partner(
    tmp_path: Path, level: ourdb.db.Synchronous, incremental: bool
) -> None:
    first = ourdb.new(tmp_path / "a", incremental_mode=incremental, synchronous=level)
    second = ourdb.new(tmp_path / "b", incremental_mode=incremental, synchronous=level)
    ourdb.joined(first, second)
    ids = [None, None] if incremental else [1, 2]
    second.set(id=ids[0], data=b"one" * 20)
    first.close()
    second.set(id=ids[1], data=b"two" * 20)

    def refused() -> None:
        for write in (
            lambda: first.set(id=ids[0], data=b"astray"),
            lambda: first.set_many([(ids[0], b"astray")] * 70),
            lambda: first.write_batch([(ids[0], b"astray")], joined_sets=[(ids[0], b"astray")]),
            lambda: first.delete(1),
            lambda: first.transaction().__enter__(),
        ):
            with pytest.raises(ourdb.DatabaseClosed, match=r"\Wa is closed"):
                write()

    refused()
    with second.transaction():
        refused()
        second.set(id=1, data=b"new" * 20)
    assert second.get_many([1, 2]) == [b"new" * 20, b"two" * 20]
    second.close()
    with ourdb.new(tmp_path / "b") as second, ourdb.new(tmp_path / "a") as first:
        assert (list(first), list(second)) == ([], [1, 2])
        assert [list(first.check()), list(second.check())] == [[], []]


def test_a_transaction_in_which_a_joined_handle_was_closed_is_rolled_back(tmp_path: Path) -> None:
    first = ourdb.new(tmp_path / "a", incremental_mode=False)
    second = ourdb.new(tmp_path / "b", incremental_mode=False)
    ourdb.joined(first, second)
    with pytest.raises(ourdb.DatabaseClosed, match="rolled back"), second.transaction():
        second.set(id=1, data=b"b")
        first.set(id=1, data=b"a")
        first.close()
    assert list(second) == []
    second.set(id=2, data=b"on it goes")
    second.close()
    with ourdb.new(tmp_path / "b") as second, ourdb.new(tmp_path / "a") as first:
        assert (list(first), list(second)) == ([], [2])


class _ToldLock:
    """A lock that says when somebody begins to wait for it."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.is_asked_for = threading.Event()

    def acquire(self, *arguments: Any) -> bool:
        self.is_asked_for.set()
        return bool(self._lock.acquire(*arguments))

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _HeldDisk(Disk):
    """A disk on which the removal of a journal waits."""

    def __init__(self) -> None:
        self.is_reached, self.go = threading.Event(), threading.Event()

    def unlink(self, path: str) -> None:  # type: ignore[override]
        if path.endswith("journal"):
            self.is_reached.set()
            assert self.go.wait(30)
        os.unlink(path)


def test_a_close_that_waits_while_its_database_is_joined_parts_the_two(tmp_path: Path) -> None:
    disk = _HeldDisk()
    first = OurDB(str(tmp_path / "first"), {"incremental_mode": False}, disk=disk)
    second = OurDB(str(tmp_path / "second"), {"incremental_mode": False}, disk=disk)
    for db in first, second:
        db.set(id=1, data=b"before")
    joining = threading.Thread(target=ourdb.joined, args=(first, second))
    joining.start()
    assert disk.is_reached.wait(30)  # the locks of both are held
    told = _ToldLock(first._commits.lock)
    first._commits.lock = told  # type: ignore[assignment]
    waiting = threading.Thread(target=first.close)
    waiting.start()
    assert told.is_asked_for.wait(30)
    disk.go.set()
    joining.join()
    waiting.join()
    second.set(id=2, data=b"behind")
    second.sync()
    second.close()
    with ourdb.new(tmp_path / "first") as again, ourdb.new(tmp_path / "second") as other:
        assert (list(again), list(other)) == ([1], [1, 2])


def test_a_snapshot_that_is_taken_while_its_database_is_closed_is_refused(tmp_path: Path) -> None:
    db = ourdb.new(tmp_path / "db")
    told = _ToldLock(db._commits.publishing)
    outcomes: list[object] = []

    def take() -> None:
        try:
            outcomes.append(db.snapshot())
        except ourdb.DatabaseClosed as error:
            outcomes.append(type(error))

    with db._commits.publishing:
        db._commits.publishing = told  # type: ignore[assignment]
        taking = threading.Thread(target=take)
        taking.start()
        assert told.is_asked_for.wait(30)
        db.close()
    taking.join()
    assert outcomes == [ourdb.DatabaseClosed]


def test_a_table_that_is_not_mapped_says_as_a_map_does_that_it_was_closed(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(bytes(100))
    fd = os.open(tmp_path / "table", os.O_RDONLY)

    def closed_meanwhile(fd: int, size: int, position: int) -> bytes:
        table.close()
        os.close(fd)
        return os.pread(fd, size, position)

    table = _Unmapped(closed_meanwhile, fd, 100)
    with pytest.raises(ValueError, match="closed"):
        table[0:6]


def test_databases_of_different_levels_are_not_joined(tmp_path: Path) -> None:
    with ourdb.new(tmp_path / "a") as first, ourdb.new(tmp_path / "b", synchronous="full") as second:
        with pytest.raises(ourdb.OurDBError, match="full"):
            ourdb.joined(first, second)
        with pytest.raises(ourdb.OurDBError, match="itself"):
            ourdb.joined(first, first)


def test_many_checkpoints_keep_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a journal of 20 KB there is a checkpoint every 200 commits."""
    monkeypatch.setattr("ourdb.checkpoints.JOURNAL_MAX", 20_000)
    with ourdb.new(tmp_path / "db", record_nr_max=500, incremental_mode=False, keysize=4) as db:
        model: dict[int, bytes] = {}
        for step in range(3000):
            record_id = step * 7919 % 500
            if step % 5 == 4 and record_id in model:
                db.delete(record_id)
                del model[record_id]
            else:
                db.set(id=record_id, data=b"%d" % step)
                model[record_id] = b"%d" % step
        assert {i: db.get(i) for i in db} == model
        assert len(db) == len(model)
    with ourdb.new(tmp_path / "db") as db:
        assert {i: db.get(i) for i in db} == model
