"""How a change becomes permanent: transactions, the journal, checkpoints. For one database, or two joined ones.

A commit appends the records to the record files, then one checksummed entry to the journal, then publishes the new
locations in each store's overlay. The table on disk catches up at a checkpoint:

1. fsync the record files: from here every commit's records are there without looking.
2. Append a mark to the journal and fsync it: replay trusts the commits before the mark unverified.
3. Write table and `.inc`, fsync. Then overwrite the deleted records with zeros, fsync the record files again.
4. Begin the journal's next generation; the commits are forgotten.

No commit runs beside a checkpoint; reads go on. While a snapshot is open checkpoints wait, so what it sees stays.

Locks, in the order in which they are taken: `lock` (held for a whole transaction, by its thread), `publishing` (held
while overlays change). Threads of a "full" database wait for their fdatasync (`group_sync`) with neither held.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, NamedTuple
from zlib import crc32

from ourdb.config import RECORD_DATA_MAX
from ourdb.disk import Disk
from ourdb.errors import (
    CorruptRecord,
    DatabaseClosed,
    DatabaseFull,
    DatabaseLocked,
    OurDBError,
    RecordNotFound,
    RecordTooLarge,
)
from ourdb.group_sync import GroupSync, GroupWriter
from ourdb.joining import remove_journal, write_pointers
from ourdb.journal import DELETE, INLINED, OPERATION, POINT, RESERVE, SET, Journal, JournalHeader, Member, journal_path
from ourdb.record import HEADER_SIZE, PACK_HEADER
from ourdb.record_files import BUFFER_MAX, Appender
from ourdb.store import Store

__all__ = ["INLINE_MAX", "JOURNAL_MAX", "OVERLAY_MAX", "RECORD_BYTES_MAX", "Commits", "Transaction"]

JOURNAL_MAX: Final = 8 << 20
"""Bytes of commits after which a checkpoint is made."""

OVERLAY_MAX: Final = 100_000
RECORD_BYTES_MAX: Final = 1 << 30
"""Bytes of records after which a checkpoint is made: after a power cut, replay reads them all."""
INLINE_MAX: Final = 4096
"""Bytes of data up to which a record goes whole into the journal of a "full" database: one fdatasync is enough."""

_NO_PREVIOUS: Final = bytes(6)
_from_bytes: Final = int.from_bytes
_pack_operation: Final = OPERATION.pack

_handles: weakref.WeakSet[Commits] = weakref.WeakSet()


class _Stage(Appender):
    """What an open transaction has changed in one store, not yet committed."""

    __slots__ = ("_commits", "count", "next_id", "pending", "store", "zeros")

    def __init__(self, commits: Commits, store: Store) -> None:
        super().__init__(store.files, store.config)
        self._commits = commits
        self.store = store
        self.pending: dict[int, int] = {}
        self.zeros: list[tuple[int, int]] = []
        self.count = 0
        self.next_id = store.next_id

    def locate(self, record_id: int) -> int:
        location = self.pending.get(record_id)
        return self.store.locate(record_id) if location is None else location

    def flush(self) -> None:
        """Write the buffered records; the journal is there before, for only it tells where they are to be cut off again."""
        if self.buffer:
            self._commits.open_journal()
            super().flush()

    def mark(self) -> tuple[int, int, int, int, int]:
        return self.count, self.next_id, len(self.zeros), self.file, self.position

    def return_to(self, mark: tuple[int, int, int, int, int]) -> None:
        self.count, self.next_id, zero_count, file, position = mark
        del self.zeros[zero_count:]
        self.take_back(file, position)


class _Savepoint(NamedTuple):
    """How far a transaction was when a nested block began."""

    stages: dict[_Stage, tuple[int, int, int, int, int]]
    undo: int
    operations: int
    inlined: int
    sets: int


class Transaction:
    """The changes of one open transaction over all stores of a `Commits`. One thread uses it."""

    def __init__(self, commits: Commits) -> None:
        self.thread = threading.get_ident()
        self.depth = 1
        self._commits = commits
        self._stages: dict[Store, _Stage] = {}
        self._operations = bytearray()
        self._inlined: list[bytes] = []
        self._inline_max = INLINE_MAX if commits.synchronous == "full" else -1
        self._undo: list[tuple[_Stage, int, int | None]] = []
        self.sets = 0

    def stage(self, store: Store) -> _Stage:
        """Return the stage of *store*, made at its first change or read."""
        stage = self._stages.get(store)
        if stage is None:
            stage = self._stages[store] = _Stage(self._commits, store)
        return stage

    def set(self, store: Store, record_id: object, data: object) -> int:
        """Stage one record and return its id; see `OurDB.set` for ids and errors."""
        if data.__class__ is not bytes:
            data = as_bytes(data)
        assert isinstance(data, bytes)
        size = len(data)
        if size > RECORD_DATA_MAX:
            raise too_large(size)
        stage = self._stages.get(store) or self.stage(store)
        pending, config = stage.pending, store.config
        if record_id is None:
            if not config.incremental_mode:
                raise OurDBError("id must be provided when incremental is disabled")
            checked, previous = stage.next_id, 0
            if checked >= config.record_nr_max:
                raise DatabaseFull(f"lookup table is full: {store.folder} holds ids 1 to {config.record_nr_max - 1}")
        else:
            checked = store.check_id(record_id)
            staged = pending.get(checked)
            previous = store.locate(checked) if staged is None else staged
            if config.incremental_mode and not previous:
                raise OurDBError("cannot set id for insertions when incremental mode is enabled")
        crc = crc32(data)
        location = stage.append(PACK_HEADER(size, crc, previous.to_bytes(6, "big")) + data)
        if record_id is None:
            stage.next_id += 1
        if not previous:
            stage.count += 1
        if self.depth > 1:
            self._remember(stage, checked)
        pending[checked] = location
        kind = SET
        if size <= self._inline_max:
            kind = INLINED
            self._inlined.append(data)
        self._operations += _pack_operation(
            kind, self._commits.stores[0] is not store, size, checked, crc, location, previous
        )
        self.sets += 1
        return checked

    def set_many(self, store: Store, items: Iterable[tuple[int | None, object]]) -> list[int]:
        """Stage several records, each as `set` does, and return their ids."""
        # What the items share is looked up once, and the common case written out: it takes two thirds of the time.
        stage = self.stage(store)
        config, overlay, limit = store.config, store.overlay, store.plain_limit
        pending, keysize, slots = stage.pending, config.keysize, store.table.map
        id_end = 0 if config.incremental_mode or self._inline_max >= 0 else config.record_nr_max
        member = self._commits.stores[0] is not store
        ids: list[int] = []
        done = ids.append
        for record_id, data in items:
            position = stage.position
            if (
                record_id.__class__ is not int
                or not 0 <= record_id < id_end
                or data.__class__ is not bytes
                or len(data) > RECORD_DATA_MAX
                or position >= limit
                or self.depth > 1
            ):
                done(self.set(store, record_id, data))
                continue
            assert isinstance(data, bytes)
            assert record_id is not None
            previous = pending.get(record_id)
            if previous is None:
                previous = overlay.get(record_id)
                if previous is None:
                    at = record_id * keysize
                    previous = _from_bytes(slots[at : at + keysize], "big")
            size, crc, location = len(data), crc32(data), stage.file << 32 | position
            if previous:
                header = PACK_HEADER(size, crc, previous.to_bytes(6, "big"))
            else:
                header = PACK_HEADER(size, crc, _NO_PREVIOUS)
                stage.count += 1
            stage.buffer += header + data
            stage.position = position + HEADER_SIZE + size
            if len(stage.buffer) > BUFFER_MAX:
                stage.flush()
            pending[record_id] = location
            self._operations += _pack_operation(SET, member, size, record_id, crc, location, previous)
            self.sets += 1
            done(record_id)
        return ids

    def delete(self, store: Store, record_id: object) -> None:
        """Stage the removal of one record. Raises RecordNotFound."""
        checked = store.check_id(record_id)
        stage = self.stage(store)
        location = stage.locate(checked)
        if not location:
            raise RecordNotFound(f"Record not found: id {checked} in {store.folder}")
        stage.flush()
        try:
            size = len(store.record(location)[0])
        except CorruptRecord:
            # Where it ends is not known, so zeros could run into another record: only the slot is emptied.
            self.point(store, checked, 0)
            return
        if self.depth > 1:
            self._remember(stage, checked)
        stage.pending[checked] = 0
        stage.zeros.append((location, HEADER_SIZE + size))
        stage.count -= 1
        self._operations += OPERATION.pack(DELETE, self._commits.index(store), size, checked, 0, location, 0)

    def locate(self, store: Store, record_id: int) -> int:
        """Return where a record is for this transaction, and make it readable there."""
        stage = self._stages.get(store)
        if stage is None:
            return store.locate(record_id)
        location = stage.pending.get(record_id)
        if location is None:
            return store.locate(record_id)
        if location:
            stage.flush()
        return location

    def point(self, store: Store, record_id: int, location: int) -> None:
        """Stage a slot that gets the location of an existing record, or 0."""
        stage = self.stage(store)
        previous = stage.locate(record_id)
        if self.depth > 1:
            self._remember(stage, record_id)
        stage.pending[record_id] = location
        stage.count += bool(location) - bool(previous)
        self._operations += OPERATION.pack(POINT, self._commits.index(store), 0, record_id, 0, location, previous)

    def _remember(self, stage: _Stage, record_id: int) -> None:
        self._undo.append((stage, record_id, stage.pending.get(record_id)))

    def savepoint(self) -> _Savepoint:
        """Enter a nested block: what is staged from here on can be taken back."""
        stages = {stage: stage.mark() for stage in self._stages.values()}
        self.depth += 1
        return _Savepoint(stages, len(self._undo), len(self._operations), len(self._inlined), self.sets)

    def leave(self, savepoint: _Savepoint, *, keep: bool) -> None:
        """Leave a nested block; without *keep*, take back what was staged in it."""
        if not keep:
            while len(self._undo) > savepoint.undo:
                stage, record_id, location = self._undo.pop()
                if location is None:
                    del stage.pending[record_id]
                else:
                    stage.pending[record_id] = location
            for store, stage in list(self._stages.items()):
                mark = savepoint.stages.get(stage)
                if mark is None:
                    del self._stages[store]
                else:
                    stage.return_to(mark)
            del self._operations[savepoint.operations :]
            del self._inlined[savepoint.inlined :]
            self.sets = savepoint.sets
        self.depth -= 1
        if self.depth == 1:
            self._undo.clear()

    def commit(self) -> None:
        """Write everything, then the journal entry, then publish. On an error nothing is committed."""
        count = len(self._operations) // OPERATION.size
        if not count:
            return
        commits = self._commits
        journal = commits.open_journal()
        stages = [self._stages.get(store) for store in commits.stores]
        for stage in stages:
            if stage is not None:
                stage.flush()
        if commits.synchronous == "full" and len(self._inlined) < self.sets:
            self._sync_records(stages)
        next_ids = [
            stage.next_id if stage else store.next_id for stage, store in zip(stages, commits.stores, strict=True)
        ]
        next_ids.append(0)
        frame = journal.frame(self._operations, count, (next_ids[0], next_ids[1]), b"".join(self._inlined))
        journal.append(frame, may_use_reserve=not self.sets)
        del frame
        self._operations = bytearray()  # a huge commit's are not kept while a checkpoint runs
        self._publish(stages)

    def _sync_records(self, stages: list[_Stage | None]) -> None:
        try:
            for stage in stages:
                if stage is not None:
                    stage.store.files.sync()
        except OSError as error:
            raise self._commits.fail(error) from error

    def _publish(self, stages: list[_Stage | None]) -> None:
        with self._commits.publishing:
            for stage in stages:
                if stage is None:
                    continue
                store = stage.store
                self._commits.record_bytes += abs(stage.position - store.files.end_position)
                store.files.end_file, store.files.end_position = stage.file, stage.position
                store.next_id = stage.next_id
                store.zeros += stage.zeros
                if store.count is not None:
                    store.count += stage.count
                store.publish(stage.pending)


def as_bytes(data: object) -> bytes:
    """Return *data* as bytes; bytearray, memoryview and other buffers are copied. Raises TypeError."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if data is not None and not isinstance(data, (str, int)):
        try:
            return bytes(memoryview(data))  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")


