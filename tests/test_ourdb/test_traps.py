"""The traps that a journal beside record files and a table can fall into: each is set up here, and must not snap.

A kill is a copy of the folder at one moment. A power cut is the same with what was not synced taken away.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import ourdb
from ourdb.db import OurDB
from ourdb.disk import Disk
from ourdb.journal import COMMITS_AT, SLOT_SIZE, SLOT_SPACING
from tests.small_disk import may_mount, on_small_disk

CONFIG: dict[str, Any] = {"record_nr_max": 100, "keysize": 6, "incremental_mode": False}


class WatchedDisk(Disk):
    """A disk that knows what is durable, and calls *before_write* (name, position, data) ahead of each write."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.before_write: Callable[[str, int, bytes], None] | None = None
        self.failing_sync = ""
        self._paths: dict[int, str] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = {}

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
        is_new = create and not os.path.lexists(path)
        fd = super().open(path, create=create, read_only=read_only)
        self._paths[fd] = path
        if is_new:
            self._contents[os.fstat(fd).st_ino] = b""
        return fd

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> int:
        if self.before_write is not None:
            self.before_write(os.path.basename(self._paths[fd]), position, bytes(data))
        return os.pwrite(fd, data, position)

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        if self.failing_sync and self._paths[fd].endswith(self.failing_sync):
            raise OSError(errno.EIO, "a fault on purpose")
        self._contents[os.fstat(fd).st_ino] = os.pread(fd, os.fstat(fd).st_size, 0)

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self.fsync(fd)

    def sync_folder(self, path: str) -> None:
        self._names[os.path.abspath(path)] = {entry.name: entry.inode() for entry in os.scandir(path)}

    def copy(self, target: Path) -> Path:
        """Leave in *target* what a killed process leaves; return the database's folder there."""
        shutil.copytree(self.root, target)
        return target / "db"

    def cut(self, target: Path, *, lost: str = ".*", are_names_lost: bool = True) -> Path:
        """Leave in *target* what a power cut may leave: unsynced content of the files that match *lost* is gone."""
        self._cut(self.root, target, re.compile(lost), are_names_lost=are_names_lost)
        return target / "db"

    def _cut(self, folder: str, target: Path, lost: re.Pattern[str], *, are_names_lost: bool) -> None:
        target.mkdir()
        present = {entry.name: entry.inode() for entry in os.scandir(folder)}
        numbers = {number: os.path.join(folder, name) for name, number in present.items()}
        for name, number in (self._names.get(folder, {}) if are_names_lost else present).items():
            path = numbers.get(number)
            if path is not None and os.path.isdir(path):
                self._cut(path, target / name, lost, are_names_lost=are_names_lost)
            elif path is None or lost.fullmatch(name):
                (target / name).write_bytes(self._contents[number])
            else:
                shutil.copy(path, target / name)


class Rebooted(Disk):
    """The machine after it was started anew."""

    def boot_id(self) -> bytes:
        return b"another boot 000"


@pytest.fixture
def disk(tmp_path: Path) -> WatchedDisk:
    root = tmp_path / "root"
    root.mkdir()
    return WatchedDisk(root)


def open_on(disk: WatchedDisk, **options: Any) -> OurDB:
    given = {key: options.pop(key) for key in ("file_size", "incremental_mode") if key in options}
    return OurDB(os.path.join(disk.root, "db"), CONFIG | given, disk=disk, **options)


@contextmanager
def opened(folder: Path, disk: Disk | None = None) -> Iterator[OurDB]:
    """Open what a crash left; it is clean, and stays the same when it is closed and opened once more."""
    with OurDB(str(folder), {}, disk=disk or Rebooted()) as db:
        assert list(db.check()) == []
        found = content(db)
        yield db
    with OurDB(str(folder), {}) as again:
        assert content(again) == found


def content(db: OurDB) -> dict[int, list[bytes]]:
    return {record_id: db.get_history(record_id, 99) for record_id in db}


def at_write(disk: WatchedDisk, name: str, position: range, take: Callable[[], Any]) -> None:
    """Call *take* once, ahead of the next write to file *name* at one of the positions."""

    def before_write(written: str, at: int, data: bytes) -> None:
        if written == name and at in position:
            disk.before_write = None
            take()

    disk.before_write = before_write


