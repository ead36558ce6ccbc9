"""What a power cut may leave of a folder: a disk that records every call, and the states that follow from the record.

The rules are those of docs/durability.md. Per file, a write that was not followed by an fsync of the file may be there,
be missing, or be there up to any 512-byte border, independently of other writes; the file's size may have grown without the
content (zeros). Per folder, names made, replaced and removed since the folder's last fsync are there up to any point, in
their order. Different files and folders do not wait for each other.
"""

from __future__ import annotations

import itertools
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
    """A folder: name -> number of an inode, or of a folder if it is negative; and the changes that are not durable."""

    durable: dict[str, int | None] = attrs.field(factory=dict)
    pending: list[tuple[str, int | None, bool | str]] = attrs.field(
        factory=list
    )  # name, number, there or not or from where


_ROOT = -1


@attrs.define
class Model:
    """The disk as far as it is certain, and what is pending on top. *paths*: the folders' numbers, by where they are now."""

    inodes: dict[int, _Inode] = attrs.field(factory=dict)
    folders: dict[int, _Folder] = attrs.field(factory=lambda: {_ROOT: _Folder()})
    paths: dict[str, int] = attrs.field(factory=lambda: {".": _ROOT})

    @classmethod
    def of(cls, root: str) -> Model:
        """Return the disk as *root* is now, all of it durable."""
        model = cls()
        for folder, names, files in os.walk(root):
            path = os.path.normpath(os.path.relpath(folder, root))
            entries = model.folder(path)
            for name in names:
                entries.durable[name] = model._new_folder(path, name)
            for name in files:
                file_path = os.path.join(folder, name)
                entries.durable[name] = number = os.stat(file_path).st_ino
                with open(file_path, "rb") as file:
                    model.inodes[number] = _Inode(file.read())
        return model

    def folder(self, path: str) -> _Folder:
        """Return the folder that is at *path* now; one above the root has no way to it."""
        if path not in self.paths:
            self._new_folder("", path)
        return self.folders[self.paths[path]]

    def _new_folder(self, path: str, name: str) -> int:
        number = self.paths[os.path.normpath(os.path.join(path, name))] = _ROOT - len(self.folders)
        self.folders[number] = _Folder()
        return number

    def _move_folder(self, old: str, new: str) -> int | None:
        number = self.paths.get(old)
        for path in [path for path in self.paths if path == new or path.startswith(new + os.sep)]:
            del self.paths[path]
        for path in [path for path in self.paths if path == old or path.startswith(old + os.sep)]:
            self.paths[new + path[len(old) :]] = self.paths.pop(path)
        return number

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
            if number is not None:
                self.inodes.setdefault(number, _Inode())
            elif present:
                number = self._new_folder(folder, name)
            self.folder(folder).pending.append((name, number, present))
        elif kind == "rename":
            folder, name, number, old_name = rest
            if number is None:
                number = self._move_folder(*(os.path.normpath(os.path.join(folder, one)) for one in (old_name, name)))
            self.folder(folder).pending.append((name, number, old_name))
        elif kind == "sync folder":
            entry = self.folder(rest[0])
            for change in entry.pending:
                _rename(entry.durable, change)
            entry.pending.clear()

    def pending_count(self) -> int:
        """Return how many writes and names are not durable."""
        return sum(len(i.pending) for i in self.inodes.values()) + sum(len(f.pending) for f in self.folders.values())

    def states(self, subsets_max: int) -> Iterator[dict[str, bytes | None]]:
        """Yield the states in which a power cut may leave the disk now; see `every_state`."""
        writes = [(number, write) for number, inode in self.inodes.items() for write in inode.pending]
        variants = [
            [write for at, write in enumerate(writes) if at not in lost]
            for lost in _subsets([number for number, _ in writes], subsets_max)
        ]
        if writes:
            number, newest = writes[-1]
            variants += [[*writes[:-1], (number, part)] for part in _parts(newest)]
        named = [
            dict(zip(self.folders, counts, strict=True))
            for counts in itertools.product(*(range(len(folder.pending) + 1) for folder in self.folders.values()))
        ]
        for kept in variants:
            for counts in named if kept in (variants[0], writes) else (named[0], named[-1]):
                yield self._files(kept, counts)

    def _files(self, kept: list[tuple[int, Any]], counts: dict[int, int]) -> dict[str, bytes | None]:
        contents = {
            number: _applied(inode.durable, [write for owner, write in kept if owner == number])
            for number, inode in self.inodes.items()
        }
        return self._reached(contents, counts)

    def state(self, choose: random.Random, *, keep: float) -> dict[str, bytes | None]:
        """Return one state: relative path -> content, None for a folder. *keep*: how likely a pending write is there."""
        contents: dict[int, bytes] = {}
        for number, inode in self.inodes.items():
            contents[number] = _applied(inode.durable, [p for w in inode.pending for p in _torn(w, choose, keep)])
        counts = {
            number: len(folder.pending) if keep == 1 else 0 if keep == 0 else choose.randint(0, len(folder.pending))
            for number, folder in self.folders.items()
        }
        return self._reached(contents, counts)

    def _reached(self, contents: dict[int, bytes], counts: dict[int, int]) -> dict[str, bytes | None]:
        """Return the files and folders that the root leads to, with as many pending names of each folder as *counts* says."""
        files: dict[str, bytes | None] = {}
        waiting = [(".", _ROOT)]
        while waiting:
            path, folder_number = waiting.pop()
            folder = self.folders[folder_number]
            names = dict(folder.durable)
            for change in folder.pending[: counts[folder_number]]:
                _rename(names, change)
            for name, number in names.items():
                assert number is not None
                found = os.path.join(path, name)
                files[found] = contents[number] if number > 0 else None
                if number < 0:
                    waiting.append((found, number))
        return files


