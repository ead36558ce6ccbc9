"""Threads that read while others make room for files, checkpoint or count."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import ourdb
from ourdb.db import OurDB
from ourdb.disk import Disk
from tests.step_disk import StepDisk


def test_a_file_that_gives_way_to_others_while_it_is_mapped_is_not_taken_for_one_of_them(tmp_path: Path) -> None:
    """What other threads do then is done here: they read so many files that its descriptor is not kept."""
    count = 90
    with ourdb.new(tmp_path / "db", keysize=6, file_size=1, incremental_mode=False) as db:
        db.set_many([(record_id, b"%d" % record_id) for record_id in range(count)])
    disk = StepDisk()
    with OurDB(str(tmp_path / "db"), {}, disk=disk) as db:
        found: list[list[bytes]] = []
        disk.before("map", "", lambda: found.append([db.get(record_id) for record_id in range(1, count)]))
        assert db.get(0) == b"0"
        assert found == [[b"%d" % record_id for record_id in range(1, count)]]
        assert [db.get(record_id) for record_id in range(count)] == [b"%d" % record_id for record_id in range(count)]


def test_threads_that_read_more_files_than_are_kept_mapped_get_their_own_records(tmp_path: Path) -> None:
    count = 300
    wrong: list[object] = []

    def read(db: OurDB, seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(500):
            record_id = choose.randrange(count)
            try:
                found = db.get(record_id)
            except Exception as error:  # noqa: BLE001 - any is one too many
                wrong.append(error)
            else:
                if found != b"%d" % record_id:
                    wrong.append((record_id, found))

    with ourdb.new(tmp_path / "db", keysize=6, file_size=1, incremental_mode=False) as db:
        db.set_many([(record_id, b"%d" % record_id) for record_id in range(count)])
        threads = [threading.Thread(target=read, args=(db, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


class _TableDisk(Disk):
    """A disk on which the table in *folder* is read, up to its second block, before it is written, which then comes to its end."""

    def __init__(self, folder: Path) -> None:
        self._table = folder / "lookup" / "data"
        self.thread: threading.Thread | None = None
        self.is_about_to_write = threading.Event()
        self._may_write = threading.Event()

    def write_all(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> None:
        if self.thread is not None and self.is_same_file(fd, str(self._table)):
            self.is_about_to_write.set()
            assert self._may_write.wait(30)
        super().write_all(fd, data, position)

    def next_data(self, fd: int, position: int) -> int:
        if position and self.thread is not None:
            self._may_write.set()
            self.thread.join()
        return super().next_data(fd, position)


def test_counting_while_a_checkpoint_writes_the_table(tmp_path: Path) -> None:
    disk = _TableDisk(tmp_path / "db")
    with OurDB(str(tmp_path / "db"), {"incremental_mode": False}, disk=disk) as db:
        db.set(id=2, data=b"in the table")
        db.sync()
        db.set(id=1, data=b"in memory")
        disk.thread = threading.Thread(target=db.sync)
        disk.thread.start()
        assert disk.is_about_to_write.wait(30)
        assert len(db) == 2
