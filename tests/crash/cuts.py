"""A filesystem on a recording disk, and a look at every state in which a power cut could have left it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vfs_db
from ourdb.db import OurDB
from ourdb.disk import Disk
from tests.power_cut import Model, QuickDisk, RecordingDisk, states, write_state
from vfs_db import DatabaseVFS

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


def examine(recorded: Recorded, target: Path, count: int, again: int, seed: int) -> int:
    """Look at *count* states of what was recorded, at some *again* of them with a second cut; return how many were seen."""
    events = recorded.disk.events[:]
    recorded.fs.close()
    choose = random.Random(seed)
    examined = 0
    for step, files in states(events, count, seed):
        before = events[:step]
        try:
            examined += 1
            if not any(event[0] == "open" for event in before):
                write_state(files, str(target))
                opened(str(target), QuickDisk(), config=CONFIG).close()
                shutil.rmtree(target)
                continue
            first, last = allowed(before, recorded.level)
            found = recovered(target, files, recorded.trees[first : last + 1])
            if choose.random() * count < again:
                examined += cut_again(target, files, found, seed, 6)
        except BaseException as error:
            error.add_note(f"{recorded.level}, seed {seed}, after event {step} {events[step - 1]!r:.80}")
            raise
    return examined