def too_large(size: int) -> RecordTooLarge:
    """Return the error for *size* bytes of data."""
    return RecordTooLarge(f"{size} bytes of data, a record holds at most {RECORD_DATA_MAX}; nothing was written")


class Commits:
    """What commits to one store, or to two joined ones, through one journal in the first store's folder.

    plain: nothing stands in the way of the short path in `OurDB.set` (no transaction, journal open, no snapshot); then
    plain_fd is the last record file, and commits may be appended up to plain_journal_end.
    """

    def __init__(self, disk: Disk, store: Store, synchronous: str, timeout: float) -> None:
        self.disk = disk
        self.stores = [store]
        self.synchronous = synchronous
        self.wait = timeout or -1.0
        self.lock = threading.RLock()
        self.publishing = threading.Lock()
        self.group = GroupSync()
        self.writers: GroupWriter[tuple[int | None, bytes], int] = GroupWriter()
        self.journal: Journal | None = None
        self.transaction: Transaction | None = None
        self.plain = False
        self.plain_fd = -1
        self.plain_journal_end = 0
        self.refusal: Callable[[], OurDBError] | None = None
        self.record_bytes = 0
        self.appended = 0
        _handles.add(self)

    def index(self, store: Store) -> int:
        """Return the member number of *store*."""
        return 0 if self.stores[0] is store else 1

    def fail(self, error: OSError) -> OurDBError:
        """Refuse all further writes: after a failed fsync nobody knows what is on disk. Returns the error to raise."""
        folder = self.stores[0].folder
        self.refusal = lambda: OurDBError(
            f"{folder}: an earlier fsync failed ({error}), so what is on disk is unknown; close and open again to go on"
        )
        self.plain = False
        return self.refusal()

    def acquire(self) -> bool:
        """Wait for the right to write, and return True. Raises DatabaseLocked after the timeout, or why this handle can't write."""
        if not self.lock.acquire(True, self.wait):
            raise DatabaseLocked(
                f"{self.stores[0].folder}: another thread's transaction lasted longer than the timeout of {self.wait} s"
            )
        if self.refusal is not None:
            self.lock.release()
            raise self.refusal()
        return True

    def begin(self) -> _Block:
        """Return a block that opens a transaction, or joins the one that this thread has open."""
        return _Block(self)

    def after_commit(self) -> int:
        """See to checkpoints and the short path after a commit; return the commit's ticket for `sync_up_to`."""
        self.appended += 1
        if self.journal is not None and self.is_checkpoint_due():
            self.checkpoint()
        if len(self.stores) > 1:
            return self.appended
        with self.publishing:
            self.plain = self.journal is not None and self.refusal is None and not self.stores[0].snapshots
            if self.plain and self.journal is not None:
                files = self.stores[0].files
                self.plain_fd = files.fd(files.end_file)
                self.plain_journal_end = min(JOURNAL_MAX, self.journal.allocated - 2 * RESERVE)
        return self.appended

    def is_checkpoint_due(self) -> bool:
        """Say whether replay after a crash, or the memory that the overlays take, would grow too much."""
        return (
            (self.journal is not None and self.journal.end > JOURNAL_MAX)
            or self.record_bytes > RECORD_BYTES_MAX
            or len(self.stores[0].overlay) > OVERLAY_MAX
            or len(self.stores[-1].overlay) > OVERLAY_MAX
        )

    def sync_up_to(self, ticket: int) -> None:
        """Return when commit *ticket* is durable; one thread's fdatasync serves all that appended before it."""
        self.group.wait_for(ticket, lambda: self.appended, self._sync_journal)

    def _sync_journal(self) -> None:
        journal = self.journal
        if self.refusal is not None:
            # The fdatasync that was to serve this commit failed. A second one could succeed without having written
            # anything: the system forgets what it could not write.
            raise self.refusal()
        if journal is not None:
            try:
                journal.sync()
            except OSError as error:
                raise self.fail(error) from error

    def my_transaction(self) -> Transaction | None:
        """Return the transaction that this thread has open."""
        transaction = self.transaction
        return transaction if transaction is not None and transaction.thread == threading.get_ident() else None

    # Journal and checkpoints: called with `lock` held and no transaction open.

    def open_journal(self) -> Journal:
        """Return the journal, making it and all names that lead to it durable before the first commit."""
        if self.journal is None:
            first = self.stores[0]
            journal = Journal(self.disk, journal_path(first.folder), create=True)
            try:
                if len(self.stores) > 1:
                    write_pointers(self.disk, self.stores[0], self.stores[1])
                self._prepare(journal)
                for store in self.stores:
                    self.disk.sync_folder(store.folder)
            except BaseException:
                journal.close()
                raise
            self.journal = journal
        return self.journal

    def _prepare(self, journal: Journal) -> None:
        journal.read_header()
        journal.reserve()
        if self.synchronous == "full":
            journal.zero_ahead()
        journal.begin(self._header(journal), sync=True)

    def _header(self, journal: Journal) -> JournalHeader:
        members = tuple(
            Member(store.identity.identity, store.files.end_file, store.files.end_position, store.next_id)
            for store in self.stores
        )
        generation = journal.header.generation + 1 if journal.header else 1
        salt = int.from_bytes(os.urandom(4), "little") or 1
        return JournalHeader(generation, salt, self.disk.boot_id(), self.synchronous == "off", members)

    def checkpoint(self) -> bool:
        """Let the tables catch up and begin the next generation. Returns False where a snapshot made it wait."""
        if self.journal is None:
            return True
        if any(store.snapshots for store in self.stores):
            return False
        try:
            self._checkpoint(self.journal)
        except OSError as error:
            raise self.fail(error) from error
        return True

    def _checkpoint(self, journal: Journal) -> None:
        if not journal.number:
            return
        sync = self.synchronous != "off"
        if sync:
            for store in self.stores:
                store.files.sync()
        next_ids = [store.next_id for store in self.stores] + [0]
        journal.append(journal.frame(b"", 0, (next_ids[0], next_ids[1]), b""), may_use_reserve=True)
        if sync:
            journal.sync()
        for store in self.stores:
            store.identity.advance(running=True)
            store.epoch += 1
        for store in self.stores:
            store.write_table(sync=sync)
            store.write_zeros()
            if sync and store.zeros:
                store.files.sync()
        journal.begin(self._header(journal), sync=sync)
        for store in self.stores:
            store.overlay = {}
            store.zeros = []
            store.identity.advance(running=False)
        self.record_bytes = 0
        self.group.mark(self.appended)

    def sync(self) -> None:
        """Make every commit so far durable, and the tables with them unless a snapshot is open."""
        self.acquire()
        try:
            if self.transaction is not None:
                raise OurDBError("sync inside a transaction: commit it first")
            if self.journal is None or self.checkpoint():
                return
            try:
                for store in self.stores:
                    store.files.sync()
                self.journal.sync()
            except OSError as error:
                raise self.fail(error) from error
        finally:
            self.lock.release()

    def end(self) -> None:
        """Checkpoint durably and remove the journal, as at a clean close; a second member leaves with its pointer."""
        if self.journal is None:
            return
        synchronous, self.synchronous = self.synchronous, "normal"  # a clean close is durable at every level
        try:
            for store in self.stores:
                for reference in tuple(store.snapshots):
                    snapshot = reference()
                    if snapshot is not None:
                        snapshot.close()
                store.files.cut_tail()
                store.files.sync()
            self._checkpoint(self.journal)
            for store in self.stores:
                store.identity.note_end(store.files.end_file, store.files.end_position)
            self.group.wait_until_idle()
            self.journal.close()
            self.journal = None
            self.plain = False
            self.synchronous = synchronous
            remove_journal(self.disk, [store.folder for store in self.stores])
        except OSError as error:
            raise self.fail(error) from error

    def refuse(self, why: Callable[[], OurDBError]) -> None:
        """Refuse all writes from now on with the error that *why* makes."""
        self.refusal = why
        self.plain = False