def test_replay_over_records_that_are_zeros_already(disk: WatchedDisk, tmp_path: Path) -> None:
    """A cut at the end of a checkpoint: a commit names a record that the checkpoint has overwritten."""
    db = open_on(disk)
    db.set(id=1, data=b"one")
    db.set(id=3, data=b"goes in the same generation")
    db.delete(3)
    db.set(id=1, data=b"one again")
    states: list[Path] = []

    def before_write(name: str, at: int, data: bytes) -> None:
        if name == "journal":
            states.append(disk.copy(tmp_path / f"killed {len(states)}"))
            states.append(disk.cut(tmp_path / f"cut {len(states)}", lost="journal", are_names_lost=False))

    db.set(id=2, data=b"journal and names are durable")
    disk.fsync(db._commits.open_journal().fd)
    disk.before_write = before_write
    db.sync()
    disk.before_write = None
    assert [b"goes in the same" in (state / "0.db").read_bytes() for state in states] == [True, True, False, False]
    for state in states:
        with opened(state) as found:
            assert content(found) == {1: [b"one again", b"one"], 2: [b"journal and names are durable"]}


def test_a_commit_whose_records_are_lost(disk: WatchedDisk, tmp_path: Path) -> None:
    """The journal reached the disk before the records that it names: what is found is a prefix of the commits."""
    db = open_on(disk)
    db.set(id=1, data=b"one")
    db.sync()
    db.set(id=1, data=b"lost")
    db.delete(1)
    with opened(disk.cut(tmp_path / "cut", lost="0.db", are_names_lost=False)) as found:
        assert content(found) == {1: [b"one"]}


def test_stale_commits_behind_new_ones_after_a_restart(disk: WatchedDisk, tmp_path: Path) -> None:
    """Commits of the last generation, of the same size, lie where the next one of this generation would."""
    db = open_on(disk)
    for number in range(4):
        db.set(id=1, data=b"a%d" % number)
    db.sync()
    db.set(id=1, data=b"b0")
    with opened(disk.copy(tmp_path / "killed"), Disk()) as found:
        assert content(found) == {1: [b"b0", b"a3", b"a2", b"a1", b"a0"]}


def test_stale_commits_in_place_of_new_ones_after_a_restart(disk: WatchedDisk, tmp_path: Path) -> None:
    """The block with the new generation's first commit was lost: an old commit is there, whole, but not the next."""
    db = open_on(disk)
    db.set_many([(record_id, b"old") for record_id in range(16)])
    db.set(id=0, data=b"new")
    journal = Path(disk.root, "db", "journal")
    first_block = journal.read_bytes()[COMMITS_AT : COMMITS_AT + 512]
    db.sync()
    db.set_many([(record_id, b"later") for record_id in range(20, 50)])
    state = disk.copy(tmp_path / "cut")
    with (state / "journal").open("r+b") as file:
        file.seek(COMMITS_AT)
        file.write(first_block)
    with opened(state) as found:
        assert found.get(0) == b"new"
        assert list(found) == list(range(16))


@pytest.mark.parametrize("file_size", [500_000, 60])
def test_no_committed_end(disk: WatchedDisk, tmp_path: Path, file_size: int) -> None:
    """Records were appended, their commit was not: the tail goes, the next record lies where it would have."""
    db = open_on(disk, file_size=file_size)
    db.set(id=1, data=b"kept" * 10)
    db.sync()
    before = {path.name: path.read_bytes() for path in Path(disk.root, "db").glob("*.db")}
    states: list[Path] = []
    at_write(disk, "journal", range(COMMITS_AT, 1 << 40), lambda: states.append(disk.copy(tmp_path / "killed")))
    db.set_many([(2, b"not committed" * 9), (3, b"nor this" * 9)])
    assert {path.name: path.read_bytes() for path in states[0].glob("*.db")} != before
    with opened(states[0], Disk()) as found:
        assert content(found) == {1: [b"kept" * 10]}
        assert {path.name: path.read_bytes() for path in states[0].glob("*.db")} == before


