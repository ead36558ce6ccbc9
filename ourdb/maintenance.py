"""What is done to a whole database: exporting and importing tables, checking, counting, copying."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, OurDBError, UnsupportedFormat
from ourdb.folder import lookup_path
from ourdb.identity import Identity
from ourdb.location import split
from ourdb.lookup import LookupTable, read_inc, sparse_items, write_full, write_sparse
from ourdb.record import HEADER_SIZE, encode
from ourdb.record_files import RecordFiles
from ourdb.snapshot import Snapshot
from ourdb.store import Store

if TYPE_CHECKING:
    from ourdb.transaction import Transaction

__all__ = ["Problem", "backup", "check", "export_table", "import_table", "stats"]

_COPY_BYTES = 1 << 20


@attrs.frozen
class Problem:
    """Something wrong on disk: in which file, at which position (bytes), for which id if one is known."""

    path: str
    position: int
    reason: str
    record_id: int | None = None

    def __str__(self) -> str:
        who = "" if self.record_id is None else f"id {self.record_id}: "
        return f"{self.path}, position {self.position}: {who}{self.reason}"


def export_table(disk: Disk, store: Store, then: Snapshot, folder: str, *, sparse: bool) -> None:
    """Write the table of *then* to *folder*/data, and the next id to `.inc` in incremental mode."""
    disk.makedirs(folder)
    path = os.path.join(folder, "data")
    if os.path.realpath(path) == os.path.realpath(store.table.path):
        raise OurDBError(f"{path} is the live table; export to another folder")
    config = store.config
    if sparse:
        write_sparse(disk, path, config.keysize, then.items())
    else:
        write_full(disk, path, config.keysize, config.record_nr_max, then.items())
    if config.incremental_mode:
        disk.replace_file(os.path.join(folder, ".inc"), str(store.next_id).encode(), sync=True)


def import_table(disk: Disk, store: Store, transaction: Transaction, folder: str, *, sparse: bool) -> None:
    """Stage the changes that make the table in *folder* the live one."""
    path = os.path.join(folder, "data")
    config = store.config
    with disk.opened(path) as fd:
        size = disk.size(fd)
        if sparse:
            entries = dict(sparse_items(disk, path, fd, config.keysize))
        elif size == config.table_size:
            entries = dict(LookupTable.items_of(disk, fd, size, config.keysize))
        else:
            raise UnsupportedFormat(
                f"{path} has {size} bytes, expected {config.table_size} ({config.record_nr_max} slots of {config.keysize})"
            )
    inc = read_inc(disk, folder)
    for record_id, location in entries.items():
        if record_id >= config.record_nr_max:
            raise UnsupportedFormat(f"{path}: id {record_id} is not below record_nr_max, {config.record_nr_max}")
        store.record(location)
    stage = transaction.stage(store)
    current = dict(store.items(store.overlay | stage.pending))
    for record_id in current.keys() - entries.keys():
        transaction.point(store, record_id, 0)
    for record_id, location in entries.items():
        if current.get(record_id) != location:
            transaction.point(store, record_id, location)
    if config.incremental_mode:
        highest = max(entries, default=0)
        stage.next_id = max(inc or 1, highest + 1)
        if not len(entries.keys() ^ current.keys()) and entries:
            some_id = next(iter(entries))  # a commit needs an operation to carry the next id
            transaction.point(store, some_id, entries[some_id])


def check(store: Store, then: Snapshot) -> Iterator[Problem]:
    """Yield what is wrong in the state *then*: slots, histories, CRCs, records that overlap, a torn tail.

    Memory: some 100 bytes for each version of each record.
    """
    found: dict[int, dict[int, int]] = {}
    for record_id, location in then.items():
        yield from _check_history(store, record_id, location, found)
    for number in range(store.files.end_file + 1):
        yield from _check_layout(store, number, found.get(number, {}))


def _check_history(store: Store, record_id: int, location: int, found: dict[int, dict[int, int]]) -> Iterator[Problem]:
    """Follow one record's versions, and note in *found* where each starts and ends: number -> position -> end."""
    files = store.files
    end = files.end_file << 32 | files.end_position
    while location:
        number, position = split(location)
        path = files.path(number)
        if position == 0 or location >= end:
            yield Problem(
                path, position, f"the location is not within the records, which end at {split(end)}", record_id
            )
            return
        if position in found.setdefault(number, {}):
            yield Problem(path, position, "the record belongs to another id too", record_id)
            return
        try:
            data, _ = store.record(location)
            previous = store.previous(location)
        except CorruptRecord as error:
            yield Problem(error.path, error.position, error.reason, record_id)
            return
        found[number][position] = position + HEADER_SIZE + len(data)
        if previous >= location:
            yield Problem(path, position, f"previous location {split(previous)} is not before the record", record_id)
            return
        location = previous


