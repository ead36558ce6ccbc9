"""Taking back dead space: the records that count are written to new files, which then replace the old ones.

1. All survivors, in the order of their ids, each history oldest first, go to record files and a table beside the old ones,
   under names with `.compact` behind. Everything is made durable. Until here nothing of the database has changed.
   Where that order does not fit (key sizes 2-4: a long record may begin at the last position that a slot reaches, and
   only there), they keep the order in which they lie: then each begins at its old place or before.
2. The file `compact` (a count of the new record files, and its checksum) is made durable: from here there is no way but forward.
3. The new files are renamed over the old ones, old record files beyond them and then `compact` are removed.

A crash before 2 leaves files that the next open removes, one after 2 is carried on by it: each step can be repeated.
The result is what the reference would have written for the same sets; it opens there.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final
from zlib import crc32

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, DatabaseFull
from ourdb.folder import lookup_path, refuse_link
from ourdb.lookup import write_full
from ourdb.progress import Progress, Work, bytes_in
from ourdb.record import encode
from ourdb.record_files import FILE_COUNT_MAX, Appender, RecordFiles
from ourdb.store import Store

__all__ = ["SwitchingFiles", "finish_compaction", "is_switching", "switching_path", "write_survivors"]

_Moved = Callable[[Store, Appender, bool, Work], Iterator[tuple[int, int]]]
"""Appends the survivors of a store, with their history or without, and yields id and new location of each, ascending."""

_MARKER_MAX: Final = 16
_SUFFIX: Final = ".compact"
_NEW_FILE: Final = re.compile(r"([0-9]{1,5}\.db|data)\.compact")
_TEMPORARY: Final = frozenset({"compact.new", "joined.new", ".inc.new", ".ourdb.new", "data.new"})


def _marker(folder: str) -> str:
    return os.path.join(folder, "compact")


class _NewFiles(RecordFiles):
    """The record files that will replace those of the same number."""

    def path(self, file_number: int) -> str:
        return super().path(file_number) + _SUFFIX


class SwitchingFiles(RecordFiles):
    """The new record files, as far as they have been renamed or not, for reading: a compaction was killed meanwhile."""

    def __init__(self, disk: Disk, folder: str) -> None:
        super().__init__(disk, folder, read_only=True)
        self._count = _read_count(disk, _marker(folder))

    def path(self, file_number: int) -> str:
        return switching_path(self._disk, super().path(file_number))

    def numbers(self) -> list[int]:
        return list(range(self._count))


def switching_path(disk: Disk, path: str) -> str:
    """Return where the new file is whose name is to be *path*."""
    return path + _SUFFIX if disk.exists(path + _SUFFIX) else path


def is_switching(disk: Disk, folder: str) -> bool:
    """Say whether the files of the database in *folder* are just being replaced."""
    return disk.exists(_marker(folder))


def write_survivors(disk: Disk, store: Store, *, keep_history: bool, progress: Progress | None = None) -> None:
    """Write what a compacted *store* holds, and make it ready: its files count as replaced from here on.

    On an error nothing has changed, or, if its files count as replaced then, `finish_compaction` decides. *store* must be
    as after a checkpoint, and not be written meanwhile. Raises CorruptRecord (a record that can't be read is not dropped
    silently), DatabaseFull (the folder held more from the start than its config allows), OSError (full disk).
    """
    try:
        try:
            count = _write_new(disk, store, _by_id, keep_history=keep_history, progress=progress)
        except DatabaseFull:
            count = _write_new(disk, store, _by_place, keep_history=keep_history, progress=progress)
        disk.sync_folder(store.folder)
        disk.sync_folder(os.path.dirname(lookup_path(store.folder)))
        store.identity.forget_end()
    except BaseException:
        _remove_new(disk, store.folder)
        raise
    # Threads that are reading keep the old files that are open, and read again where they need another.
    store.files.is_replaced = True
    try:
        disk.replace_file(_marker(store.folder), _encode_count(count), sync=True)
    except BaseException:
        _take_back(disk, store)
        raise


def _take_back(disk: Disk, store: Store) -> None:
    """Forget new files for which the marker may be there already: without them it would remove old ones."""
    with suppress(FileNotFoundError):
        disk.unlink(_marker(store.folder))
    disk.sync_folder(store.folder)
    _remove_new(disk, store.folder)
    store.files.is_replaced = False


def _write_new(disk: Disk, store: Store, moved: _Moved, *, keep_history: bool, progress: Progress | None) -> int:
    """Write the new record files and the new table, durably but for their names; return how many record files there are."""
    _remove_new(disk, store.folder)
    config = store.config
    files = _NewFiles(disk, store.folder, read_only=False)
    try:
        files.create_first()
        appender = Appender(files, config)
        survivors = moved(store, appender, keep_history, Work(progress, lambda: bytes_in(store.files)))
        write_full(disk, lookup_path(store.folder) + _SUFFIX, config.keysize, config.record_nr_max, survivors)
        appender.flush()
        files.end_file = appender.file
        files.sync()
    finally:
        files.close()
    return appender.file + 1


def _by_id(store: Store, appender: Appender, keep_history: bool, work: Work) -> Iterator[tuple[int, int]]:
    for record_id, location in work.over(store.items({}), store.table.count):
        moved = 0
        for old in reversed(list(_versions(store, location, keep_history))):
            moved = appender.append(encode(store.record(old)[0], moved))
        yield record_id, moved


def _by_place(store: Store, appender: Appender, keep_history: bool, work: Work) -> Iterator[tuple[int, int]]:
    """Move in the order of the old locations. Memory: some 200 bytes for each version, so this is not the usual way."""
    slots = list(store.items({}))
    places: set[int] = set()
    for _, location in slots:
        for version in _versions(store, location, keep_history):
            if version in places:
                break
            places.add(version)
    moved = {0: 0}
    try:
        for old in work.over(sorted(places), lambda: len(places)):
            previous = store.files.header(old).previous if keep_history else 0
            moved[old] = appender.append(encode(store.record(old)[0], moved[previous]))
    except DatabaseFull:
        raise DatabaseFull(
            f"{store.folder}: the records that count do not fit the record files that file_size={store.config.file_size} and the "
            f"key size, {store.config.keysize}, allow; nothing was changed; delete some, keep no history, or copy them to a "
            "database with a larger file_size or key size"
        ) from None
    for record_id, location in slots:
        yield record_id, moved[location]


def _versions(store: Store, location: int, keep_history: bool) -> Iterator[int]:
    """Yield the locations of a record's versions that are kept, newest first. Raises CorruptRecord."""
    while location:
        yield location
        previous = store.files.header(location).previous if keep_history else 0
        if previous >= location:
            raise store.files.corrupt(location, f"previous location {previous:#x} is not before the record itself")
        location = previous