def test_a_tail_that_is_not_ours(disk: WatchedDisk) -> None:
    """Without a journal nobody knows what a tail is: what another program appended stays."""
    with open_on(disk) as db:
        db.set(id=1, data=b"ours")
    with Path(disk.root, "db", "0.db").open("ab") as file:
        file.write(b"another's record")
    with ourdb.new(disk.root + "/db") as db:
        db.set(id=2, data=b"ours again")
        assert db.get_many([1, 2]) == [b"ours", b"ours again"]
    assert b"ours" + b"another's record" in Path(disk.root, "db", "0.db").read_bytes()


def test_a_cut_of_a_finished_file_that_came_undone(disk: WatchedDisk, tmp_path: Path) -> None:
    db = open_on(disk, file_size=60)
    db.set(id=1, data=b"x" * 20)
    db.set(id=2, data=b"y" * 20)
    db.set(id=3, data=b"in the next file")
    assert db.lookup(3).file_number == 1
    whole = Path(disk.root, "db", "0.db").read_bytes()
    state = disk.copy(tmp_path / "cut")
    with (state / "0.db").open("ab") as file:
        file.write(b"rolled back once")
    with opened(state) as found:
        assert content(found) == {1: [b"x" * 20], 2: [b"y" * 20], 3: [b"in the next file"]}
    assert (state / "0.db").read_bytes() == whole


@pytest.mark.parametrize("size", [10, 10_000], ids=["inlined", "in the record file"])
def test_names_that_are_not_durable_at_an_acknowledged_commit(disk: WatchedDisk, tmp_path: Path, size: int) -> None:
    """Each name on the way to the data must be durable, that of the database's folder too."""
    db = OurDB(os.path.join(disk.root, "db", "deep"), CONFIG, synchronous="full", disk=disk)
    db.set(id=1, data=b"x" * size)
    with opened(disk.cut(tmp_path / "cut") / "deep") as found:
        assert found.get(1) == b"x" * size


def test_a_commit_of_much_data_is_durable_without_standing_in_the_journal(disk: WatchedDisk, tmp_path: Path) -> None:
    """What a commit inlines waits in memory, so there is a bound to it; beyond, the record file is synced."""
    few, many = 300, 1200  # of 1000 bytes; the bound is 1 MiB
    db = OurDB(os.path.join(disk.root, "db"), {"incremental_mode": False}, synchronous="full", disk=disk)
    with db.transaction():
        for record_id in range(few):
            db.set(id=record_id, data=b"%04d" % record_id * 250)
    assert db._commits.journal is not None
    assert db._commits.journal.end > few * 1000
    start = db._commits.journal.end
    with db.transaction():
        db.set_many((record_id, b"%04d" % record_id * 250) for record_id in range(few, 2 * few))
        with suppress(KeyError), db.transaction():
            for record_id in range(2 * few, many):
                db.set(id=record_id, data=b"lost" * 250)
            raise KeyError
        db.set_many((record_id, b"%04d" % record_id * 250) for record_id in range(2 * few, many))
    assert db._commits.journal.end - start < 40 * many
    with opened(disk.cut(tmp_path / "cut")) as found:
        assert content(found) == {record_id: [b"%04d" % record_id * 250] for record_id in range(many)}


@pytest.mark.parametrize("level", ["full", "normal"])
def test_names_that_are_not_durable_after_a_rollover(disk: WatchedDisk, tmp_path: Path, level: Any) -> None:
    db = open_on(disk, file_size=60, synchronous=level)
    for record_id in range(6):
        db.set(id=record_id, data=b"%d" % record_id * 30)
    if level == "normal":
        db.sync()
    assert db.lookup(5).file_number > 1
    with opened(disk.cut(tmp_path / "cut")) as found:
        assert content(found) == {record_id: [b"%d" % record_id * 30] for record_id in range(6)}


def test_a_record_file_that_another_follows_is_still_to_be_synced(disk: WatchedDisk, tmp_path: Path) -> None:
    """The short path of `set` does not note where it writes: that file is not the last one any more at the next checkpoint."""
    db = open_on(disk, file_size=60)
    db.set(id=1, data=b"1" * 20)
    db.sync()
    db.set(id=2, data=b"2" * 30)  # the short path
    db.set(id=3, data=b"3" * 30)
    assert [db.lookup(record_id).file_number for record_id in (1, 2, 3)] == [0, 0, 1]
    db.sync()
    with opened(disk.cut(tmp_path / "cut")) as found:
        assert content(found) == {1: [b"1" * 20], 2: [b"2" * 30], 3: [b"3" * 30]}


