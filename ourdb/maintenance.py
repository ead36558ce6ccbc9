"""What is done to a whole database: counting and copying it."""

from __future__ import annotations

import os

from ourdb.disk import Disk
from ourdb.folder import lookup_path
from ourdb.identity import Identity
from ourdb.lookup import write_full
from ourdb.record import encode
from ourdb.record_files import RecordFiles
from ourdb.snapshot import Snapshot
from ourdb.store import Store

__all__ = ["backup", "stats"]

_COPY_BYTES = 1 << 20


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
