"""After a power cut at any moment, a second one amid the recovery too, the filesystem is as some allowed operation left it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfs_db
from ourdb.db import OurDB
from ourdb.disk import Disk
from tests.power_cut import Model, QuickDisk, RecordingDisk, states, write_state
from vfs_db import CHUNK_SIZE, DatabaseVFS

Tree = dict[str, tuple[Any, ...]]
Files = dict[str, bytes | None]

CONFIG = {"record_nr_max": 20_000, "keysize": 6, "file_size": 30_000, "incremental_mode": False}
SECOND_BOOT = b"second boot 0000"


def opened(root: str, disk: Disk, level: str = "normal", config: dict[str, Any] | None = None) -> DatabaseVFS:
    data, metadata = (
        OurDB(f"{root}/{name}", config or {}, synchronous=level, disk=disk)  # type: ignore[arg-type]
        for name in ("data", "metadata")
    )
    return vfs_db.new(data, metadata)


def tree_of(fs: DatabaseVFS) -> Tree:
    found: Tree = {}
    for path, folders, files in fs.walk("/"):
        for name in (*folders, *files):
            one = f"{path.rstrip('/')}/{name}"
            entry = fs.get(one)
            if entry.is_symlink():
                found[one] = ("link", fs.link_read(one))
            elif entry.is_dir():
                found[one] = ("directory", entry.metadata.mode)
            else:
                found[one] = ("file", entry.metadata.mode, fs.file_read(one))
    return found


class Recorded:
    """A filesystem on a recording disk, and the trees that its operations made."""

    def __init__(self, root: Path, level: str) -> None:
        self.disk = RecordingDisk(str(root))
        self.level = level
        self.fs = opened(self.disk.root, self.disk, level, CONFIG)
        self.trees: list[Tree] = [{}]
        self.disk.note("open")
        self.synced()

    def synced(self) -> None:
        self.fs.sync()
        self.disk.note("synced", len(self.trees) - 1)

    def do(self, operation: Callable[..., object], *arguments: object) -> None:
        self.disk.note("begin", len(self.trees))
        operation(*arguments)
        self.trees.append(tree_of(self.fs))
        self.disk.note("done", len(self.trees) - 1)

    def killed(self) -> None:
        """Let the process die, and its successor on the same boot go on."""
        for database in (self.fs._state.databases.data, self.fs._state.databases.metadata):
            commits = database._commits  # type: ignore[attr-defined]
            commits.refuse(lambda: RuntimeError("killed"))
            if commits.journal is not None:
                commits.journal.close()
                commits.journal = None
            database._store.close()  # type: ignore[attr-defined]
            database._is_closed = True  # type: ignore[attr-defined]
        self.fs = opened(self.disk.root, self.disk, self.level)


def contents(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do
    do(fs.file_write, "a", b"one")
    do(fs.file_write, "a", b"two" * 400)
    do(fs.dir_create, "d")
    do(fs.file_write, "d/b", b"x" * (CHUNK_SIZE + 10))
    recorded.synced()
    do(fs.file_concatenate, "d/b", b"tail" * 30)
    do(fs.truncate, "d/b", 500)
    do(fs.file_write, "a", b"")
    do(fs.link_create, "d/b", "link")
    do(fs.chmod, "a", 0o600)


def places(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do
    do(fs.makedirs, "d/e/f")
    do(fs.file_write, "d/e/one", b"1" * 300)
    do(fs.file_write, "two", b"2" * 900)
    recorded.synced()
    do(fs.rename, "two", "d/e/one")
    do(fs.copy, "d", "copy")
    do(fs.rename, "d/e", "moved")
    do(fs.delete, "copy/e/one")
    do(fs.file_write, "new", b"in a freed id" * 9)
    recorded.synced()
    do(fs.remove_tree, "moved")
    do(fs.delete, "d")


def transactions(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do

    def many(number: int) -> None:
        with fs.transaction():
            for at in range(5):
                fs.file_write(f"f{at}", b"%d" % number * (50 + at))
            if number:
                fs.delete("f2")
                fs.rename("f0", "f9")

    def undone() -> None:
        with pytest.raises(ZeroDivisionError), fs.transaction():
            fs.remove_tree("f1")
            fs.file_write("f3", b"never" * 100)
            raise ZeroDivisionError

    for number in range(3):
        do(many, number)
        do(undone)
        do(fs.compact)
        do(fs.file_write, "last", b"%d" % number)


def killed(recorded: Recorded) -> None:
    """Each process dies; what it wrote is still in the system's cache, until the power goes too."""
    for number in range(4):
        recorded.do(recorded.fs.file_write, f"f{number % 2}", b"%d" % number * 200)
        recorded.do(recorded.fs.file_write, "g", b"%d" % number)
        recorded.killed()
        if number == 1:
            recorded.do(recorded.fs.delete, "f0")


