"""Lookup tables by themselves: written to a folder, and made the live one again."""

from __future__ import annotations

import os
from contextlib import suppress

from ourdb.disk import Disk
from ourdb.errors import OurDBError, UnsupportedFormat
from ourdb.lookup import LookupTable, read_inc, sparse_items, write_full, write_sparse
from ourdb.snapshot import Snapshot
from ourdb.store import Store
from ourdb.transaction import Transaction

__all__ = ["export_table", "import_table"]


def export_table(disk: Disk, then: Snapshot, folder: str, *, sparse: bool) -> None:
    """Write the table of *then* to *folder*/data, and the next id to `.inc` in incremental mode, durably.

    The folder may hold an older one, which is replaced when the new one is whole.
    """
    path = os.path.join(folder, "data")
    if os.path.realpath(path) == os.path.realpath(then.store.table.path):
        raise OurDBError(f"{path} is the live table; export to another folder")
    disk.makedirs(folder)
    config = then.store.config
    temporary = path + ".new"
    try:
        if sparse:
            write_sparse(disk, temporary, config.keysize, then.items())
        else:
            write_full(disk, temporary, config.keysize, config.record_nr_max, then.items())
        disk.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # why it failed is what the caller needs to hear
            disk.unlink(temporary)
        raise
    if config.incremental_mode:
        disk.replace_file(os.path.join(folder, ".inc"), str(then.next_id).encode(), sync=True)
    disk.sync_folder(folder)


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
    inc = read_inc(disk, folder) or 1
    if inc > config.record_nr_max:
        raise UnsupportedFormat(f"{folder}/.inc says that the next id is {inc}, expected 1 to {config.record_nr_max}")
    end = store.files.end_file << 32 | store.files.end_position
    for record_id, location in entries.items():
        if not 0 < location < end:
            raise store.files.corrupt(location, f"{path} says that id {record_id} lies here, where no record is")
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
        stage.next_id = max(inc, max(entries, default=0) + 1)
        transaction.point(store, 0, entries.get(0, 0))  # a commit needs an operation to carry the next id
