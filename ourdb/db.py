"""`OurDB`: the database as its users see it. The one module that knows all others; README says in which order to read them."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar
from zlib import crc32

from ourdb.batch import Part, Sets, commit_batch
from ourdb.commits import Commits
from ourdb.compaction import finish_compaction, write_survivors
from ourdb.config import Config
from ourdb.disk import DISK, Disk
from ourdb.errors import (
    DatabaseClosed,
    DatabaseFull,
    IdOutOfRange,
    OurDBError,
    ReadOnly,
    SnapshotOvertaken,
)
from ourdb.location import POSITION_MASK, Location, split
from ourdb.one_set import commit_one
from ourdb.opening import open_for_reading, open_for_writing, open_store
from ourdb.record import HEADER, HEADER_SIZE
from ourdb.shared import Viewer
from ourdb.snapshot import Snapshot
from ourdb.store import Store, part_of
from ourdb.view import OwnView, View

if TYPE_CHECKING:
    from mmap import mmap

    from ourdb.check import Problem
    from ourdb.maintenance import Backup
    from ourdb.rebuilding import Report

__all__ = ["OurDB", "Synchronous", "joined", "new", "open_recovered", "repair"]

Synchronous = Literal["full", "normal", "off"]

_LEVELS: Final = ("full", "normal", "off")
_TIMEOUT_MAX: Final = 1e9
_BATCH_MAX: Final = 64
"""Records of one `set_many` that are written without a transaction; for more, the transaction is as quick."""

_TRIES: Final = 100
"""States of a writing process that are read before a read-only handle gives up, as each was overtaken."""

_T = TypeVar("_T")

_unpack_header: Final = HEADER.unpack_from


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
) -> Report:
    """Rebuild the lost or damaged table of the database in folder *path*, and say what could not be known.

    The config is needed only if `lookup/.ourdb` is lost. *id_of* returns the id that a value holds, None if it holds none.
    The old `lookup/` is kept as `lookup.old`. Reads every record file. Raises DatabaseLocked, UnsupportedFormat.
    """
    given = _given(record_nr_max, record_size_max, file_size, incremental_mode, keysize)
    from ourdb.rebuilding import rebuild

    return rebuild(os.fspath(path), given, id_of)


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


def _as_list(items: Iterable[_T]) -> Sequence[_T]:
    return items if isinstance(items, (list, tuple)) else list(items)


class OurDB:
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
        self._view: View
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

    # Reading

    def get(self, id: int) -> bytes:
        """Return a record's data. Raises RecordNotFound, IdOutOfRange, CorruptRecord.

        Reads through a memory map, without a system call and without waiting for writers.
        """
        # Written plainly: the general way (`_locate`, `Store.read`) gives the same answers in three times the time.
        store = self._store
        if id.__class__ is int and self._commits.transaction is None and not self.read_only:
            try:
                epoch = store.epoch
                location = store.overlay.get(id)
                if location is None and id >= 0:
                    table = store.table
                    keysize = table.keysize
                    at = id * keysize
                    location = int.from_bytes(table.map[at : at + keysize], "big")
                if location:
                    position = location & POSITION_MASK
                    mapped = store.files.maps[location >> 32]
                    size, crc, _ = _unpack_header(mapped, position)
                    position += HEADER_SIZE
                    data = mapped[position : position + size]
                    if size and epoch == store.epoch and crc32(data) == crc:
                        return data
            except (KeyError, ValueError, struct.error):
                pass  # not mapped that far, or closed: the general way tells
        return self._read(id)

    def read_into(self, id: int, buffer: memoryview, start: int = 0) -> int:
        """Copy a record's data, from byte *start* on, into *buffer* (a writable view of bytes); return how many bytes.

        The first call for a version of a record verifies all of it; later ones read only what they return. Errors as `get`.
        """
        there = self._verified(id)
        if there is not None:
            store, epoch, mapped, at, size = there
            if 0 <= start < size:
                stop = start + len(buffer)
                if stop > size:  # noqa: PLR1730 - min() costs a tenth of the call
                    stop = size
                buffer[: stop - start] = memoryview(mapped)[at + start : at + stop]
                if epoch == store.epoch:
                    return stop - start
        with self._while_open():
            checked = self._store.check_id(id)
            return self._view.stable(
                self._current, lambda store: store.read_into(checked, buffer, start, partial(self._view.locate, store))
            )

    def read_part(self, id: int, start: int, stop: int) -> bytes:
        """Return a record's data from byte *start* to *stop*, less where it ends before; see `read_into`. Errors as `get`."""
        # Written plainly, as `get`: without `_verified` it takes three quarters of the time.
        store = self._store
        if id.__class__ is int and id >= 0 and self._commits.transaction is None and not self.read_only:
            try:
                epoch = store.epoch
                location = store.overlay.get(id)
                if location is None:
                    table = store.table
                    at = id * table.keysize
                    location = int.from_bytes(table.map[at : at + table.keysize], "big")
                files = store.files
                if 0 <= start <= stop <= files.verified[location]:
                    at = (location & POSITION_MASK) + HEADER_SIZE
                    data = files.maps[location >> 32][at + start : at + stop]
                    if epoch == store.epoch:
                        return data
            except (KeyError, ValueError):
                pass  # not mapped that far, not verified, or closed: the general way tells
        return part_of(self.read_into, id, start, stop)

    def _verified(self, record_id: int) -> tuple[Store, int, mmap, int, int] | None:
        """Return where the data of a record is that was verified before: store, its epoch, map, position, size; None says nothing."""
        # Written plainly, as `get`.
        store = self._store
        if record_id.__class__ is not int or record_id < 0 or self._commits.transaction is not None or self.read_only:
            return None
        epoch = store.epoch
        try:
            location = store.overlay.get(record_id)
            if location is None:
                table = store.table
                keysize = table.keysize
                at = record_id * keysize
                location = int.from_bytes(table.map[at : at + keysize], "big")
            files = store.files
            size = files.verified[location]
            return store, epoch, files.maps[location >> 32], (location & POSITION_MASK) + HEADER_SIZE, size
        except (KeyError, ValueError):
            return None  # not mapped that far, or closed: the general way tells

    def _read(self, record_id: object) -> bytes:
        with self._while_open():
            checked = self._store.check_id(record_id)
            return self._view.stable(
                self._current, lambda store: store.read(checked, partial(self._view.locate, store))
            )

    def _current(self) -> Store:
        return self._store

    @contextmanager
    def _while_open(self) -> Iterator[None]:
        """Turn what a concurrent close leaves behind into DatabaseClosed."""
        if self._is_closed:
            raise self._closed_error()
        try:
            yield
        except (ValueError, OSError) as error:
            refusal = self._commits.refusal
            reason = None if refusal is None else refusal()
            if isinstance(reason, DatabaseClosed) and not isinstance(error, OurDBError):
                raise reason from None
            raise

    def _closed_error(self) -> DatabaseClosed:
        return DatabaseClosed(f"{self.path} is closed; open it again with ourdb.new")

    def get_many(self, ids: Iterable[int]) -> list[bytes]:
        """Return the data of several records of one committed state, in the order of *ids*.

        Errors as `get`; beside a writer also SnapshotOvertaken, when it goes on during each of many tries.
        """
        if self._commits.my_transaction() is not None:
            return [self.get(record_id) for record_id in ids]
        if not isinstance(ids, (list, tuple)):
            ids = tuple(ids)  # a second try needs them again
        return self._of_one_state(lambda then: then.get_many(ids))

    def _of_one_state(self, read: Callable[[Snapshot], _T]) -> _T:
        """Return what *read* gives of a snapshot; of a newer one, some times, where a writing process has overtaken it."""
        for _ in range(_TRIES):
            with suppress(SnapshotOvertaken), self._while_open(), self.snapshot() as then:
                return read(then)
        with self._while_open(), self.snapshot() as then:
            return read(then)

    def get_history(self, id: int, depth: int) -> list[bytes]:
        """Return the newest *depth* versions of a record, newest first.

        Raises RecordNotFound, CorruptRecord, ValueError for a negative *depth*. Reads one record a version.
        """
        with self._while_open():
            checked = self._store.check_id(id)
            return self._view.stable(
                self._current, lambda store: store.history(checked, depth, partial(self._view.locate, store))
            )

    def lookup(self, id: int) -> Location:
        """Return where a record lies; (0, 0) if there is none. Raises IdOutOfRange."""
        with self._while_open():
            return split(self._view.locate(self._store, self._store.check_id(id)))

    def get_next_id(self) -> int:
        """Return the id that the next `set` without id will give. Raises OurDBError in key-value mode, DatabaseFull."""
        with self._while_open():
            if not self.incremental_mode:
                raise OurDBError("incremental mode is not enabled")
            transaction = self._commits.my_transaction()
            if transaction is None:
                next_id = self._view.stable(self._current, lambda store: store.next_id)
            else:
                next_id = transaction.stage(self._store).next_id
            if next_id >= self.config.record_nr_max:
                raise DatabaseFull(f"lookup table is full: {self.path} holds ids 1 to {self.config.record_nr_max - 1}")
            return next_id

    def __contains__(self, id: object) -> bool:
        with self._while_open():
            try:
                return bool(self._view.locate(self._store, self._store.check_id(id)))
            except (TypeError, IdOutOfRange):
                return False

    def __len__(self) -> int:
        """Return how many records there are. Reads the table; a handle that writes does so once, and counts from then on."""
        with self._while_open():
            if self.read_only:
                return self._of_one_state(len)
            with self._commits.publishing:
                if self._store.count is None:
                    self._store.count = self._store.count_records()
                count = self._store.count
            transaction = self._commits.my_transaction()
            return count if transaction is None else count + transaction.stage(self._store).count

    def __bool__(self) -> bool:
        return True  # an open handle is true, however many records it has

    def __iter__(self) -> Iterator[int]:
        """Yield the ids of one committed state (with this thread's open transaction), ascending.

        Reads the table as it goes. Beside a writer it raises SnapshotOvertaken when the writer takes that state away.
        """
        transaction = self._commits.my_transaction()
        pending = {} if transaction is None else dict(transaction.stage(self._store).pending)
        with self.snapshot() as then, self._while_open():
            if not pending:
                yield from then
                return
            changes = then.changes() | pending
            for record_id, _ in self._store.items(changes):
                yield record_id

    def snapshot(self) -> Snapshot:
        """Return one fixed state of the database, for reading, as a context manager. Costs nothing until writes follow.

        It is the last committed one, without this thread's open transaction. Closing the database closes it.
        """
        with self._while_open():
            then = self._view.snapshot(self._store)
            if self._is_closed:  # meanwhile, and its snapshots with it, perhaps before this one was there
                then.close()
                raise self._closed_error()
            return then

    # Writing

    def set(self, *, data: bytes | bytearray | memoryview, id: int | None = None) -> int:
        """Store *data* (0 to 65535 bytes) as a record and return its id; as durable as `synchronous` says on return.

        Incremental mode: without *id* a new record is made; with one, the existing record gets a new version.
        Key-value mode: *id* is needed. Raises RecordTooLarge, IdOutOfRange, DatabaseFull, OurDBError (an id where none
        may be, none where one must be), ReadOnly, DatabaseLocked, OSError (full disk); then nothing has changed.
        """
        commits = self._commits
        if commits.plain and data.__class__ is bytes:
            record_id: int | None = None
            if commits.synchronous == "full":
                record_id = self._set_durably(id, data)
            elif commits.lock.acquire(False) or commits.acquire():
                try:
                    # Asked for now: until the lock was held, it may have been joined, closed or compacted.
                    record_id = commit_one(self._commits, self._store, id, data, is_inlined=False)
                finally:
                    commits.lock.release()
            if record_id is not None:
                return record_id
        transaction = commits.transaction
        if transaction is not None and transaction.thread == get_ident() and commits.refusal is None:
            return transaction.set(self._store, id, data)
        with self._while_open(), self._commits.begin() as transaction:
            return transaction.set(self._store, id, data)

    def _set_durably(self, record_id: int | None, data: bytes) -> int | None:
        """Commit one record durably, alone or together with what other threads set; None as `commit_one`."""
        commits = self._commits
        if not commits.writers.try_lead():
            return commits.writers.write((self._store, record_id, data), self._set_group)
        try:
            commits.acquire()
            try:
                done = commit_one(self._commits, self._store, record_id, data, is_inlined=True)
                ticket = commits.appended
            finally:
                commits.lock.release()
            if done is not None:
                commits.sync_up_to(ticket)
            return done
        finally:
            commits.writers.hand_over()

    def _set_group(self, items: list[tuple[Store, int | None, bytes]]) -> list[int] | None:
        """Commit what several threads set, durably, or return None, nothing changed: each is to do it the general way."""
        if any(store is not self._store for store, _, _ in items):
            return None
        try:
            return self._commit_batch([(record_id, data) for _, record_id, data in items])
        except (OSError, OurDBError):
            return None  # whose fault it is, if anyone's, the general way tells

    def delete(self, id: int) -> None:
        """Remove a record and its history. Raises RecordNotFound, IdOutOfRange; durable as `set`."""
        transaction = self._commits.transaction
        if transaction is not None and transaction.thread == get_ident() and self._commits.refusal is None:
            transaction.delete(self._store, id)
            return
        self.delete_many((id,))

    def set_many(self, items: Iterable[tuple[int | None, bytes]]) -> list[int]:
        """Store several (id, data) in one commit and return the ids; all or nothing. Errors as `set`.

        Items are taken up to 128 at a time before they are stored: a generator may not find the last ones it gave.
        """
        if isinstance(items, (list, tuple)) and len(items) <= _BATCH_MAX:
            ids = self._commit_batch(items)
            if ids is not None:
                return ids
        with self._while_open(), self._commits.begin() as transaction:
            return transaction.set_many(self._store, items)

    def delete_many(self, ids: Iterable[int]) -> None:
        """Remove several records in one commit; all or nothing, also where one of *ids* is not there. Errors as `delete`."""
        ids = tuple(ids)
        if len(ids) <= _BATCH_MAX and self._commit_batch((), ids) is not None:
            return
        with self._while_open(), self._commits.begin() as transaction:
            for record_id in ids:
                transaction.delete(self._store, record_id)

    def write_batch(
        self,
        sets: Iterable[tuple[int | None, bytes | memoryview]],
        deletes: Iterable[int] = (),
        *,
        joined_sets: Iterable[tuple[int | None, bytes | memoryview]] = (),
        joined_deletes: Iterable[int] = (),
    ) -> None:
        """Set, then delete records here and in the database that this one is joined with, in one commit; all or nothing.

        The same as a transaction that does so, in half of the time for a few records. Errors as `set` and `delete`.
        """
        # What the batch leaves to the transaction has to be there still: an iterator gives it once.
        sets, joined_sets = _as_list(sets), _as_list(joined_sets)
        deletes, joined_deletes = _as_list(deletes), _as_list(joined_deletes)
        if self._commit_batch(sets, deletes, joined_sets, joined_deletes) is not None:
            return
        with self._while_open(), self._commits.begin() as transaction:
            for member, some_sets, some_deletes in self._parts(sets, deletes, joined_sets, joined_deletes):
                store = self._commits.stores[member]
                transaction.set_many(store, some_sets)
                for record_id in some_deletes:
                    transaction.delete(store, record_id)

    def _commit_batch(
        self,
        sets: Sets,
        deletes: Sequence[int] = (),
        joined_sets: Sets = (),
        joined_deletes: Sequence[int] = (),
    ) -> list[int] | None:
        """Commit sets and deletes, and return the ids set; None, and nothing is changed, where a transaction has to do it."""
        commits = self._commits
        commits.acquire()
        try:
            if commits is not self._commits:  # joined or closed until the lock was held
                return None
            # Its stores are asked for now: until then, a compaction could put others in place, too.
            ids = commit_batch(commits, self._parts(sets, deletes, joined_sets, joined_deletes))
            ticket = commits.appended
        finally:
            commits.lock.release()
        if ids is not None and commits.synchronous == "full":
            commits.sync_up_to(ticket)
        return ids

    def _parts(
        self, sets: Sets, deletes: Sequence[int], joined_sets: Sets, joined_deletes: Sequence[int]
    ) -> list[Part]:
        mine = self._commits.index(self._store)
        if not (joined_sets or joined_deletes):
            return [(mine, sets, deletes)]
        if len(self._commits.stores) == 1:
            raise OurDBError(f"{self.path} is not joined with another database")
        return [(mine, sets, deletes), (1 - mine, joined_sets, joined_deletes)]

    @contextmanager
    def transaction(self) -> Iterator[OurDB]:
        """Make all that this thread does to the database within the block one commit.

        An exception rolls everything back and goes on. Nested blocks join: an exception in an inner one takes back what
        was done in it. This thread's reads see its changes, others' do not before the commit. Other threads' writes
        wait (`timeout`). Memory: some 130 bytes a record, besides a buffer of 1 MiB.
        """
        with self._while_open(), self._commits.begin():
            yield self

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
        does nothing. In a forked child it only closes the child's copy.
        """
        while True:
            commits = self._commits
            with commits.lock:
                if commits is self._commits:  # else it was joined until the lock was held
                    self._close(commits)
                    return

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

    def export_data(self, path: str | os.PathLike[str]) -> None:
        """Write the full lookup table, and `.inc` in incremental mode, to folder *path*, of one committed state.

        An older export there is replaced when the new one is whole, and it is durable on return. Costs one pass over the
        table. Raises OurDBError (*path* is the live table), SnapshotOvertaken (beside a writer), OSError.
        """
        from ourdb import tables

        folder = os.fspath(path)
        self._of_one_state(lambda then: tables.export_table(self._disk, then, folder, sparse=False))

    def export_sparse(self, path: str | os.PathLike[str]) -> None:
        """Write the sparse form of the table (only slots in use), and `.inc`, to folder *path*; see `export_data`."""
        from ourdb import tables

        folder = os.fspath(path)
        self._of_one_state(lambda then: tables.export_table(self._disk, then, folder, sparse=True))

    def import_data(self, path: str | os.PathLike[str]) -> None:
        """Make the full table in folder *path* this database's, in one commit.

        It must have been exported from the same records. Raises UnsupportedFormat, CorruptRecord; then nothing changed.
        """
        from ourdb import tables

        with self._while_open(), self._commits.begin() as transaction:
            tables.import_table(self._disk, self._store, transaction, os.fspath(path), sparse=False)

    def import_sparse(self, path: str | os.PathLike[str]) -> None:
        """Make the sparse table in folder *path* this database's, in one commit; see `import_data`."""
        from ourdb import tables

        with self._while_open(), self._commits.begin() as transaction:
            tables.import_table(self._disk, self._store, transaction, os.fspath(path), sparse=True)

    def compact(self, keep_history: bool = True) -> None:
        """Write the records that count to new files, and replace the old ones by them; all or nothing.

        Without *keep_history* only the newest version of each record is kept. Reads go on meanwhile, writes wait; no
        snapshot may be open in this process. Needs disk space for the survivors. Raises CorruptRecord where a record
        can't be read (`check`, `repair`), OSError (full disk); then nothing changed.
        """
        with self._while_open():
            commits = self._commits
            commits.acquire()
            try:
                if (
                    commits is not self._commits
                ):  # closed, and parted from what it was joined with, until the lock was held
                    raise self._closed_error()
                if commits.transaction is not None:
                    raise OurDBError("compact inside a transaction: commit it first")
                if any(store.snapshots for store in commits.stores):
                    raise OurDBError(f"{self.path}: a snapshot is open; close it before compact")
                commits.end()
                old = self._store
                write_survivors(self._disk, old, keep_history=keep_history)
                old.identity.advance(running=True)
                finish_compaction(self._disk, self.path)
                new = open_store(self._disk, self.path)
                new.next_id = old.next_id
                new.folder_lock, old.folder_lock = old.folder_lock, None
                commits.stores[commits.index(old)] = new
                self._store = new
                new.identity.advance(running=False)
            except BaseException as error:
                if self._store.files.is_replaced:
                    reason = f"{self.path}: a compaction was not finished ({error}); close and open again to go on"
                    commits.refuse(lambda: OurDBError(reason))
                raise
            finally:
                commits.lock.release()

    def check(self) -> Iterator[Problem]:
        """Yield every problem of one committed state. A sound database yields nothing.

        Reads all records; memory: some 100 bytes for each version of each record. When a writer beside takes that state
        away it begins anew, some times, as long as nothing was yielded; else it raises SnapshotOvertaken: what was yielded is
        right, the rest was not looked at.
        """
        from ourdb.check import check

        for tries_left in range(_TRIES, -1, -1):
            is_quiet = True
            with self._while_open(), self.snapshot() as then:
                try:
                    for problem in check(then):
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

    def backup(self, dest: str | os.PathLike[str]) -> None:
        """Write a copy of one committed state to the new or empty folder *dest*, while others go on reading and writing.

        Reads all record files once; durable on return. What fails leaves nothing behind. Raises FileExistsError (*dest* holds
        something), SnapshotOvertaken (the writer beside goes on faster than this copies, many times), OSError (full disk).
        """
        with self.backing_up(dest) as copy:
            self._of_one_state(copy.take)

    def backing_up(self, dest: str | os.PathLike[str]) -> AbstractContextManager[Backup]:
        """Begin a `backup` whose state is still to be taken, for the length of a with-block: what `vfs_db` uses.

        Its `take` is given a snapshot, or a newer one where that raised SnapshotOvertaken, and makes the copy.
        """
        from ourdb import maintenance

        with self._while_open():
            return maintenance.backing_up(self._disk, os.fspath(dest))