def _subsets(groups: list[int], subsets_max: int) -> list[frozenset[int]]:
    """Return sets of positions in *groups*, the file of each pending write, that are lost."""
    everything = range(len(groups))
    if 2 ** len(groups) <= subsets_max:
        sizes = range(len(groups) + 1)
        return [frozenset(lost) for size in sizes for lost in itertools.combinations(everything, size)]
    some = {frozenset(lost) for size in range(3) for lost in itertools.combinations(everything, size)}
    for group in set(groups):
        some.add(frozenset(at for at in everything if groups[at] == group))
        some.add(frozenset(at for at in everything if groups[at] != group))
    return sorted([*some, frozenset(everything)], key=sorted)


def _parts(write: tuple[int, bytes | None]) -> Iterator[tuple[int, bytes]]:
    position, data = write
    if not data:
        return
    yield position + len(data), b""
    borders = range(BLOCK - position % BLOCK, len(data), BLOCK)
    for cut in {1, len(data) // 2, len(data) - 1, *itertools.islice(borders, 8), *borders[-8:]} - {0, len(data)}:
        yield position, data[:cut]


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


def every_state(
    events: list[tuple[Any, ...]], start: Model, subsets_max: int = 64
) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """Yield (how many events had happened, files) for all states: each prefix of *events*, each subset of what is pending.

    Of the newest write also each part, to 512-byte borders and odd bytes, and its size without its content. Where there are
    more than *subsets_max* subsets, those that keep or lose one file's writes, or up to two writes.
    """
    model = start
    seen: set[int] = set()
    for step, event in enumerate(events, 1):
        if event[0] == "fresh":
            model.inodes[event[1]] = _Inode()
            continue
        model.apply(event)
        if event[0] not in _CHANGES:
            continue
        for state in model.states(subsets_max):
            digest = hash(tuple(sorted(state.items(), key=lambda item: item[0])))
            if digest not in seen:
                seen.add(digest)
                yield step, state


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
