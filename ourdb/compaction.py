"""Taking back dead space: the records that count are written to new files, which then replace the old ones.

1. All survivors, in the order of their ids, each history oldest first, go to `N.db` and a table `data` in the folder
   `compact`. Everything is made durable. Until here nothing of the database has changed.
2. `compact/ready` (a count of the new record files) is made durable: from here there is no way but forward.
3. The new files are moved over the old ones, old record files beyond them removed, then `compact`.

A crash before 2 leaves a folder that the next open removes, one after 2 is carried on by it: each move can be repeated.
The result is what the reference would have written for the same sets; it opens there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord
from ourdb.folder import lookup_path
from ourdb.lookup import write_full
from ourdb.record import encode
from ourdb.record_files import Appender, RecordFiles
from ourdb.store import Store

__all__ = ["finish_compaction", "is_switching", "write_survivors"]

_COUNT_MAX: Final = 16


def _folder(folder: str) -> str:
    return os.path.join(folder, "compact")


def is_switching(disk: Disk, folder: str) -> bool:
    """Say whether the files of the database in *folder* are just being replaced."""
    return disk.exists(os.path.join(_folder(folder), "ready"))


def write_survivors(disk: Disk, store: Store, *, keep_history: bool) -> None:
    """Write what a compacted *store* holds, and make it ready. On an error nothing has changed.

    *store* must be as after a checkpoint, and not be written meanwhile. Raises CorruptRecord (a record that can't be
    read is not dropped silently), OSError (full disk).
    """
    target = _folder(store.folder)
    disk.remove_tree(target)
    disk.makedirs(target)
    try:
        files = RecordFiles(disk, target, read_only=False)
        try:
            files.create_first()
            appender = Appender(files, store.config)
            survivors = _moved(store, appender, keep_history=keep_history)
            write_full(disk, os.path.join(target, "data"), store.config.keysize, store.config.record_nr_max, survivors)
            appender.flush()
            files.end_file = appender.file
            files.sync()
        finally:
            files.close()
        disk.sync_folder(target)
        disk.replace_file(os.path.join(target, "ready"), str(appender.file + 1).encode(), sync=True)
    except BaseException:
        disk.remove_tree(target)
        raise


def _moved(store: Store, appender: Appender, *, keep_history: bool) -> Iterator[tuple[int, int]]:
    for record_id, location in store.items({}):
        chain = [location]
        while keep_history and (previous := store.files.header(chain[-1]).previous):
            if previous >= chain[-1]:
                raise store.files.corrupt(chain[-1], f"previous location {previous:#x} is not before the record itself")
            chain.append(previous)
        moved = 0
        for old in reversed(chain):
            moved = appender.append(encode(store.record(old)[0], moved))
        yield record_id, moved


def finish_compaction(disk: Disk, folder: str) -> None:
    """Carry on a compaction that is ready, or remove one that is not. Does nothing where there is none."""
    source = _folder(folder)
    if not os.path.isdir(source) or os.path.islink(source):
        return
    if is_switching(disk, folder):
        ready = os.path.join(source, "ready")
        raw = disk.read_file(ready, _COUNT_MAX)
        if not raw.isdigit():
            raise CorruptRecord(ready, 0, f"expected a count of record files, found {raw!r}")
        _switch(disk, folder, source, int(raw))
    disk.remove_tree(source)
    disk.sync_folder(folder)


def _switch(disk: Disk, folder: str, source: str, count: int) -> None:
    moves = [(os.path.join(source, f"{n}.db"), os.path.join(folder, f"{n}.db")) for n in range(count)]
    moves.append((os.path.join(source, "data"), lookup_path(folder)))
    for new, old in moves:
        if disk.exists(new):
            disk.replace(new, old)
    files = RecordFiles(disk, folder, read_only=False)
    for number in files.numbers():
        if number >= count:
            disk.unlink(files.path(number))
    disk.sync_folder(folder)
    disk.sync_folder(os.path.dirname(lookup_path(folder)))
    disk.unlink(os.path.join(source, "ready"))
    disk.sync_folder(source)