def test_a_journal_that_comes_back_after_a_clean_close(disk: WatchedDisk, tmp_path: Path) -> None:
    """Its end would cut off what another program appended meanwhile: its removal is durable when close returns."""
    with open_on(disk) as db:
        db.set(id=1, data=b"one")
    state = disk.cut(tmp_path / "cut")
    assert not (state / "journal").exists()
    with opened(state) as found:
        assert content(found) == {1: [b"one"]}


@pytest.mark.parametrize("name", [".inc.new", "journal"])
def test_an_inc_that_is_older_than_the_records(disk: WatchedDisk, tmp_path: Path, name: str) -> None:
    """Ids go on behind the last one given, even where its record was deleted and `.inc` does not know of it."""
    db = open_on(disk, incremental_mode=True)
    db.set(data=b"1")
    db.sync()
    assert [db.set(data=b"2"), db.set(data=b"3")] == [2, 3]
    db.delete(3)
    states = [disk.copy(tmp_path / "killed"), disk.cut(tmp_path / "cut", lost="data|[.]inc", are_names_lost=False)]
    take = lambda: states.append(disk.copy(tmp_path / "in the checkpoint"))  # noqa: E731
    at_write(disk, name, range(COMMITS_AT), take)
    db.sync()
    assert len(states) == 3
    for state in states:
        assert (state / "lookup" / ".inc").read_bytes() in (b"2", b"4")
        with opened(state) as found:
            assert found.get_next_id() == 4
            assert content(found) == {1: [b"1"], 2: [b"2"]}


def test_an_inc_that_is_torn(disk: WatchedDisk) -> None:
    """`.inc` grows from 9 to 10 in one step: no moment of a checkpoint shows an empty or a half-written number."""
    db = open_on(disk, incremental_mode=True)
    for number in range(8):
        db.set(data=b"%d" % number)
    db.sync()
    seen: set[bytes] = set()
    inc = Path(disk.root, "db", "lookup", ".inc")
    disk.before_write = lambda *_: seen.add(inc.read_bytes())
    db.set(data=b"9")
    db.set(data=b"10")
    db.sync()
    disk.before_write = None
    assert seen == {b"9", b"11"}


def test_a_map_takes_no_stores(disk: WatchedDisk) -> None:
    """A store into a hole of a mapped table is SIGBUS on a full disk: no map that we hold can be written."""
    with open_on(disk) as db:
        db.set(id=1, data=b"x" * 5000)
        db.sync()
        assert db.get(1) == b"x" * 5000
        for mapped in (db._store.table.map, *db._store.files.maps.values()):
            with pytest.raises(TypeError):
                mapped[0] = 1  # type: ignore[index]


_FULL_DISK = """
import errno, os, sys
import ourdb
folder = sys.argv[1] + "/db"
db = ourdb.new(folder, 2_000_000, 100, incremental_mode=False, keysize=6, file_size=100_000_000)
kept = {}
try:
    for n in range(2_000_000):
        i = n * 7919 % 2_000_000  # each slot in another block of the table: its holes need blocks that are not there
        db.set(id=i, data=b"%d" % n * 20)
        kept[i] = b"%d" % n * 20
        if n % 50 == 49:
            db.sync()
    raise AssertionError("the disk never filled up")
except (OSError, ourdb.OurDBError) as error:
    print("full:", error)
try:
    db.close()
except (OSError, ourdb.OurDBError):
    pass
db = ourdb.new(folder, read_only=True)
for i, data in kept.items():
    assert db.get(i) == data
assert len(kept) > 100
print("whole")
"""


@pytest.mark.skipif(not may_mount(), reason="a system that lets nobody mount a small disk")
def test_a_hole_of_the_mapped_table_on_a_full_disk(tmp_path: Path) -> None:
    result = on_small_disk(tmp_path, "3m", sys.executable, "-c", _FULL_DISK, str(tmp_path))
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert result.stdout.splitlines()[-1] == "whole"


