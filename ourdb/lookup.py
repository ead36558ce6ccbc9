"""The lookup table: id -> location, in fixed-width slots.

Slot *i* is the location of record *i*, big endian, in `keysize` bytes at ``i * keysize``; all zero means empty. The
file is sparse: what was never written takes no blocks. It is mapped for reading (where that is safe, see
`Disk.view`) and written with pwrite, since a store into a hole of a mapped file kills the process when the disk
is full.

Three forms share the slots: the live table (`lookup/data`), the full export (the same bytes), and the sparse export
(``u32 little-endian id + slot`` for each slot that is not empty, ascending).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Final, Self

from ourdb.disk import Disk
from ourdb.errors import UnsupportedFormat

__all__ = ["LookupTable", "read_inc", "sparse_items", "write_full", "write_sparse"]

_BLOCK_BYTES: Final = 3 << 14
"""Bytes looked at in one go: a multiple of every key size."""

_BRIDGE_SLOTS: Final = 64
"""Unchanged slots that are written again to make two writes one."""

_WRITE_SLOTS: Final = 1 << 14
"""Changed slots that are written at once: what that takes is kept small beside the changes themselves."""

_PACKED_MIN: Final = 16
_INC_MAX: Final = 32


class LookupTable:
    """The live table in one file, open for reading and, unless *read_only*, for writing."""

    def __init__(self, disk: Disk, path: str, keysize: int, slot_count: int, *, read_only: bool) -> None:
        self._disk = disk
        self.path = path
        self.keysize = keysize
        self.slot_count = slot_count
        self._fd = disk.open(path, read_only=read_only)
        size, expected = disk.size(self._fd), slot_count * keysize
        if size != expected:
            disk.close(self._fd)
            raise UnsupportedFormat(
                f"{path} has {size} bytes, but {slot_count} slots of {keysize} bytes make {expected}; "
                "give the config that the folder was made with"
            )
        self.map = disk.view(self._fd, expected, has_holes=True)

    @staticmethod
    def create(disk: Disk, path: str, size: int) -> None:
        """Make an empty, sparse table of *size* bytes in one durable step."""
        temporary = path + ".new"
        fd = disk.open(temporary, create=True)
        try:
            disk.truncate(fd, 0)
            disk.truncate(fd, size)
            disk.fsync(fd)
        finally:
            disk.close(fd)
        disk.replace(temporary, path)
        disk.sync_folder(os.path.dirname(path))

    def slot(self, record_id: int) -> int:
        """Return the location in slot *record_id*, 0 if it is empty."""
        at = record_id * self.keysize
        return int.from_bytes(self.map[at : at + self.keysize], "big")

    def write(self, changes: dict[int, int]) -> None:
        """Write the locations of *changes* (id -> location); slots close to each other go in one write."""
        ids = sorted(changes)
        ends: list[int] = []
        if ids and ids[-1] - ids[0] >= len(ids):
            ends = [end for end, (one, after) in enumerate(pairwise(ids), 1) if after - one > _BRIDGE_SLOTS]
        start = 0
        for end in (*ends, len(ids)):
            for at in range(start, end, _WRITE_SLOTS):
                some = ids[at : min(at + _WRITE_SLOTS, end)]
                self._disk.write_all(self._fd, self._slots(some, changes), some[0] * self.keysize)
            start = end

    def _slots(self, ids: list[int], changes: dict[int, int]) -> bytearray:
        """Return the slots from the first of *ids* to the last, with *changes* to those of *ids*."""
        keysize, first, count = self.keysize, ids[0], len(ids)
        if count >= _PACKED_MIN and ids[-1] - first < count:  # no gap: all in one go takes a third of the time
            wide = struct.pack(f">{count}Q", *map(changes.__getitem__, ids))
            slots = bytearray(count * keysize)
            for byte in range(keysize):
                slots[byte::keysize] = wide[8 - keysize + byte :: 8]
            return slots
        slots = bytearray(self.map[first * keysize : (ids[-1] + 1) * keysize])
        for record_id in ids:
            at = (record_id - first) * keysize
            slots[at : at + keysize] = changes[record_id].to_bytes(keysize, "big")
        return slots

    def sync(self) -> None:
        """Make the table durable."""
        self._disk.fsync(self._fd)

    def blocks(self, start: int = 0) -> Iterator[tuple[int, list[bytes]]]:
        """Yield (first id, slots) for each stretch of the table that is not all empty, ascending.

        Holes of the file are skipped where the system tells where they are.
        """
        return _blocks(self._disk, self._fd, self.slot_count * self.keysize, self.keysize, self._block, start)

    def _block(self, start: int, stop: int) -> bytes:
        self._disk.will_need(self.map, start, stop)
        return self.map[start:stop]

    @staticmethod
    def items_of(disk: Disk, fd: int, size: int, keysize: int) -> Iterator[tuple[int, int]]:
        """Yield (id, location) of each slot that is not empty in the first *size* bytes of a file, which need be no table."""
        empty = bytes(keysize)
        size -= size % keysize
        for first_id, slots in _blocks(disk, fd, size, keysize, lambda at, end: disk.read_all(fd, end - at, at)):
            for record_id, slot in enumerate(slots, first_id):
                if slot != empty:
                    yield record_id, int.from_bytes(slot, "big")

    def items(self, start: int = 0, *, after_block: Callable[[], object] = lambda: None) -> Iterator[tuple[int, int]]:
        """Yield (id, location) of each slot from id *start* on that is not empty, ascending.

        *after_block* is called when some slots were read and none of them was yielded yet, and at the end, after holes: it
        may raise an error if they aren't what was asked for.
        """
        empty = bytes(self.keysize)
        for first_id, slots in self.blocks(start):
            after_block()
            for record_id, slot in enumerate(slots, first_id):
                if slot != empty:
                    yield record_id, int.from_bytes(slot, "big")
        after_block()

    def count(self) -> int:
        """Return how many slots are not empty."""
        empty = bytes(self.keysize)
        return sum(len(slots) - slots.count(empty) for _, slots in self.blocks())

    def is_in_place(self) -> bool:
        """Say whether the open file is still the one at its path."""
        return self._disk.is_same_file(self._fd, self.path)

    def close(self) -> None:
        """Unmap and close. A thread that reads meanwhile gets ValueError from the map."""
        self.map.close()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._disk.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "map"):
            self.close()


def _blocks(
    disk: Disk, fd: int, size: int, keysize: int, read: Callable[[int, int], bytes], start: int = 0
) -> Iterator[tuple[int, list[bytes]]]:
    at = start * keysize
    while at < size:
        data_at = disk.next_data(fd, at)
        at = max(at, data_at - data_at % _BLOCK_BYTES)
        if at >= size:
            return
        end = min(at + _BLOCK_BYTES - at % _BLOCK_BYTES, size)
        raw = read(at, end)
        if raw.count(0) != len(raw):
            yield at // keysize, list(struct.unpack(f"{keysize}s" * (len(raw) // keysize), raw))
        at = end


def read_inc(disk: Disk, folder: str) -> int | None:
    """Return the next id in *folder*'s `.inc` (decimal ASCII), None if there is no such file."""
    path = os.path.join(folder, ".inc")
    try:
        raw = disk.read_file(path, _INC_MAX)
    except FileNotFoundError:
        return None
    if not raw.isdigit():
        raise UnsupportedFormat(f"{path}: expected a decimal number, found {raw!r}")
    return int(raw)


