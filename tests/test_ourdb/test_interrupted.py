"""Ctrl-C comes between any two steps: what was committed stays so, and nobody waits for a thread that was stopped."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ourdb
from ourdb.db import OurDB
from ourdb.disk import Disk
from ourdb.group_sync import GroupSync, GroupWriter

_DEADLINE = 30


class _InterruptedDisk(Disk):
    """Stops the program behind a call whose name and file match, as Ctrl-C would; *skipped* such calls go on."""

    def __init__(self) -> None:
        self.at = ("", "")
        self.skipped = 0
        self._names: dict[int, str] = {}

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
        fd = super().open(path, create=create, read_only=read_only)
        self._names[fd] = os.path.basename(path)
        return fd

    def _reached(self, call: str, fd: int) -> None:
        if self.at == (call, self._names.get(fd)):
            self.skipped -= 1
            if self.skipped < 0:
                self.at = "", ""
                raise KeyboardInterrupt

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> int:
        written = os.pwrite(fd, data, position)
        self._reached("pwrite", fd)
        return written

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self._reached("fdatasync", fd)


def _set(db: OurDB) -> None:
    db.set(id=1, data=b"new" * 30)


def _set_generally(db: OurDB) -> None:
    db.set(id=1, data=bytearray(b"new" * 30))


def _set_batch(db: OurDB) -> None:
    db.set_many([(1, b"new" * 30)])


@pytest.mark.parametrize("change", [_set, _set_generally, _set_batch])
def test_a_commit_that_is_stopped_behind_its_write_is_not_written_over(
    tmp_path: Path, change: Callable[[OurDB], None]
) -> None:
    disk = _InterruptedDisk()
    db = OurDB(str(tmp_path / "db"), {"incremental_mode": False}, disk=disk)
    for record_id in (1, 2):
        db.set(id=record_id, data=b"old")
    disk.at = "pwrite", "journal"
    with pytest.raises(KeyboardInterrupt):
        change(db)
    # A longer record would lie over the one of that commit, which the journal holds; killed then.
    disk.at = "pwrite", "0.db"
    with pytest.raises(ourdb.OurDBError, match="stopped halfway"):
        db.set(id=2, data=b"longer" * 100)
    shutil.copytree(tmp_path / "db", tmp_path / "killed")
    db.close()
    for folder in ("killed", "db"):
        with ourdb.new(tmp_path / folder) as again:
            assert again.get_many([1, 2]) == [b"new" * 30, b"old"]
            assert list(again.check()) == []


@pytest.mark.parametrize("skipped", [0, 1])
def test_no_commit_is_lost_behind_a_checkpoint_that_is_stopped(tmp_path: Path, skipped: int) -> None:
    """At the second fdatasync the next generation's header is written: commits behind the older one would not count."""
    disk = _InterruptedDisk()
    db = OurDB(str(tmp_path / "db"), {"incremental_mode": False}, disk=disk)
    db.set(id=1, data=b"one")
    disk.at, disk.skipped = ("fdatasync", "journal"), skipped
    with pytest.raises(KeyboardInterrupt):
        db.sync()
    with pytest.raises(ourdb.OurDBError, match="stopped halfway"):
        db.set(id=2, data=b"two")
    db.close()
    with ourdb.new(tmp_path / "db") as again:
        assert list(again) == [1]


def _stop_this_thread_when(is_waiting: Callable[[], bool]) -> threading.Thread:
    """Send Ctrl-C to this thread once *is_waiting*."""
    me = threading.get_ident()

    def stop() -> None:
        while not is_waiting():
            pass
        signal.pthread_kill(me, signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a system without signals for threads")
def test_a_thread_that_is_stopped_while_another_writes_for_it_leaves_the_lead_to_others() -> None:
    writer: GroupWriter[int, int] = GroupWriter()
    entered, go = threading.Event(), threading.Event()

    def slowly(items: list[int]) -> list[int]:
        entered.set()
        assert go.wait(_DEADLINE)
        return items

    leader = threading.Thread(target=writer.write, args=(1, slowly))
    leader.start()
    assert entered.wait(_DEADLINE)
    with pytest.raises(KeyboardInterrupt):
        stopper = _stop_this_thread_when(lambda: len(writer._queue) == 1)
        writer.write(2, slowly)
    stopper.join()
    go.set()
    leader.join()
    written: list[int | None] = []
    late = threading.Thread(target=lambda: written.append(writer.write(3, lambda items: items)), daemon=True)
    late.start()
    late.join(_DEADLINE)
    assert written == [3]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a system without signals for threads")
def test_a_thread_that_is_stopped_while_it_waits_for_an_fdatasync_is_forgotten() -> None:
    group = GroupSync()
    entered, go = threading.Event(), threading.Event()

    def slowly() -> None:
        entered.set()
        assert go.wait(_DEADLINE)

    leader = threading.Thread(target=group.wait_for, args=(1, lambda: 1, slowly))
    leader.start()
    assert entered.wait(_DEADLINE)
    with pytest.raises(KeyboardInterrupt):
        stopper = _stop_this_thread_when(lambda: len(group._waiting) == 1)
        group.wait_for(2, lambda: 2, slowly)
    stopper.join()
    late = threading.Thread(target=group.wait_for, args=(3, lambda: 3, lambda: None), daemon=True)
    late.start()
    while not group._waiting:
        pass
    go.set()
    leader.join()
    late.join(_DEADLINE)
    assert not late.is_alive()