class _Block:
    """One `with` block: the outermost one of a thread is a transaction, an inner one joins it."""

    __slots__ = ("_commits", "_savepoint", "_transaction")

    def __init__(self, commits: Commits) -> None:
        # A class and not a generator: this is entered for every change, and costs a third so.
        self._commits = commits
        self._savepoint: _Savepoint | None = None

    def __enter__(self) -> Transaction:
        commits = self._commits
        commits.acquire()
        transaction = commits.transaction
        if transaction is None:
            commits.plain = False
            transaction = commits.transaction = Transaction(commits)
        else:
            self._savepoint = transaction.savepoint()
        self._transaction = transaction
        return transaction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        commits, ticket = self._commits, 0
        try:
            if self._savepoint is not None:
                self._transaction.leave(self._savepoint, keep=kind is None)
                return
            try:
                if kind is None:
                    if commits.refusal is not None:
                        raise commits.refusal()
                    self._transaction.commit()
            finally:
                commits.transaction = None
            ticket = commits.after_commit()
        finally:
            commits.lock.release()
        if ticket and kind is None and commits.synchronous == "full":
            commits.sync_up_to(ticket)


def _after_fork() -> None:
    # The child shares the parent's file offsets, locks and journal: it must not write, and its copy of a lock that
    # another thread held would never be released.
    for commits in tuple(_handles):
        commits.lock = threading.RLock()
        commits.publishing = threading.Lock()
        commits.group = GroupSync()
        commits.writers = GroupWriter()
        commits.transaction = None
        for store in commits.stores:
            store.unlock()  # the lock is the parent's, and would live on in this copy
        folder = commits.stores[0].folder
        commits.refuse(
            lambda folder=folder: DatabaseClosed(  # type: ignore[misc]
                f"{folder} was opened by the process that this one was forked from; open it again here"
            )
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
