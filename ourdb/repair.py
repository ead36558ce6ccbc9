"""Rebuilding a database whose table is lost or damaged, from what the record files tell.

A record does not hold its id. What can be known: which records are whole (CRC), and which one is the newest of its
history (no other record names it as its previous version). What can't: the ids, unless the value holds them (the caller
passes a function), or the old table still has a slot that points at a whole record. Records left over get ids in the
order of their first versions: with incremental ids and nothing ever deleted those are the ids they had.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from zlib import crc32

import attrs

from ourdb.config import Config
from ourdb.disk import DISK, Disk
from ourdb.errors import DatabaseLocked, OurDBError, UnsupportedFormat
from ourdb.folder import lookup_path
from ourdb.identity import Identity
from ourdb.lookup import write_full
from ourdb.record import HEADER_SIZE, decode_header
from ourdb.record_files import RecordFiles

__all__ = ["Report", "rebuild"]

_READ_AHEAD: Final = HEADER_SIZE + 65535


@attrs.frozen
class Report:
    """What a rebuild found and could not know.

    records: ids in the new table. versions: whole records found. guessed_ids: ids given by order alone. lost: places
    (path, position, bytes) that hold no whole record and are not zeros. gaps: runs of zeros, where records were deleted.
    duplicate_ids: ids that several histories claimed; the newest won.
    """

    records: int
    versions: int
    guessed_ids: list[int]
    lost: list[tuple[str, int, int]]
    gaps: int
    duplicate_ids: list[int]

    @property
    def is_certain(self) -> bool:
        """Say whether nothing was lost or guessed."""
        return not (self.guessed_ids or self.lost or self.duplicate_ids)


@attrs.define
class _Scan:
    previous: dict[int, int] = attrs.field(factory=dict)  # location -> previous location
    lost: list[tuple[str, int, int]] = attrs.field(factory=list)
    gaps: int = 0


def rebuild(
    path: str, given: dict[str, Any], id_of: Callable[[bytes], int | None] | None = None, *, disk: Disk = DISK
) -> Report:
    """Make a new table for the record files in folder *path*, which must not be open elsewhere.

    *given* is the config as far as it is known; *id_of* returns the id that a value holds, or None. The old `lookup/` is
    kept as `lookup.old`. Raises DatabaseLocked, UnsupportedFormat (no record files), OurDBError.
    """
    try:
        lock_fd = disk.lock(path, 0.0)
    except DatabaseLocked:
        raise DatabaseLocked(f"{path} is open in another process; close it before repair") from None
    try:
        return _rebuild(disk, path, given, id_of)
    finally:
        disk.close(lock_fd)


def _rebuild(disk: Disk, path: str, given: dict[str, Any], id_of: Callable[[bytes], int | None] | None) -> Report:
    files = RecordFiles(disk, path, read_only=True)
    numbers = files.numbers()
    if not numbers:
        raise UnsupportedFormat(f"{path} holds no record files; there is nothing to repair")
    config = _config(disk, path, given, len(numbers))
    scan = _Scan()
    for number in numbers:
        _scan_file(files, number, scan)
    older = set(scan.previous.values())
    heads = [location for location in scan.previous if location not in older]
    known = _known_ids(disk, path, config, scan.previous)
    slots, guessed, duplicates = _assign(files, heads, scan.previous, known, config, id_of)
    _write(disk, path, config, slots)
    files.close()
    return Report(len(slots), len(scan.previous), guessed, scan.lost, scan.gaps, duplicates)


def _config(disk: Disk, path: str, given: dict[str, Any], file_count: int) -> Config:
    with suppress(OurDBError, OSError):
        identity = Identity(disk, path, read_only=True)
        identity.close()
        return identity.config
    config = Config(**given)
    if config.keysize < 6 and file_count > 1:
        raise OurDBError(
            f"{path} has {file_count} record files, a key size of {config.keysize} can address one; give the config"
        )
    return config


def _scan_file(files: RecordFiles, number: int, scan: _Scan) -> None:
    """Walk one file; where no record starts, look for the next place where one does."""
    size = files.size(number)
    position, lost_from = 1, 0
    while position + HEADER_SIZE <= size:
        end = _record_end(files, number, position, size, scan.previous)
        if end:
            _note_lost(files, number, lost_from, position, scan)
            lost_from = 0
            position = end
            continue
        window = files.raw(number, position, 1 << 16)
        zeros = len(window) - len(window.lstrip(b"\0"))
        if zeros >= HEADER_SIZE:
            scan.gaps += not lost_from
            # A header may start with up to 12 zeros less one; step back into them to look for it.
            position += max(1, zeros - HEADER_SIZE + 1)
            continue
        lost_from = lost_from or position
        position += 1
    _note_lost(files, number, lost_from or position, size, scan)


def _note_lost(files: RecordFiles, number: int, start: int, end: int, scan: _Scan) -> None:
    if start and start < end and any(files.raw(number, start, end - start)):
        scan.lost.append((files.path(number), start, end - start))


def _record_end(files: RecordFiles, number: int, position: int, size: int, previous: dict[int, int]) -> int:
    """Return where the record at *position* ends, 0 if none that makes sense starts there."""
    header = decode_header(files.raw(number, position, HEADER_SIZE))
    location = number << 32 | position
    end = position + HEADER_SIZE + header.data_size
    if end > size or header.previous >= location or header == (0, 0, 0):
        return 0
    # An older version that was lost is no reason to lose the newer one, if there is data whose CRC can tell.
    if header.previous and header.previous not in previous and not header.data_size:
        return 0
    if crc32(files.data(location, header.data_size)) != header.crc:
        return 0
    previous[location] = header.previous
    return end


def _known_ids(disk: Disk, path: str, config: Config, whole: dict[int, int]) -> dict[int, int]:
    """Return location -> id for the old table's slots that point at whole records."""
    known: dict[int, int] = {}
    with suppress(OSError), disk.opened(lookup_path(path)) as fd:
        size = min(disk.size(fd), config.table_size)
        keysize = config.keysize
        step = keysize << 16
        for start in range(0, size - keysize + 1, step):
            raw = disk.read_all(fd, min(step, size - start), start)
            if not any(raw):
                continue
            for at in range(0, len(raw) - keysize + 1, keysize):
                location = int.from_bytes(raw[at : at + keysize], "big")
                if location in whole:
                    known.setdefault(location, (start + at) // keysize)
    return known


def _assign(
    files: RecordFiles,
    heads: list[int],
    previous: dict[int, int],
    known: dict[int, int],
    config: Config,
    id_of: Callable[[bytes], int | None] | None,
) -> tuple[dict[int, int], list[int], list[int]]:
    slots: dict[int, int] = {}
    duplicates: list[int] = []
    nameless: list[tuple[int, int]] = []
    for head in sorted(heads):
        record_id, root = _id_from_history(files, head, previous, known, id_of)
        if record_id is None or not 0 <= record_id < config.record_nr_max:
            nameless.append((root, head))
            continue
        if record_id in slots:
            duplicates.append(record_id)
        slots[record_id] = head
    guessed: list[int] = []
    # With a table or a function that knows ids, a head without one was deleted or never committed.
    if not known and id_of is None:
        for record_id, (_, head) in enumerate(sorted(nameless), 1):
            if record_id < config.record_nr_max:
                slots[record_id] = head
                guessed.append(record_id)
    return slots, guessed, duplicates


def _id_from_history(
    files: RecordFiles,
    head: int,
    previous: dict[int, int],
    known: dict[int, int],
    id_of: Callable[[bytes], int | None] | None,
) -> tuple[int | None, int]:
    record_id = None
    if id_of is not None:
        record_id = id_of(files.data(head, files.header(head).data_size))
    location = root = head
    while location:
        root = location
        if record_id is None:
            record_id = known.get(location)
        location = previous.get(location, 0)
    return record_id, root


def _write(disk: Disk, path: str, config: Config, slots: dict[int, int]) -> None:
    lookup, fresh, old = (os.path.join(path, name) for name in ("lookup", "lookup.new", "lookup.old"))
    disk.remove_tree(fresh)
    disk.makedirs(fresh)
    if config.incremental_mode:
        disk.replace_file(os.path.join(fresh, ".inc"), str(max(slots, default=0) + 1).encode(), sync=True)
    write_full(disk, os.path.join(fresh, "data"), config.keysize, config.record_nr_max, sorted(slots.items()))
    disk.replace_file(os.path.join(fresh, ".ourdb"), Identity.encode(config), sync=True)
    for name in ("journal", "joined"):
        with suppress(FileNotFoundError):
            disk.unlink(os.path.join(path, name))
    disk.sync_folder(path)
    disk.remove_tree(old)
    with suppress(FileNotFoundError):
        disk.replace(lookup, old)
    disk.replace(fresh, lookup)
    disk.sync_folder(path)