def _check_layout(store: Store, number: int, found: dict[int, int]) -> Iterator[Problem]:
    files = store.files
    path = files.path(number)
    size = files.end_position if number == files.end_file else files.size(number)
    if not files.size(number):
        yield Problem(path, 0, "the record file is missing or empty")
        return
    last_end = 1
    for position, end in sorted(found.items()):
        if position < last_end:
            yield Problem(path, position, f"two records overlap: the one before ends at {last_end}")
        last_end = max(last_end, end)
    yield from _check_tail(store, number, last_end, size)


def _check_tail(store: Store, number: int, position: int, size: int) -> Iterator[Problem]:
    """Walk the records that no slot reaches behind the last that one does: each must be whole."""
    while position < size:
        location = number << 32 | position
        try:
            header = store.files.header(location)
            if header == (0, 0, 0):
                return  # a deleted record: its zeros do not tell how long it was
            store.record(location)
        except CorruptRecord as error:
            yield Problem(error.path, position, f"torn tail, {size - position} bytes: {error.reason}")
            return
        position += HEADER_SIZE + header.data_size


def stats(disk: Disk, store: Store, records: int, read_only: bool) -> dict[str, int | str | bool]:
    """Return figures about the database."""
    numbers = store.files.numbers()
    table = os.stat(store.table.path)
    journal = os.path.join(store.folder, "journal")
    return {
        "path": store.folder,
        "records": records,
        "next_id": store.next_id,
        "incremental_mode": store.config.incremental_mode,
        "record_nr_max": store.config.record_nr_max,
        "record_size_max": store.config.record_size_max,
        "file_size": store.config.file_size,
        "keysize": store.config.keysize,
        "record_files": len(numbers),
        "record_bytes": sum(os.path.getsize(store.files.path(number)) for number in numbers),
        "table_bytes": table.st_size,
        "table_bytes_allocated": table.st_blocks * 512 if hasattr(table, "st_blocks") else table.st_size,
        "journal_bytes": os.path.getsize(journal) if disk.exists(journal) else 0,
        "read_only": read_only,
    }


def backup(disk: Disk, store: Store, then: Snapshot, dest: str) -> None:
    """Copy the state *then* to the new folder *dest*: the record files up to their ends, and its table."""
    if disk.exists(dest) and (not os.path.isdir(dest) or os.listdir(dest)):
        raise FileExistsError(17, "the backup's folder exists and is not empty", dest)
    ends = [(number, store.files.size(number)) for number in store.files.numbers() if number <= store.files.end_file]
    items = list(then.items())
    disk.makedirs(os.path.join(dest, "lookup"))
    try:
        copy = RecordFiles(disk, dest, read_only=False)
        try:
            for number, size in ends:
                end = store.files.end_position if number == store.files.end_file else size
                for at in range(0, end, _COPY_BYTES):
                    copy.write(number, at, store.files.raw(number, at, min(_COPY_BYTES, end - at)))
            for location, (data, previous) in store.inlined.items():
                copy.write(location >> 32, location & 0xFFFFFFFF, encode(data, previous))
            copy.sync()
        finally:
            copy.close()
        config = store.config
        if config.incremental_mode:
            disk.replace_file(os.path.join(dest, "lookup", ".inc"), str(store.next_id).encode(), sync=True)
        write_full(disk, lookup_path(dest), config.keysize, config.record_nr_max, items)
        Identity.create(disk, dest, config)
    except BaseException:
        disk.remove_tree(dest)
        raise