def versions(recorded: Recorded) -> None:
    """A directory's names go into pages, and back into its entry."""
    fs, do = recorded.fs, recorded.do

    def make(first: int, last: int) -> None:
        with fs.transaction():
            for number in range(first, last):
                fs.file_create(f"d/{number}")

    def drop(first: int, last: int) -> None:
        with fs.transaction():
            for number in range(first, last):
                fs.delete(f"d/{number}")

    do(fs.dir_create, "d")
    do(make, 0, 1022)
    recorded.synced()
    for number in range(1022, 1027):
        do(make, number, number + 1)
    do(drop, 0, 512)
    for number in range(512, 518):
        do(drop, number, number + 1)


WORKLOADS = [contents, places, transactions, killed, versions]


def allowed(events: list[tuple[Any, ...]], level: str) -> tuple[int, int]:
    synced = max((event[1] for event in events if event[0] == "synced"), default=0)
    begun = max((event[1] for event in events if event[0] == "begin"), default=0)
    done = max((event[1] for event in events if event[0] == "done"), default=0)
    return (max(synced, done) if level == "full" else synced), begun


def recovered(root: Path, files: Files, candidates: list[Tree]) -> Tree:
    """Open one state, see that it is one of *candidates* and sound, and that the filesystem works on; return its tree."""
    write_state(files, str(root))
    fs = opened(str(root), QuickDisk())
    found = tree_of(fs)
    assert found in candidates, f"found {found!r:.300}, allowed are {candidates!r:.600}"
    assert list(fs.check()) == []
    fs.file_write("and on", b"x")
    fs.close()
    with opened(str(root), QuickDisk()) as again:
        assert tree_of(again) == found | {"/and on": ("file", 0o644, b"x")}
    shutil.rmtree(root)
    return found


def cut_again(root: Path, files: Files, found: Tree, seed: int, count: int) -> int:
    """Cut the power amid the recovery of a state: the next one finds the same."""
    write_state(files, str(root))
    start = Model.of(str(root))
    disk = RecordingDisk(str(root), SECOND_BOOT)
    fs = opened(str(root), disk)
    fs.close()
    shutil.rmtree(root)
    examined = 0
    for _, second in states(disk.events, count, seed, start):
        recovered(root, second, [found])
        examined += 1
    return examined


def run(workload: Callable[[Recorded], None], level: str, tmp_path: Path, count: int, again: int, seed: int) -> int:
    source, target = tmp_path / "source", tmp_path / "state"
    source.mkdir()
    recorded = Recorded(source, level)
    workload(recorded)
    events = recorded.disk.events[:]
    recorded.fs.close()
    choose = random.Random(seed)
    examined = 0
    for step, files in states(events, count, seed):
        before = events[:step]
        try:
            if not any(event[0] == "open" for event in before):
                write_state(files, str(target))
                opened(str(target), QuickDisk(), config=CONFIG).close()
                shutil.rmtree(target)
                continue
            first, last = allowed(before, level)
            found = recovered(target, files, recorded.trees[first : last + 1])
            examined += 1
            if choose.random() * count < again:
                examined += cut_again(target, files, found, seed, 6)
        except BaseException as error:
            error.add_note(f"{workload.__name__}, {level}, seed {seed}, after event {step} {events[step - 1]!r:.80}")
            raise
    return examined


@pytest.mark.parametrize("level", ["normal", "full"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.__name__)
def test_a_power_cut_leaves_what_an_operation_left(
    workload: Callable[[Recorded], None], level: str, tmp_path: Path
) -> None:
    count, again = (12, 2) if workload is versions else (60, 5)
    assert run(workload, level, tmp_path, count, again, seed=1) > 10


@pytest.mark.slow
@pytest.mark.parametrize("level", ["normal", "full"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.__name__)
def test_thousands_of_power_cuts_leave_what_an_operation_left(
    workload: Callable[[Recorded], None], level: str, tmp_path: Path
) -> None:
    count, again = (100, 10) if workload is versions else (1500, 100)
    assert run(workload, level, tmp_path, count, again, seed=2) > count // 2
