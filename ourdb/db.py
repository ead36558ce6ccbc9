"""`OurDB`: the database as its users see it. The one module that knows all others; README says in which order to read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ourdb.commits import Commits
from ourdb.config import Config
from ourdb.disk import DISK, Disk
from ourdb.errors import OurDBError, ReadOnly, SnapshotOvertaken
from ourdb.opening import open_for_reading, open_for_writing
from ourdb.reading import TRIES
from ourdb.shared import Viewer
from ourdb.store import Store
from ourdb.view import OwnView
from ourdb.writing import WritableDB

if TYPE_CHECKING:
    from ourdb.check import Problem
    from ourdb.maintenance import Backup
    from ourdb.progress import Progress
    from ourdb.rebuilding import Report

__all__ = ["OurDB", "Synchronous", "joined", "new", "open_recovered", "repair"]

Synchronous = Literal["full", "normal", "off"]

_LEVELS: Final = ("full", "normal", "off")
_TIMEOUT_MAX: Final = 1e9


def new(
    path: str | os.PathLike[str] = "db",
    record_nr_max: int | None = None,
    record_size_max: int | None = None,
    file_size: int | None = None,
    incremental_mode: bool | None = None,
    reset: bool = False,
    keysize: int | None = None,
    synchronous: Synchronous = "normal",
    read_only: bool = False,
    timeout: float = 0.0,
) -> OurDB:
    """Open the database in folder *path*, making it if it is missing.

    Options left None are those that the folder was made with, or the reference's defaults for a new one. *reset* empties
    the database first. *synchronous* is what a finished call survives: "normal" a killed process, "full" also a power
    cut, "off" a normal exit. *timeout*: seconds to wait for another process that writes to the folder, and for another
    thread's transaction; with 0 another process is not waited for, and a thread of this one without end.

    Raises DatabaseLocked (another process writes), UnsupportedFormat (no database, or one that can't be read),
    OurDBError (options that contradict the folder), OSError (no permission, no folder).
    Opening costs the same whatever the database holds; after a crash, it costs reading the journal.
    """
    given = _given(record_nr_max, record_size_max, file_size, incremental_mode, keysize)
    return OurDB(os.fspath(path), given, reset=reset, synchronous=synchronous, read_only=read_only, timeout=timeout)


def joined(db_data: OurDB, db_metadata: OurDB) -> None:
    """Make two databases commit together: a transaction on either covers both, all or nothing.

    Both must be open for writing, with the same `synchronous`. The journal lies in the second's folder; after a crash
    either folder finds the other by its relative path. Closing one of them parts them.
    """
    db_data.join(db_metadata)


def repair(
    path: str | os.PathLike[str],
    record_nr_max: int | None = None,
    record_size_max: int | None = None,
    file_size: int | None = None,
    incremental_mode: bool | None = None,
    keysize: int | None = None,
    id_of: Callable[[bytes], int | None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Rebuild the lost or damaged table of the database in folder *path*, and say what could not be known.

    The config is needed only if `lookup/.ourdb` is lost. *id_of* returns the id that a value holds, None if it holds none.
    The old `lookup/` is kept as `lookup.old`. Reads every record file. Raises DatabaseLocked, UnsupportedFormat.
    *progress* is called as in `OurDB.compact`.
    """
    given = _given(record_nr_max, record_size_max, file_size, incremental_mode, keysize)
    from ourdb.rebuilding import rebuild

    return rebuild(os.fspath(path), given, id_of, progress)


def open_recovered(
    path: str | os.PathLike[str],
    record_nr_max: int | None = None,
    record_size_max: int | None = None,
    file_size: int | None = None,
    incremental_mode: bool | None = None,
    keysize: int | None = None,
    id_of: Callable[[bytes], int | None] | None = None,
) -> OurDB:
    """`repair` the folder and open it; the handle's `recovered` is the report. Cost and errors as `repair`."""
    report = repair(path, record_nr_max, record_size_max, file_size, incremental_mode, keysize, id_of)
    db = new(path)
    db.recovered = report
    return db


def _given(
    record_nr_max: int | None,
    record_size_max: int | None,
    file_size: int | None,
    incremental_mode: bool | None,
    keysize: int | None,
) -> dict[str, Any]:
    options = {
        "record_nr_max": record_nr_max,
        "record_size_max": record_size_max,
        "file_size": file_size,
        "incremental_mode": incremental_mode,
        "keysize": keysize,
    }
    return {name: value for name, value in options.items() if value is not None}


class OurDB(WritableDB):
    """An open database; make one with `ourdb.new`. Any method may be called from any thread."""

    def __init__(
        self,
        path: str,
        given: dict[str, Any],
        *,
        reset: bool = False,
        synchronous: Synchronous = "normal",
        read_only: bool = False,
        timeout: float = 0.0,
        disk: Disk = DISK,
    ) -> None:
        if synchronous not in _LEVELS:
            raise OurDBError(f"synchronous must be one of {', '.join(_LEVELS)}, not {synchronous!r}")
        try:
            is_timeout = 0 <= timeout <= _TIMEOUT_MAX
        except TypeError:
            is_timeout = False
        if not is_timeout:
            raise OurDBError(f"timeout must be seconds, 0 or more, not {timeout!r}")
        if read_only and reset:
            raise ReadOnly("a read-only handle can't reset the database")
        Config(**given)
        self.path = path
        self.read_only = read_only
        self.recovered: Report | None = None
        self._disk = disk
        self._is_closed = True
        if read_only:
            self._store = store = open_for_reading(disk, path, given)
            self._commits = Commits(disk, store, synchronous, timeout)
            self._commits.is_reading_only = True
            self._commits.refuse(lambda: ReadOnly(f"{path} was opened with read_only=True; open it without to write"))
            self._view = Viewer(disk, store)
            try:
                self._view.refresh()
            except BaseException:
                store.close()
                raise
        else:
            self._store = store = open_for_writing(disk, path, given, reset=reset, timeout=timeout)
            self._commits = Commits(disk, store, synchronous, timeout)
            self._view = OwnView(self._commits)
        self._is_closed = False
        self.config = store.config
        self.incremental_mode = self.config.incremental_mode

    def join(self, other: OurDB) -> None:
        """Make this database and *other* commit together, see `ourdb.joined`."""
        mine, theirs = self._commits, other._commits
        if mine is theirs:
            if self is other:
                raise OurDBError(f"{self.path} can't be joined with itself")
            return
        if isinstance(self._view, Viewer) and isinstance(other._view, Viewer):
            other._view.add(self._store)
            self._view = other._view
            return
        if mine.synchronous != theirs.synchronous:
            raise OurDBError(
                f"{self.path} is synchronous={mine.synchronous!r}, {other.path} is {theirs.synchronous!r}; "
                "databases that are joined need the same"
            )
        with theirs.taking_in(mine):
            self._commits, self._view = theirs, other._view

    # The life of the handle

    def sync(self) -> None:
        """Make all finished calls survive a power cut. Costs some fsyncs.

        Raises ReadOnly, OurDBError in a transaction, and where an fsync failed: then this handle writes no more.
        """
        with self._while_open():
            self._commits.sync()

    def refresh(self) -> None:
        """Let a read-only handle see the newest commits of the writing process; a writer always does.

        Costs reading the journal. Raises OurDBError (the writer checkpoints faster than this process reads, a damaged journal).
        """
        with self._while_open():
            self._view.refresh()

    def close(self) -> None:
        """Make everything durable and close; what is left is as the reference would have written it.

        Rolls back an open transaction of this thread's; other threads' calls end with DatabaseClosed. Closing twice
        does nothing. In a forked child it only closes the child's copy. Raises DatabaseLocked when another thread's transaction
        lasts longer than the timeout: the database stays open then.
        """
        while True:
            commits = self._commits
            commits.acquire(to_close=True)
            try:
                if commits is self._commits:  # else it was joined until the lock was held
                    self._close(commits)
                    return
            finally:
                commits.lock.release()

    def _close(self, commits: Commits) -> None:
        if self._is_closed:
            return
        try:
            if commits.refusal is None:
                commits.transaction = None
                commits.end()
        finally:
            self._is_closed = True
            self._commits = commits.leave(self._store, self._closed_error)
            if isinstance(self._view, Viewer):
                self._view.remove(self._store)
            self._store.close()

    def destroy(self) -> None:
        """Close, and remove the folder with all that is in it. Raises ReadOnly."""
        if self.read_only:
            raise ReadOnly(f"{self.path} was opened with read_only=True; open it without to destroy it")
        self.close()
        self._disk.remove_tree(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # While the interpreter ends, half of what close needs is gone; the next open replays the journal instead.
        if not getattr(self, "_is_closed", True) and not sys.is_finalizing():
            with suppress(OurDBError, OSError):  # nobody is there to hear of it, and nothing committed is lost
                self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "read-only" if self.read_only else "open"
        mode = "incremental" if self.incremental_mode else "key-value"
        return f"<OurDB {self.path!r} {state}, {mode}, ids below {self.config.record_nr_max}, key size {self.config.keysize}>"

    # Tables

    def export_data(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write the full lookup table, and `.inc` in incremental mode, to folder *path*, of one committed state.

        An older export there is replaced when the new one is whole, and it is durable on return. Costs one pass over the
        table. Raises OurDBError (*path* is the live table), SnapshotOvertaken (beside a writer), OSError. *progress* is called as in
        `compact`, here with bytes of slots in use.
        """
        from ourdb import tables

        folder = os.fspath(path)
        self._of_one_state(lambda then: tables.export_table(self._disk, then, folder, sparse=False, progress=progress))

    def export_sparse(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write the sparse form of the table (only slots in use), and `.inc`, to folder *path*; see `export_data`."""
        from ourdb import tables

        folder = os.fspath(path)
        self._of_one_state(lambda then: tables.export_table(self._disk, then, folder, sparse=True, progress=progress))

    def import_data(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Make the full table in folder *path* this database's, in one commit.

        It must have been exported from the same records. Reads each of them. Raises UnsupportedFormat, CorruptRecord; then
        nothing changed. *progress* is called as in `export_data`.
        """
        from ourdb import tables

        with self._while_open(), self._commits.begin() as transaction:
            tables.import_table(self._disk, self._store, transaction, os.fspath(path), sparse=False, progress=progress)

    def import_sparse(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Make the sparse table in folder *path* this database's, in one commit; see `import_data`."""
        from ourdb import tables

        with self._while_open(), self._commits.begin() as transaction:
            tables.import_table(self._disk, self._store, transaction, os.fspath(path), sparse=True, progress=progress)

    def compact(self, keep_history: bool = True, *, progress: Progress | None = None) -> None:
        """Write the records that count to new files, and replace the old ones by them; all or nothing.

        Without *keep_history* only the newest version of each record is kept. Reads go on meanwhile, writes wait; no
        snapshot may be open in this process. Needs disk space for the survivors. Raises CorruptRecord where a record
        can't be read (`check`, `repair`), OSError (full disk); then nothing changed.

        *progress*, here and elsewhere, is called often with the bytes that are done and those that there are in all, of record
        files if nothing else is said: each record counts for as many. Where the work begins anew, so does the count. It is
        not called after the return. An exception from it, such as KeyboardInterrupt, ends the work and leaves all as it was.
        """
        from ourdb import maintenance

        with self._while_open():
            commits = self._commits
            commits.acquire()
            try:
                if commits is not self._commits:  # closed, and parted from its partner, until the lock was held
                    raise self._closed_error()
                maintenance.compact(
                    commits, self._store, self._go_on_with, keep_history=keep_history, progress=progress
                )
            finally:
                commits.lock.release()

    def _go_on_with(self, store: Store) -> None:
        self._store = store

    def check(self, *, progress: Progress | None = None) -> Iterator[Problem]:
        """Yield every problem of one committed state. A sound database yields nothing.

        Reads all records; memory: some 100 bytes for each version of each record. When a writer beside takes that state
        away it begins anew, some times, as long as nothing was yielded; else it raises SnapshotOvertaken: what was yielded is
        right, the rest was not looked at. *progress* is called as in `compact`.
        """
        from ourdb.check import check

        for tries_left in range(TRIES, -1, -1):
            is_quiet = True
            with self._while_open(), self.snapshot() as then:
                try:
                    for problem in check(then, progress):
                        is_quiet = False
                        yield problem
                    return
                except SnapshotOvertaken:
                    if not (is_quiet and tries_left):
                        raise

    def stats(self) -> dict[str, int | str | bool]:
        """Return figures about the database. Reads the table, not the records.

        path, read_only; records, next_id, record_files (counts); record_bytes, table_bytes, table_bytes_allocated (without
        holes), journal_bytes (sizes); and its config: incremental_mode, record_nr_max, record_size_max, file_size, keysize.
        """
        from ourdb import maintenance

        with self._while_open():
            return maintenance.stats(self._disk, self._store, len(self), self.read_only)

    def backup(self, dest: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write a copy of one committed state to the new or empty folder *dest*, while others go on reading and writing.

        Reads all record files once; durable on return. What fails leaves nothing behind. Raises FileExistsError (*dest* holds
        something), SnapshotOvertaken (the writer beside goes on faster than this copies, many times), OSError (full disk).
        *progress* is called as in `compact`, here with bytes of record files and slots in use.
        """
        with self.backing_up(dest, progress=progress) as copy:
            self._of_one_state(copy.take)

    def backing_up(
        self, dest: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> AbstractContextManager[Backup]:
        """Begin a `backup` whose state is still to be taken, for the length of a with-block: what `vfs_db` uses.

        Its `take` is given a snapshot, or a newer one where that raised SnapshotOvertaken, and makes the copy; *progress* as in `backup`.
        """
        from ourdb import maintenance

        with self._while_open():
            return maintenance.backing_up(self._disk, os.fspath(dest), progress)
