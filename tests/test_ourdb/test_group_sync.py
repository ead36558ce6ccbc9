"""Threads of a "full" database that share an fdatasync: who is told what."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ourdb.db import OurDB
from ourdb.disk import Disk
from ourdb.errors import OurDBError
from ourdb.group_sync import GroupSync, GroupWriter

_DEADLINE = 30


class _HeldDisk(Disk):
    """A disk whose next fdatasync waits to be let go, and then may fail once."""

    def __init__(self) -> None:
        self.is_held = False
        self.fails = False
        self.entered = threading.Event()
        self.go = threading.Event()
        self.count = 0

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self.count += 1
        if self.is_held:
            self.is_held = False
            self.entered.set()
            assert self.go.wait(_DEADLINE)
            if self.fails:
                raise OSError(errno.EIO, "fdatasync failed")
        os.fdatasync(fd)


def _open(path: Path, disk: Disk) -> OurDB:
    db = OurDB(str(path), {"incremental_mode": False}, synchronous="full", disk=disk)
    db.set(id=1, data=b"first")
    db.set(id=1, data=b"the short path")
    return db


def _set_beside_a_held_fdatasync(db: OurDB, disk: _HeldDisk, count: int) -> list[BaseException | None]:
    """Return what each of *count* threads got that set a record while one more waits in fdatasync (the first)."""
    outcomes: list[BaseException | None] = [None] * (count + 1)

    def put(number: int) -> None:
        try:
            db.set(id=10 + number, data=b"data")
        except OurDBError as error:
            outcomes[number] = error

    disk.is_held = True
    threads = [threading.Thread(target=put, args=(number,)) for number in range(count + 1)]
    threads[0].start()
    assert disk.entered.wait(_DEADLINE)
    for thread in threads[1:]:
        thread.start()
    while len(db._commits.writers._queue) < count:
        threading.Event().wait(0.001)
    disk.go.set()
    for thread in threads:
        thread.join(_DEADLINE)
        assert not thread.is_alive()
    return outcomes


def test_threads_that_wait_behind_an_fdatasync_share_one_commit_and_the_next(tmp_path: Path) -> None:
    disk = _HeldDisk()
    with _open(tmp_path / "db", disk) as db:
        before = disk.count
        assert _set_beside_a_held_fdatasync(db, disk, 6) == [None] * 7
        assert disk.count - before == 2
        assert db.get_many(range(10, 17)) == [b"data"] * 7


def test_nobody_is_told_of_success_after_a_failed_fdatasync(tmp_path: Path) -> None:
    disk = _HeldDisk()
    disk.fails = True
    db = _open(tmp_path / "db", disk)
    outcomes = _set_beside_a_held_fdatasync(db, disk, 6)
    assert all(isinstance(outcome, OurDBError) for outcome in outcomes), outcomes
    with pytest.raises(OurDBError, match="fsync failed"):
        db.set(id=2, data=b"refused")
    db.close()
    with OurDB(str(tmp_path / "db"), {}) as again:
        assert again.get(1) == b"the short path"


def test_waiting_until_idle_outlasts_the_fdatasync_under_way() -> None:
    group, entered, go = GroupSync(), threading.Event(), threading.Event()
    done: list[str] = []

    def sync() -> None:
        entered.set()
        assert go.wait(_DEADLINE)
        done.append("sync")

    def close() -> None:
        group.wait_until_idle()
        done.append("close")

    group.wait_until_idle()
    leader = threading.Thread(target=group.wait_for, args=(1, lambda: 1, sync))
    leader.start()
    assert entered.wait(_DEADLINE)
    closer = threading.Thread(target=close)
    closer.start()
    while len(group._idle) != 1:
        threading.Event().wait(0.001)
    go.set()
    leader.join(_DEADLINE)
    closer.join(_DEADLINE)
    assert done == ["sync", "close"]


def test_those_that_a_checkpoint_serves_are_woken_and_the_others_led() -> None:
    """A checkpoint comes while they wait; the one that was to lead next is served by it, and needs no fdatasync any more."""
    group, entered, go = GroupSync(), threading.Event(), threading.Event()

    def sync() -> None:
        entered.set()
        assert go.wait(_DEADLINE)

    leader = threading.Thread(target=group.wait_for, args=(1, lambda: 1, sync))
    leader.start()
    assert entered.wait(_DEADLINE)
    waiting = []
    for ticket in (2, 3, 4):
        waiting.append(threading.Thread(target=group.wait_for, args=(ticket, lambda: 4, lambda: None), daemon=True))
        waiting[-1].start()
        while len(group._waiting) < len(waiting):
            threading.Event().wait(0.001)
    group.mark(3)
    for thread in waiting[:2]:
        thread.join(_DEADLINE)
        assert not thread.is_alive()
    go.set()
    waiting[2].join(_DEADLINE)
    assert not waiting[2].is_alive()
    leader.join(_DEADLINE)


def test_one_that_is_to_lead_and_finds_itself_served_lets_another_lead() -> None:
    group = GroupSync()
    gates = [threading.Lock(), threading.Lock()]
    for gate in gates:
        gate.acquire()
    group._waiting = [(5, gates[0]), (9, gates[1])]
    group._hand_over(4)  # the one that waits for 5 is to lead
    assert [gate.locked() for gate in gates] == [False, True]
    group._synced = 5  # by a checkpoint, before it runs
    group.wait_for(5, lambda: 9, lambda: None)
    assert not gates[1].locked()


class _SteppedLock:
    """A lock that does something right after one thread has let go of it, once."""

    def __init__(self, thread: int, after: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._thread = thread
        self._after: Callable[[], object] | None = after

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        after = self._after
        if after is not None and threading.get_ident() == self._thread:
            self._after = None
            after()


def test_a_thread_that_is_given_the_lead_before_it_waits_leads_once() -> None:
    """The one before it may be done between its coming and its first look."""
    writer: GroupWriter[int, int] = GroupWriter()
    entered, go = threading.Event(), threading.Event()

    def slowly(items: list[int]) -> list[int]:
        entered.set()
        assert go.wait(_DEADLINE)
        return items

    leader = threading.Thread(target=writer.write, args=(1, slowly))
    leader.start()
    assert entered.wait(_DEADLINE)

    def let_it_end() -> None:
        go.set()
        leader.join(_DEADLINE)

    writer._mutex = _SteppedLock(threading.get_ident(), let_it_end)  # type: ignore[assignment]
    assert writer.write(2, lambda items: items) == 2
    assert writer.write(3, lambda items: items) == 3


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 65535])
def test_full_survives_without_the_record_files(tmp_path: Path, size: int) -> None:
    """What was acknowledged comes back from the journal alone where it is small, from both where it is not."""
    db = _open(tmp_path / "db", Disk())
    data = b"x" * size
    db.set(id=5, data=data)
    copy = tmp_path / "copy"
    (copy / "lookup").mkdir(parents=True)
    for name in ("journal", "0.db", "lookup/data", "lookup/.ourdb"):
        raw = (tmp_path / "db" / name).read_bytes()
        if name == "0.db" and size <= 4096:
            raw = raw[:1]
        (copy / name).write_bytes(raw)
    db.close()
    with OurDB(str(copy), {}) as again:
        assert again.get(5) == data
        assert again.get(1) == b"the short path"
        assert again.get_history(1, 9) == [b"the short path", b"first"]
        assert list(again.check()) == []
