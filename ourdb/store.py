"""One database's state: its table, its record files, and the overlay of what the table has not caught up with.

A store reads; what may be written, and when, `ourdb.commits` decides.

Where a record is: the overlay (id -> location, 0 = deleted) if the id is in it, else the table's slot. Only a
checkpoint changes slots, and only those of ids in the overlay; it replaces the overlay when all are written. `version`
counts the starts of checkpoints, so a reader that found no overlay entry and then read a slot knows from an unchanged
version that the slot was not being written meanwhile.
"""

from __future__ import annotations

import os
import struct
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias
from zlib import crc32

from ourdb.config import RECORD_DATA_MAX
from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, IdOutOfRange, RecordNotFound, UnsupportedFormat
from ourdb.folder import lookup_path
from ourdb.identity import Identity
from ourdb.location import POSITION_MASK
from ourdb.lookup import LookupTable, read_inc
from ourdb.record import HEADER, HEADER_SIZE, encode
from ourdb.record_files import RecordFiles

__all__ = ["Inlined", "Keeper", "Store", "part_of"]

unpack_header: Final = HEADER.unpack_from
from_bytes: Final = int.from_bytes


Inlined: TypeAlias = dict[int, tuple[bytes, int]]
"""Data and previous location of records, by location."""


class Keeper(Protocol):
    """A snapshot, as a store knows it: who has to hear where a record was before a commit replaces it."""

    def keep(self, record_id: int, location: int) -> None:
        """Remember that."""

    def close(self) -> None:
        """Let go of the state."""


