"""What is done to a whole database: counting, copying and compacting it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from ourdb.commits import Commits
from ourdb.compaction import finish_compaction, write_survivors
from ourdb.disk import Disk
from ourdb.errors import OurDBError
from ourdb.folder import lookup_path
from ourdb.identity import Identity
from ourdb.location import split
from ourdb.lookup import write_full
from ourdb.opening import open_store
from ourdb.progress import Progress, Work, bytes_in, records_in
from ourdb.record import encode
from ourdb.record_files import RecordFiles
from ourdb.snapshot import Snapshot
from ourdb.store import Store

__all__ = ["Backup", "backing_up", "compact", "stats"]

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
        "record_bytes": sum(_size(store.files.path(number)) for number in numbers),
        "table_bytes": table.st_size,
        "table_bytes_allocated": table.st_blocks * 512 if hasattr(table, "st_blocks") else table.st_size,
        "journal_bytes": _size(journal) if disk.exists(journal) else 0,
        "read_only": read_only,
    }


def _size(path: str) -> int:
    """Return a file's size, 0 if it is not there: a writer beside may just have removed it."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


class Backup:
    """A copy of a database in the making, in a folder that was empty: `take` makes it a copy of one state."""

    def __init__(self, disk: Disk, dest: str, progress: Progress | None) -> None:
        self._disk = disk
        self._dest = dest
        self._progress = progress
        self._copy = RecordFiles(disk, dest, read_only=False)
        self._source: RecordFiles | None = None
        self._copied: dict[int, int] = {}

    def take(self, then: Snapshot) -> None:
        """Let the copy become one of *then*, durably. Raises SnapshotOvertaken: take a newer state, then; OurDBError (inside it).

        What was copied is of use for that: bytes before a committed end change no more, but for records that were deleted
        since, which the newer state does not have. So each try has less to copy than the one before.
        """
        source = os.path.realpath(then.store.folder)
        if os.path.realpath(self._dest).startswith(os.path.join(source, "")):
            raise OurDBError(
                f"{self._dest} lies within the database's own folder, and would go with it; give a folder outside"
            )
        if then.files is not self._source:
            self._begin_anew(then.files)
        disk, copy, config = self._disk, self._copy, then.store.config
        work = Work(self._progress, lambda: bytes_in(then.files) + records_in(then) * config.keysize)
        self._copy_records(then, work)
        for location, (data, previous) in then.inlined.items():
            copy.write(*split(location), encode(data, previous))
        then.confirm()
        table = lookup_path(self._dest)
        disk.makedirs(os.path.dirname(table))
        write_full(
            disk,
            table + ".new",
            config.keysize,
            config.record_nr_max,
            work.over(then.items(), lambda: records_in(then)),
        )
        copy.sync()
        if config.incremental_mode:
            inc = os.path.join(os.path.dirname(table), ".inc")
            disk.replace_file(inc, str(then.next_id).encode(), sync=True)
        # The table comes late, the config last: what a killed process leaves is not taken for a database.
        disk.replace(table + ".new", table)
        Identity.create(disk, self._dest, config)

    def _begin_anew(self, source: RecordFiles) -> None:
        """Copy other files from now on: a compaction has put them in the place of those copied before."""
        for number in self._copy.numbers():
            self._copy.forget(number)
            self._disk.unlink(self._copy.path(number))
        self._source, self._copied = source, {}

    def _copy_records(self, then: Snapshot, work: Work) -> None:
        last, last_end = then.end
        for number in then.files.numbers():
            if number > last:
                break
            end = last_end if number == last else then.files.size(number)
            work.add(start := self._copied.get(number, 0))
            for at in range(start, end, _COPY_BYTES):
                size = min(_COPY_BYTES, end - at)
                self._copy.write(number, at, then.files.raw(number, at, size))
                work.add(size)
            self._copied[number] = end

    def close(self) -> None:
        """Close the files of the copy."""
        self._copy.close()


@contextmanager
def backing_up(disk: Disk, dest: str, progress: Progress | None = None) -> Iterator[Backup]:
    """Give a `Backup` in the new or empty folder *dest*; if the block fails, nothing of it stays. Raises FileExistsError."""
    with disk.new_folder(dest), closing(Backup(disk, dest, progress)) as copy:
        yield copy


def compact(
    commits: Commits,
    old: Store,
    go_on_with: Callable[[Store], None],
    *,
    keep_history: bool,
    progress: Progress | None = None,
) -> None:
    """Replace the files of *old* by new ones with the records that count; *go_on_with* is told the store that has them open.

    Called with `commits.lock` held. Errors as `OurDB.compact`.
    """
    if commits.transaction is not None:
        raise OurDBError("compact inside a transaction: commit it first")
    try:
        with commits.publishing:  # none is taken between the look and the end, which would close it
            if any(store.snapshots for store in commits.stores):
                raise OurDBError(f"{old.folder}: a snapshot is open; close it before compact")
            commits.end()
        write_survivors(old.disk, old, keep_history=keep_history, progress=progress)
        old.identity.advance(running=True)
        finish_compaction(old.disk, old.folder)
        new = open_store(old.disk, old.folder)
        new.next_id = old.next_id
        new.folder_lock, old.folder_lock = old.folder_lock, None
        commits.stores[commits.index(old)] = new
        go_on_with(new)
        new.identity.advance(running=False)
    except BaseException as error:
        if old.files.is_replaced:
            reason = f"{old.folder}: a compaction was not finished ({error}); close and open again to go on"
            commits.refuse(lambda: OurDBError(reason))
        raise