def sparse_items(disk: Disk, path: str, fd: int, keysize: int) -> Iterator[tuple[int, int]]:
    """Yield (id, location) of the sparse export open as *fd*. Raises UnsupportedFormat: ids have to ascend."""
    entry = struct.Struct(f"<I{keysize}s")
    size = disk.size(fd)
    if size % entry.size:
        raise UnsupportedFormat(
            f"{path}: {size} bytes are no multiple of {entry.size}, the size of a sparse table's entry"
        )
    last = -1
    for at in range(0, size, entry.size << 12):
        for record_id, slot in entry.iter_unpack(disk.read_all(fd, min(entry.size << 12, size - at), at)):
            if record_id <= last:
                raise UnsupportedFormat(f"{path}: id {record_id} after {last}; ids ascend")
            last = record_id
            yield record_id, int.from_bytes(slot, "big")


def write_sparse(disk: Disk, path: str, keysize: int, items: Iterable[tuple[int, int]]) -> None:
    """Write the sparse export of *items* (id, location) to *path*."""
    entry = struct.Struct(f"<I{keysize}s")
    with _fresh(disk, path) as out:
        for record_id, location in items:
            out.add(entry.pack(record_id, location.to_bytes(keysize, "big")))


def write_full(disk: Disk, path: str, keysize: int, slot_count: int, items: Iterable[tuple[int, int]]) -> None:
    """Write the full export of *items* to *path*; empty stretches stay holes."""
    with _fresh(disk, path) as out:
        for record_id, location in items:
            if record_id * keysize != out.position + len(out.waiting):
                out.move(record_id * keysize)
            out.add(location.to_bytes(keysize, "big"))
        out.flush()
        disk.truncate(out.fd, slot_count * keysize)


class _fresh:  # noqa: N801 - used like a function
    """A new file written through a buffer, made durable when the block ends."""

    def __init__(self, disk: Disk, path: str) -> None:
        with suppress(FileNotFoundError):
            disk.unlink(path)
        self._disk = disk
        self._path = path
        self.fd = disk.open(path, create=True)
        self.position = 0
        self.waiting = bytearray()

    def __enter__(self) -> Self:
        return self

    def add(self, data: bytes) -> None:
        self.waiting += data
        if len(self.waiting) > 1 << 20:
            self.flush()

    def move(self, position: int) -> None:
        self.flush()
        self.position = position

    def flush(self) -> None:
        try:
            self._disk.write_all(self.fd, self.waiting, self.position)
        except OSError as problem:
            problem.filename = problem.filename or self._path  # a write tells none
            raise
        self.position += len(self.waiting)
        self.waiting = bytearray()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:  # after an error the file is not used: the error itself is to reach the caller
                self.flush()
                self._disk.fsync(self.fd)
        finally:
            self._disk.close(self.fd)