class Store:
    """The open files and the state in memory of the database in *folder*."""

    def __init__(self, disk: Disk, folder: str, identity: Identity, *, read_only: bool) -> None:
        self.disk = disk
        self.folder = folder
        self.identity = identity
        self.config = config = identity.config
        self.table = LookupTable(disk, lookup_path(folder), config.keysize, config.record_nr_max, read_only=read_only)
        self.files = RecordFiles(disk, folder, read_only=read_only)
        self.plain_limit = min(config.file_size, 1 << 8 * min(config.keysize, 4))
        """Position from which on an append needs a new file, or has no room."""
        self.overlay: dict[int, int] = {}
        self.version = 0
        self.zeros: list[int] = []
        """Deleted records, to be overwritten by the next checkpoint: location << 16 | bytes of data. A number takes a third of a tuple."""
        self.next_id = 0
        self.count: int | None = None
        """How many records there are; None until somebody asks."""
        self.snapshots: set[weakref.ref[Keeper]] = set()
        self.folder_lock: int | None = None
        """Descriptor that holds the lock on the folder, of a store that is written."""
        self.inlined: Inlined = {}
        """Of records that the journal holds (read-only handles)."""

    def load(self) -> None:
        """Take the state that the last checkpoint left on disk."""
        self.files.find_end()
        if self.files.end_file and self.config.keysize < 6:
            raise UnsupportedFormat(
                f"{self.files.path(self.files.end_file)}: a key size of {self.config.keysize} has one record file, 0.db; move "
                "the others away if they are not this database's"
            )
        self.overlay = {}
        self.zeros = []
        self.count = None
        if self.config.incremental_mode:
            next_id = read_inc(self.disk, os.path.dirname(self.table.path))
            if next_id is None:
                next_id = max((record_id for record_id, _ in self.table.items()), default=0) + 1
            if not 1 <= next_id <= self.config.record_nr_max:
                raise UnsupportedFormat(
                    f"{self.folder}: lookup/.inc says that the next id is {next_id}, expected 1 to "
                    f"{self.config.record_nr_max}; `python -m ourdb repair` makes a new one"
                )
            # A damaged `.inc` must not let ids be given out that are in use: behind it there are holes only.
            for record_id, _ in self.table.items(next_id):
                next_id = record_id + 1
            self.next_id = next_id

    def check_id(self, record_id: object) -> int:
        """Return *record_id* if it is an id of this database. Raises TypeError, IdOutOfRange."""
        if record_id.__class__ is not int:
            if isinstance(record_id, bool) or not hasattr(record_id, "__index__"):
                raise TypeError(f"an id is a whole number, not {record_id!r}")
            record_id = record_id.__index__()
        if not 0 <= record_id < self.config.record_nr_max:  # type: ignore[operator]
            raise IdOutOfRange(f"Index out of bounds: id {record_id} is not from 0 to {self.config.record_nr_max - 1}")
        return record_id  # type: ignore[return-value]

    def locate(self, record_id: int) -> int:
        """Return the committed location of a record, 0 if there is none."""
        while True:
            version = self.version
            location = self.overlay.get(record_id)
            if location is None:
                location = self.table.slot(record_id)
            if version == self.version:
                return location

    def read(self, record_id: int, locate: Callable[[int], int]) -> bytes:
        """Return the data of the record that *locate* finds. Raises RecordNotFound, CorruptRecord.

        A checkpoint may overwrite a deleted record with zeros between finding and reading it, and zeros are also a
        valid empty record: what looks wrong or empty is believed only if the record is still where it was.
        """
        while True:
            version = self.version
            location = locate(record_id)
            if not location:
                raise RecordNotFound(f"Record not found: id {record_id} in {self.folder}")
            problem: CorruptRecord | None = None
            try:
                data, is_certain = self.record(location)
                if is_certain:
                    return data
            except CorruptRecord as error:
                problem = error
            if locate(record_id) == location and version == self.version:
                if problem is not None:
                    raise problem
                return data

    def mapped(self, location: int) -> bytes | None:
        """Return the data at *location* where that is mapped, sound and not empty; None says nothing.

        The short path of `record`, which tells what is wrong.
        """
        if not location or self.inlined:
            return None
        try:
            mapped = self.files.maps[location >> 32]
            position = location & POSITION_MASK
            size, crc, _ = unpack_header(mapped, position)
            position += HEADER_SIZE
            data = mapped[position : position + size]
        except (KeyError, struct.error):
            return None
        return data if size and crc32(data) == crc else None

    def record(self, location: int) -> tuple[bytes, bool]:
        """Return the data at *location*, and whether it can't be a record that was overwritten with zeros."""
        mapped = self.mapped(location)
        if mapped is not None:
            return mapped, True
        inlined = self.inlined.get(location)
        if inlined is not None:
            return inlined[0], True
        header = self.files.header(location)
        data = self.files.data(location, header.data_size)
        found = crc32(data)
        if found != header.crc:
            raise self.files.corrupt(
                location,
                f"CRC mismatch: data corruption detected (header says {header.crc:08x}, the {len(data)} bytes of data "
                f"give {found:08x}); get_history may have an older version, `python -m ourdb check` finds all",
            )
        return data, bool(header.data_size or header.previous)

    def read_into(self, record_id: int, buffer: memoryview, start: int, locate: Callable[[int], int]) -> int:
        """Copy data of the record that *locate* finds, from byte *start* on, into *buffer*; return how many bytes.

        All of the record is verified the first time. Raises RecordNotFound, CorruptRecord.
        """
        if start < 0:
            raise ValueError(f"start must be 0 or more, not {start!r}")
        while True:
            version, files = self.version, self.files
            location = locate(record_id)
            whole = self._verified(location) if location else None
            if whole is None:
                whole = memoryview(self.read(record_id, locate))
            elif version == self.version:
                files.note_verified(location, len(whole))
            part = whole[start : start + len(buffer)]
            buffer[: len(part)] = part
            if version == self.version:
                return len(part)

    def _verified(self, location: int) -> memoryview | None:
        """Return the data at *location* as it is mapped; None for what is not mapped whole, wrong or empty."""
        mapped = self.files.maps.get(location >> 32)
        position = location & POSITION_MASK
        if mapped is None or self.inlined or position + HEADER_SIZE > len(mapped):
            return None
        size, crc, _ = unpack_header(mapped, position)
        data = memoryview(mapped)[position + HEADER_SIZE : position + HEADER_SIZE + size]
        if not size or len(data) != size:
            return None
        return data if self.files.verified.get(location) == size or crc32(data) == crc else None

    def previous(self, location: int) -> int:
        """Return where the version before the one at *location* lies, 0 if there is none. Raises CorruptRecord."""
        inlined = self.inlined.get(location)
        return self.files.header(location).previous if inlined is None else inlined[1]

    def history(self, record_id: int, depth: int, locate: Callable[[int], int]) -> list[bytes]:
        """Return the newest *depth* versions, newest first. Raises RecordNotFound, CorruptRecord, TypeError, ValueError."""
        if depth.__class__ is not int:
            raise TypeError(f"depth must be a whole number, not {depth!r}")
        if depth < 0:
            raise ValueError(f"depth must be 0 or more, not {depth!r}")
        while True:
            version = self.version
            location = locate(record_id)
            if not location:
                raise RecordNotFound(f"Record not found: id {record_id} in {self.folder}")
            try:
                versions = self._versions(location, depth)
            except CorruptRecord:
                if version == self.version and locate(record_id) == location:
                    raise
                continue
            if version == self.version:
                return versions

    def mapped_history(self, record_id: int, depth: int) -> list[bytes] | None:
        """Return the same, of an id of 0 or more, where all of it is mapped and sound; None says nothing.

        The short path of `history`, whose way in takes as long as five versions do.
        """
        version = self.version
        versions: list[bytes] = []
        try:
            location = self.overlay.get(record_id)
            if location is None:
                location = self.table.slot(record_id)
            rest = self._mapped_versions(location, depth, versions) if location else 0
        except ValueError:
            return None  # closed: the general way tells
        if not versions or (rest and len(versions) < depth) or version != self.version:
            return None
        return versions

    def _versions(self, location: int, depth: int) -> list[bytes]:
        versions: list[bytes] = []
        while location and len(versions) < depth:
            location = self._mapped_versions(location, depth, versions)
            if not location or len(versions) == depth:
                break
            data, _ = self.record(location)
            previous = self.previous(location)
            versions.append(data)
            if previous >= location:
                # A chain only leads back; one that does not would never end.
                raise self.files.corrupt(location, f"previous location {previous:#x} is not before the record itself")
            location = previous
        return versions

    def _mapped_versions(self, location: int, depth: int, versions: list[bytes]) -> int:
        """Add versions as far as they are mapped and sound, and return the location of the first that is not, or 0.

        Written plainly, as `OurDB.get`; `record` gives the same, and says what is wrong.
        """
        maps = self.files.maps
        if self.inlined:
            return location
        try:
            for _ in range(depth - len(versions)):
                position = location & POSITION_MASK
                mapped = maps[location >> 32]
                size, crc, raw = unpack_header(mapped, position)
                position += HEADER_SIZE
                data = mapped[position : position + size]
                previous = from_bytes(raw, "big")
                if not size or crc32(data) != crc or previous >= location:
                    break
                versions.append(data)
                location = previous
                if not previous:
                    break
        except (KeyError, struct.error):
            pass  # not mapped that far
        return location

    def items(
        self, changes: dict[int, int], after_block: Callable[[], object] = lambda: None
    ) -> Iterator[tuple[int, int]]:
        """Yield (id, location), ascending: the table's, with *changes* laid over it; *after_block* as `LookupTable.items`."""
        changed = iter(sorted(changes))
        upcoming = next(changed, None)
        for record_id, location in self.table.items(after_block=after_block):
            while upcoming is not None and upcoming < record_id:
                if changes[upcoming]:
                    yield upcoming, changes[upcoming]
                upcoming = next(changed, None)
            if upcoming == record_id:
                location = changes[record_id]  # noqa: PLW2901 - the change replaces the slot
                upcoming = next(changed, None)
            if location:
                yield record_id, location
        while upcoming is not None:
            if changes[upcoming]:
                yield upcoming, changes[upcoming]
            upcoming = next(changed, None)

    def count_records(self) -> int:
        """Return how many records there are, from the table and the overlay."""
        # A checkpoint may be writing slots of what is in the overlay, so each of those is asked for once, or not at all.
        overlay, empty = self.overlay, bytes(self.config.keysize)
        changed = sorted(overlay)
        count = sum(map(bool, overlay.values()))
        for first_id, slots in self.table.blocks():
            count += len(slots) - slots.count(empty)
            for at in range(bisect_left(changed, first_id), bisect_left(changed, first_id + len(slots))):
                count -= slots[changed[at] - first_id] != empty
        return count

    def restore_record(self, location: int, data: bytes, previous: int) -> None:
        """Write a record from the journal to its place again."""
        self.files.write(location >> 32, location & 0xFFFFFFFF, encode(data, previous))

    def publish(self, pending: dict[int, int]) -> None:
        """Make *pending* (id -> location) the committed state; snapshots keep what it replaces."""
        if self.snapshots:
            for reference in tuple(self.snapshots):
                snapshot = reference()
                if snapshot is not None:
                    for record_id in pending:
                        snapshot.keep(record_id, self.locate(record_id))
        if len(pending) < len(self.overlay):
            self.overlay.update(pending)
        else:  # a huge commit is not held twice
            for record_id, location in self.overlay.items():
                pending.setdefault(record_id, location)
            self.overlay = pending

    def write_table(self, *, sync: bool) -> None:
        """Let the table on disk catch up with the overlay."""
        self.table.write(self.overlay)
        if sync:
            self.table.sync()
        if self.config.incremental_mode:
            inc = os.path.join(os.path.dirname(self.table.path), ".inc")
            self.disk.replace_file(inc, str(self.next_id).encode(), sync=sync)

    def write_zeros(self) -> None:
        """Overwrite the records deleted since the last checkpoint."""
        for deleted in self.zeros:
            self.files.zero(deleted >> 16, HEADER_SIZE + (deleted & 0xFFFF))

    def unlock(self) -> None:
        """Let go of the lock on the folder."""
        if self.folder_lock is not None:
            fd, self.folder_lock = self.folder_lock, None
            self.disk.close(fd)

    def close(self) -> None:
        """Close the snapshots, then all files, the lock last."""
        for reference in tuple(self.snapshots):
            snapshot = reference()
            if snapshot is not None:
                snapshot.close()
        self.overlay = {}
        self.count = None
        self.table.close()
        self.files.close()
        self.identity.close()
        self.unlock()


def part_of(read_into: Callable[[int, memoryview, int], int], record_id: int, start: int, stop: int) -> bytes:
    """Return what *read_into* gives of a record from byte *start* to *stop*."""
    buffer = bytearray(max(0, min(stop, RECORD_DATA_MAX) - start) if start >= 0 else 0)
    with memoryview(buffer) as view:
        count = read_into(record_id, view, start)
    return bytes(buffer[:count])