@pytest.mark.parametrize("size", [0, 1, SLOT_SIZE // 2, SLOT_SIZE - 1])
def test_a_header_slot_that_is_torn(disk: WatchedDisk, tmp_path: Path, size: int) -> None:
    """The slot of the generation that begins is written in part: the other one counts, and its commits."""
    db = open_on(disk)
    for number in range(3):
        db.set(id=number, data=b"first")
        db.sync()
    db.set(id=1, data=b"second")
    db.delete(2)
    states: list[Path] = []
    torn: list[tuple[int, bytes]] = []

    def before_write(name: str, at: int, data: bytes) -> None:
        if name == "journal" and at < COMMITS_AT:
            torn.append((at, data[:size]))
            states.append(disk.copy(tmp_path / "torn"))

    disk.before_write = before_write
    db.sync()
    disk.before_write = None
    [(at, part)] = torn
    with (states[0] / "journal").open("r+b") as file:
        file.seek(at)
        file.write(part)
    with opened(states[0]) as found:
        assert content(found) == {0: [b"first"], 1: [b"second", b"first"]}


@pytest.mark.parametrize("failing", ["journal", "0.db", "data"])
def test_a_failed_fsync(disk: WatchedDisk, failing: str) -> None:
    """The system may have dropped what it could not write: a later fsync that succeeds proves nothing."""
    db = open_on(disk)
    db.set(id=1, data=b"one")
    disk.failing_sync = failing
    with pytest.raises(ourdb.OurDBError, match="fsync failed"):
        db.sync()
    disk.failing_sync = ""
    for write in (lambda: db.set(id=2, data=b"two"), lambda: db.delete(1), db.sync):
        with pytest.raises(ourdb.OurDBError, match="open again"):
            write()
    assert db.get(1) == b"one"
    db.close()
    with ourdb.new(disk.root + "/db") as again:
        assert content(again) == {1: [b"one"]}
        again.set(id=2, data=b"two")


def test_what_stops_a_recovery_is_told_as_the_system_says_it(disk: WatchedDisk, tmp_path: Path) -> None:
    db = open_on(disk)
    db.set(id=1, data=b"one")
    killed = disk.copy(tmp_path / "killed")
    failing = WatchedDisk(tmp_path / "killed")
    failing.failing_sync = "0.db"
    with pytest.raises(OSError, match="a fault on purpose") as caught:
        open_on(failing)
    assert caught.value.errno == errno.EIO
    with opened(killed) as found:
        assert content(found) == {1: [b"one"]}


def test_a_compaction_that_was_killed_while_it_put_its_files_in_place_can_be_read(tmp_path: Path) -> None:
    killed: list[Path] = []

    class CopyingDisk(Disk):
        def replace(self, source: str, target: str) -> None:  # type: ignore[override]
            if source.endswith(".compact"):
                killed.append(shutil.copytree(tmp_path / "db", tmp_path / f"killed{len(killed)}"))
            os.replace(source, target)

    with OurDB(str(tmp_path / "db"), CONFIG | {"file_size": 100}, disk=CopyingDisk()) as db:
        for number in range(12):
            db.set(id=number % 4, data=b"%d" % number * 30)
        db.delete(3)
        expected = content(db)
        db.compact()
    assert len(killed) > 3, "several record files, then the table"
    for folder in (killed[0], killed[2], killed[-1]):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with ourdb.new(folder, read_only=True) as reader:
            assert content(reader) == expected
            assert list(reader.check()) == []
            assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
            with ourdb.new(folder) as db:
                assert content(db) == expected
                db.set(id=50, data=b"after it was finished")
                db.sync()
                reader.refresh()
                assert content(reader) == expected | {50: [b"after it was finished"]}


@pytest.mark.parametrize("now", [b"set anew", None])
def test_zeros_that_a_reader_takes_for_an_empty_record(disk: WatchedDisk, now: bytes | None) -> None:
    """Between finding and reading a record it is deleted, and a checkpoint overwrites it with zeros."""
    with open_on(disk) as db:
        db.set(id=1, data=b"was here")
        calls: list[int] = []

        def locate(record_id: int) -> int:
            location = db._store.locate(record_id)
            calls.append(location)
            if len(calls) == 1:
                db.delete(record_id)
                if now is not None:
                    db.set(id=record_id, data=now)
                db.sync()
            return location

        if now is None:
            with pytest.raises(ourdb.RecordNotFound):
                db._store.read(1, locate)
        else:
            assert db._store.read(1, locate) == now
        assert db._store.record(calls[0]) == (b"", False)


def test_off_after_the_machine_started_anew(disk: WatchedDisk, tmp_path: Path) -> None:
    """Nobody knows which of the unsynced writes are there: refused until `repair`, which keeps what is whole."""
    db = open_on(disk, synchronous="off")
    db.set(id=1, data=b"one")
    db.sync()
    db.set(id=1, data=b"two")
    killed = disk.copy(tmp_path / "killed")
    with opened(killed, Disk()) as found:
        assert content(found) == {1: [b"two", b"one"]}
    for state in (disk.copy(tmp_path / "all there"), disk.cut(tmp_path / "cut")):
        with pytest.raises(ourdb.OurDBError, match="repair"):
            OurDB(str(state), {}, disk=Rebooted())
    ourdb.repair(tmp_path / "all there" / "db")
    with ourdb.new(tmp_path / "all there" / "db") as found:
        assert content(found) == {1: [b"two", b"one"]}


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
def test_off_behind_a_checkpoint_that_was_not_synced(
    disk: WatchedDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """With no commit since, a close, or the open behind a kill, has nothing to check point, but all of it to sync."""
    monkeypatch.setattr("ourdb.checkpoints.JOURNAL_MAX", 0)  # each commit is followed by a checkpoint
    db = open_on(disk, synchronous="off", file_size=60)
    for record_id in (1, 2, 3):
        db.set(id=record_id, data=b"%d" % record_id * 30)
    if is_killed:
        # The same files, without the handle's own knowledge of what it has written.
        db._commits.refuse(lambda: AssertionError("killed"))  # type: ignore[arg-type, return-value]
        db.close()
        open_on(disk, file_size=60).close()
    else:
        db.close()
    with opened(disk.cut(tmp_path / "cut")) as found:
        assert content(found) == {record_id: [b"%d" % record_id * 30] for record_id in (1, 2, 3)}


def test_off_syncs_when_it_is_asked_to(disk: WatchedDisk, tmp_path: Path) -> None:
    db = open_on(disk, synchronous="off")
    db.set(id=1, data=b"one")
    db.sync()
    db.set(id=2, data=b"two")
    state = disk.cut(tmp_path / "cut")
    with pytest.raises(ourdb.OurDBError, match="repair"):
        OurDB(str(state), {}, disk=Rebooted())
    ourdb.repair(state)
    with opened(state) as found:
        assert content(found) == {1: [b"one"]}


def test_off_when_the_header_of_a_new_generation_is_torn(disk: WatchedDisk, tmp_path: Path) -> None:
    """No header may be written over the only one on disk: without any, a table that is there in part would be believed."""
    db = open_on(disk, synchronous="off")
    for record_id in range(3):
        db.set(id=record_id, data=b"%d" % record_id)
        db.sync()
    live = Path(disk.root, "db", "journal").read_bytes()
    for at in (0, SLOT_SPACING):
        state = disk.cut(tmp_path / f"cut {at}", are_names_lost=False)
        with (state / "journal").open("r+b") as file:
            file.seek(at)
            file.write(live[at : at + SLOT_SIZE // 2])
        with pytest.raises(ourdb.OurDBError, match="repair"):
            OurDB(str(state), {}, disk=Rebooted())


@pytest.mark.parametrize("first", ["data", "metadata"])
def test_a_joined_commit_of_which_one_part_is_lost(disk: WatchedDisk, tmp_path: Path, first: str) -> None:
    """Both parts of a commit were acknowledged at "full", or neither counts; either folder, opened first, knows."""
    folder = os.path.join(disk.root, "db")
    data, metadata = (OurDB(f"{folder}/{n}", CONFIG, synchronous="full", disk=disk) for n in ("data", "metadata"))
    ourdb.joined(data, metadata)
    with metadata.transaction():
        data.set(id=1, data=b"content")
        metadata.set(id=1, data=b"entry")
    states = [disk.cut(tmp_path / "acknowledged")]
    at_write(disk, "journal", range(COMMITS_AT, 1 << 40), lambda: states.append(disk.copy(tmp_path / "not committed")))
    with data.transaction():
        data.set(id=2, data=b"content")
        metadata.set(id=2, data=b"entry")
    for state in states:
        for name in (first, "metadata" if first == "data" else "data"):
            with opened(state / name) as found:
                assert list(found) == [1]
