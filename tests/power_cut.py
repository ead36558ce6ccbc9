"""What a power cut may leave of a folder: a disk that records every call, and the states that follow from the record.

The rules are those of docs/durability.md. Per file, a write that was not followed by an fsync of the file may be there,
be missing, or be there up to any 512-byte border, independently of other writes; the file's size may have grown without the
content (zeros). Per folder, names made, replaced and removed since the folder's last fsync are there up to any point, in
their order. Different files and folders do not wait for each other.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ourdb.disk import Disk

BLOCK = 512
_CHANGES = ("write", "sync", "name", "rename", "sync folder")


class QuickDisk(Disk):
    """A disk whose syncs cost nothing, for opening states; another boot than those that were recorded."""

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        pass

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        pass

    def sync_folder(self, path: str) -> None:
        pass

    def boot_id(self) -> bytes:
        return b"third boot 00000"


@attrs.define
class _Inode:
    """A file: what is durable, and the writes since, as (position, data) or (size, None) for a truncation."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = attrs.field(factory=list)


@attrs.define
class _Folder:
    durable: dict[str, int | None] = attrs.field(factory=dict)  # name -> inode number, None for a folder
    pending: list[tuple[str, int | None, bool | str]] = attrs.field(
        factory=list
    )  # name, inode, there or not or from where


@attrs.define
class Model:
    """The disk as far as it is certain, and what is pending on top."""

    inodes: dict[int, _Inode] = attrs.field(factory=dict)
    folders: dict[str, _Folder] = attrs.field(factory=dict)

    @classmethod
    def of(cls, root: str) -> Model:
        """Return the disk as *root* is now, all of it durable."""
        model = cls()
        for folder, names, files in os.walk(root):
            entries = model.folders[os.path.normpath(os.path.relpath(folder, root))] = _Folder()
            entries.durable |= dict.fromkeys(names)
            for name in files:
                path = os.path.join(folder, name)
                entries.durable[name] = number = os.stat(path).st_ino
                with open(path, "rb") as file:
                    model.inodes[number] = _Inode(file.read())
        return model

    def apply(self, event: tuple[Any, ...]) -> None:
        """Take one recorded event into account."""
        kind, *rest = event
        if kind == "write":
            self.inodes[rest[0]].pending.append((rest[1], rest[2]))
        elif kind == "sync":
            inode = self.inodes[rest[0]]
            inode.durable = _applied(inode.durable, inode.pending)
            inode.pending.clear()
        elif kind == "name":
            folder, name, number, present = rest
            self.folders.setdefault(folder, _Folder()).pending.append((name, number, present))
            if number is not None:
                self.inodes.setdefault(number, _Inode())
        elif kind == "rename":
            folder, name, number, old_name = rest
            self.folders.setdefault(folder, _Folder()).pending.append((name, number, old_name))
        elif kind == "sync folder":
            entry = self.folders.setdefault(rest[0], _Folder())
            for change in entry.pending:
                _rename(entry.durable, change)
            entry.pending.clear()

    def pending_count(self) -> int:
        """Return how many writes and names are not durable."""
        return sum(len(i.pending) for i in self.inodes.values()) + sum(len(f.pending) for f in self.folders.values())

    def state(self, choose: random.Random, *, keep: float) -> dict[str, bytes | None]:
        """Return one state: relative path -> content, None for a folder. *keep*: how likely a pending write is there."""
        contents: dict[int, bytes] = {}
        for number, inode in self.inodes.items():
            contents[number] = _applied(inode.durable, [p for w in inode.pending for p in _torn(w, choose, keep)])
        files: dict[str, bytes | None] = {}
        for path, folder in self.folders.items():
            names = dict(folder.durable)
            count = len(folder.pending) if keep == 1 else 0 if keep == 0 else choose.randint(0, len(folder.pending))
            for change in folder.pending[:count]:
                _rename(names, change)
            for name, inode_number in names.items():
                files[os.path.join(path, name)] = None if inode_number is None else contents[inode_number]
        return files


def _rename(names: dict[str, int | None], change: tuple[str, int | None, bool | str]) -> None:
    name, number, present = change
    if isinstance(present, str):
        names.pop(present, None)
    if present:
        names[name] = number
    else:
        names.pop(name, None)


def _torn(write: tuple[int, bytes | None], choose: random.Random, keep: float) -> list[tuple[int, bytes | None]]:
    position, data = write
    if keep == 1 or choose.random() < keep:
        return [write]
    if data is None or keep == 0:
        return []
    fate = choose.random()
    if fate < 0.4:
        return []
    if fate < 0.6:  # the size is ahead of the content
        return [(position + len(data), b"")]
    cut = choose.randrange(0, len(data) + 1)
    if fate < 0.9:
        cut = max(0, cut - (position + cut) % BLOCK)
    return [(position, data[:cut])]