def finish_compaction(disk: Disk, folder: str) -> None:
    """Carry on a compaction that is ready, or remove one that is not. Does nothing where there is none."""
    if is_switching(disk, folder):
        _switch(disk, folder, _read_count(disk, _marker(folder)))
    _remove_new(disk, folder)


def _encode_count(count: int) -> bytes:
    raw = b"%d " % count
    return raw + b"%08x" % crc32(raw)


def _read_count(disk: Disk, path: str) -> int:
    """Return the count of new record files. Raises CorruptRecord: files are removed by it, so it has to be right."""
    try:
        raw = disk.read_file(path, _MARKER_MAX)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raw = b""
    digits = raw.partition(b" ")[0]
    count = int(digits) if digits.isdigit() else 0
    if not 0 < count <= FILE_COUNT_MAX or raw != _encode_count(count):
        raise CorruptRecord(
            path,
            0,
            f"expected a count of record files and its checksum, found {raw!r}; with a backup at hand, remove the file",
        )
    return count


def _switch(disk: Disk, folder: str, count: int) -> None:
    refuse_link(folder)
    files = RecordFiles(disk, folder, read_only=False)
    for path in [files.path(number) for number in range(count)] + [lookup_path(folder)]:
        if disk.exists(path + _SUFFIX):
            disk.replace(path + _SUFFIX, path)
    for number in files.numbers():
        if number >= count:
            disk.unlink(files.path(number))
    disk.sync_folder(folder)
    if os.path.isdir(os.path.dirname(lookup_path(folder))):  # else the table is lost, which `repair` is about to mend
        disk.sync_folder(os.path.dirname(lookup_path(folder)))
    disk.unlink(_marker(folder))
    disk.sync_folder(folder)


def _remove_new(disk: Disk, folder: str) -> None:
    """Remove new files that are not ready, and what a crash left of a `Disk.replace_file`."""
    for place in (folder, os.path.dirname(lookup_path(folder))):
        for name in (
            disk.listdir(place) if os.path.isdir(place) and not (place != folder and os.path.islink(place)) else ()
        ):
            if name in _TEMPORARY or _NEW_FILE.fullmatch(name):
                disk.unlink(os.path.join(place, name))
