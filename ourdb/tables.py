"""Lookup tables by themselves: written to a folder, and made the live one again."""

from __future__ import annotations

import os
from contextlib import suppress

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, OurDBError, UnsupportedFormat
from ourdb.lookup import LookupTable, read_inc, sparse_items, write_full, write_sparse
from ourdb.progress import Progress, Work, records_in
from ourdb.record import HEADER_SIZE
from ourdb.snapshot import Snapshot
from ourdb.store import Store
from ourdb.transaction import Transaction

__all__ = ["export_table", "import_table"]


def export_table(disk: Disk, then: Snapshot, folder: str, *, sparse: bool, progress: Progress | None = None) -> None:
    """Write the table of *then* to *folder*/data, and the next id to `.inc` in incremental mode, durably.

    The folder may hold an older one, which is replaced when the new one is whole. What fails leaves nothing behind.
    """
    path = os.path.join(folder, "data")
    if os.path.realpath(path) == os.path.realpath(then.store.table.path):
        raise OurDBError(f"{path} is the live table; export to another folder")
    made = disk.missing_folders(folder)
    config = then.store.config
    temporary = path + ".new"
    work = Work(progress, lambda: records_in(then) * config.keysize)
    items = work.over(then.items(), lambda: records_in(then))
    try:
        disk.makedirs(folder)
        if sparse:
            write_sparse(disk, temporary, config.keysize, items)
        else:
            write_full(disk, temporary, config.keysize, config.record_nr_max, items)
        disk.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # why it failed is what the caller needs to hear
            if disk.exists(temporary):
                disk.unlink(temporary)
            for one in filter(disk.exists, made):  # the original would take an empty `lookup_dump.db` for a table
                disk.rmdir(one)
        raise
    if config.incremental_mode:
        disk.replace_file(os.path.join(folder, ".inc"), str(then.next_id).encode(), sync=True)
    disk.sync_folder(folder)


def _is_clear(store: Store, behind: int, locations: set[int], end: int) -> bool:
    """Say whether something ends at *behind*, so that the twelve zeros before are an empty record, not a part of a deleted one."""
    if behind == end or behind in locations:
        return True
    try:
        previous = store.previous(behind)
        # More zeros, and a next record's first bytes, read as an empty record with some previous location.
        return bool(store.record(behind)[0]) or (previous < behind and store.record(previous)[1])
    except CorruptRecord:
        return False


def import_table(
    disk: Disk,
    store: Store,
    transaction: Transaction,
    folder: str,
    *,
    sparse: bool,
    progress: Progress | None = None,
) -> None:
    """Stage the changes that make the table in *folder* the live one.

    Raises UnsupportedFormat (no table of this database), CorruptRecord (it leads to what is no record, or was deleted since).
    """
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
    inc = read_inc(disk, folder) or 1
    if inc > config.record_nr_max:
        raise UnsupportedFormat(f"{folder}/.inc says that the next id is {inc}, expected 1 to {config.record_nr_max}")
    stage = transaction.stage(store)
    current = dict(store.items(store.overlay | stage.pending))
    deleted = {one >> 16 for one in (*store.zeros, *stage.zeros)}
    locations = set(entries.values())
    if len(locations) < len(entries):
        raise UnsupportedFormat(f"{path}: two ids lead to the same record; each id has one of its own")
    end = store.files.end_file << 32 | store.files.end_position
    work = Work(progress, lambda: len(entries) * config.keysize)
    for record_id, location in work.over(entries.items(), lambda: len(entries)):
        if not 0 < location < end:
            raise store.files.corrupt(location, f"{path} says that id {record_id} lies here, where no record is")
        if record_id >= config.record_nr_max:
            raise UnsupportedFormat(f"{path}: id {record_id} is not below record_nr_max, {config.record_nr_max}")
        _, is_certain = store.record(location)
        if location in deleted or not (
            is_certain or current.get(record_id) == location or _is_clear(store, location + HEADER_SIZE, locations, end)
        ):
            raise store.files.corrupt(
                location,
                f"{path} says that id {record_id} lies here, where a record was deleted since; export a newer table",
            )
    for record_id in current.keys() - entries.keys():
        transaction.point(store, record_id, 0)
    for record_id, location in entries.items():
        if current.get(record_id) != location:
            transaction.point(store, record_id, location)
    if config.incremental_mode:
        stage.next_id = max(inc, max(entries, default=0) + 1)
        transaction.point(store, 0, entries.get(0, 0))  # a commit needs an operation to carry the next id