def _applied(content: bytes, writes: list[tuple[int, bytes | None]]) -> bytes:
    raw = bytearray(content)
    for position, data in writes:
        if data is None:
            del raw[position:]
            raw.extend(bytes(position - len(raw)))
            continue
        if position > len(raw):
            raw.extend(bytes(position - len(raw)))
        raw[position : position + len(data)] = data
    return bytes(raw)


class RecordingDisk(Disk):
    """The real disk, with every change below *root* noted in `events`; syncs cost nothing."""

    def __init__(self, root: str, boot: bytes = b"first boot 00000") -> None:
        self.root = os.path.realpath(root)
        self.boot = boot
        self.events: list[tuple[Any, ...]] = []

    def note(self, *event: Any) -> None:
        """Add a mark of the test's own."""
        self.events.append(event)

    def _relative(self, path: str) -> tuple[str, str]:
        folder, name = os.path.split(path)
        return os.path.normpath(os.path.relpath(os.path.realpath(folder), self.root)), name

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
        is_new = create and not os.path.lexists(path)
        fd = super().open(path, create=create, read_only=read_only)
        if is_new:
            number = os.fstat(fd).st_ino
            self.events.append(("fresh", number))
            self.events.append(("name", *self._relative(path), number, True))
        return fd

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> int:
        written = os.pwrite(fd, data, position)
        self.events.append(("write", os.fstat(fd).st_ino, position, bytes(data[:written])))
        return written

    def pwritev(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], position: int) -> int:
        return self.pwrite(fd, b"".join(parts), position)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)
        self.events.append(("write", os.fstat(fd).st_ino, size, None))

    def allocate(self, fd: int, position: int, size: int) -> None:
        super().allocate(fd, position, size)
        self.events.append(("write", os.fstat(fd).st_ino, position + size, b""))

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self.events.append(("sync", os.fstat(fd).st_ino))

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self.events.append(("sync", os.fstat(fd).st_ino))

    def replace(self, old: str, new: str) -> None:  # type: ignore[override]
        number = None if os.path.isdir(old) else os.stat(old).st_ino
        os.replace(old, new)
        folder, name = self._relative(new)
        old_folder, old_name = self._relative(old)
        assert folder == old_folder, "a rename between folders is not atomic everywhere"
        self.events.append(("rename", folder, name, number, old_name))

    def unlink(self, path: str) -> None:  # type: ignore[override]
        os.unlink(path)
        self.events.append(("name", *self._relative(path), None, False))

    def mkdir(self, path: str) -> None:  # type: ignore[override]
        os.mkdir(path)
        self.events.append(("name", *self._relative(path), None, True))

    def rmdir(self, path: str) -> None:  # type: ignore[override]
        os.rmdir(path)
        self.events.append(("name", *self._relative(path), None, False))

    def sync_folder(self, path: str) -> None:
        self.events.append(("sync folder", os.path.normpath(os.path.relpath(os.path.realpath(path), self.root))))

    def boot_id(self) -> bytes:
        return self.boot


def states(
    events: list[tuple[Any, ...]], count: int, seed: int, start: Model | None = None
) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """Yield *count* states (how many events had happened, files) spread over all prefixes of *events*, which began at *start*."""
    choose = random.Random(seed)
    step_count = max(1, sum(event[0] in _CHANGES for event in events))
    per_step = max(1, count // step_count)
    chance = min(1.0, count / step_count)
    model = start or Model()
    for step, event in enumerate(events, 1):
        if event[0] == "fresh":
            # An inode number that was used before: another file now.
            model.inodes[event[1]] = _Inode()
            continue
        model.apply(event)
        if event[0] not in _CHANGES:
            continue
        if choose.random() > chance:
            continue
        variants = 1 if not model.pending_count() else per_step
        for variant in range(max(1, variants)):
            keep = (0.0, 1.0, 0.5, 0.2, 0.8, 0.95)[variant % 6] if variants > 1 else choose.choice((0.0, 1.0, 0.5, 0.8))
            yield step, model.state(choose, keep=keep)


def write_state(files: dict[str, bytes | None], root: str) -> None:
    """Put a state on a real disk below *root*."""
    for path, content in sorted(files.items()):
        target = os.path.normpath(os.path.join(root, path))
        if content is None:
            os.makedirs(target, exist_ok=True)
    for path, content in files.items():
        target = os.path.normpath(os.path.join(root, path))
        if content is not None and os.path.isdir(os.path.dirname(target)):
            with open(target, "wb") as file:
                file.write(content)
