"""How a change becomes permanent: transactions and the journal's commits. For one database, or two joined ones.

A commit appends the records to the record files, then one checksummed entry to the journal, then publishes the new
locations in each store's overlay. The table on disk catches up at a checkpoint (`checkpoints`).

Locks, in the order in which they are taken: `lock` (held for a whole transaction, by its thread), `publishing` (held
while overlays change). Threads of a "full" database wait for their fdatasync (`group_sync`) with neither held.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from ourdb.checkpoints import JOURNAL_MAX, JournaledStores
from ourdb.disk import Disk
from ourdb.errors import DatabaseClosed, DatabaseLocked, OurDBError
from ourdb.group_sync import GroupSync, GroupWriter
from ourdb.journal import RESERVE
from ourdb.store import Store
from ourdb.transaction import Savepoint, Staged, Transaction

__all__ = ["INLINE_MAX", "Commits"]

INLINE_MAX: Final = 4096
"""Bytes of data up to which a record goes whole into the journal of a "full" database: one fdatasync is enough."""

_handles: weakref.WeakSet[Commits] = weakref.WeakSet()


class Commits(JournaledStores):
    """What commits to one store, or to two joined ones, through their journal.

    plain_fd is the last record file, and commits may be appended up to plain_journal_end, where `plain` says so.
    """

    def __init__(self, disk: Disk, store: Store, synchronous: str, timeout: float) -> None:
        super().__init__(disk, [store], synchronous)
        self.wait = timeout or -1.0
        self.lock = threading.RLock()
        self.publishing = threading.Lock()
        self.writers: GroupWriter[tuple[Store, int | None, bytes], int] = GroupWriter()
        self.transaction: Transaction | None = None
        self.plain_fd = -1
        self.plain_journal_end = 0
        self.is_reading_only = False
        _handles.add(self)

    def acquire(self, *, to_close: bool = False) -> bool:
        """Wait for the right to write, and return True. Raises DatabaseLocked after the timeout, or why this handle can't write.

        *to_close*: also one that can't write.
        """
        if not self.lock.acquire(True, self.wait):
            raise DatabaseLocked(
                f"{self.stores[0].folder}: another thread's transaction lasted longer than the timeout of {self.wait} s"
            )
        if self.refusal is not None and not to_close:
            self.lock.release()
            raise self.refusal()
        return True

    def begin(self) -> Block:
        """Return a block that opens a transaction, or joins the one that this thread has open."""
        return Block(self)

    def open_transaction(self) -> Transaction:
        """Open a transaction; called with `lock` held and none open."""
        self.plain = False
        self.transaction = Transaction(
            self.stores, INLINE_MAX if self.synchronous == "full" else -1, before_write=self.open_journal
        )
        return self.transaction

    def commit(self, transaction: Transaction) -> None:
        """Write all that is staged, then the journal entry, then publish. On an error nothing is committed."""
        if self.refusal is not None:
            raise self.refusal()
        if transaction is not self.transaction:
            raise DatabaseClosed(f"{self.stores[0].folder}: a handle was closed, and the open transaction rolled back")
        stages, operations, inlined = transaction.take_all()
        if not operations:
            return
        self.open_journal()
        if self.synchronous == "full" and len(inlined) < transaction.sets:
            try:
                for store, *_ in stages:
                    store.files.sync()
            except OSError as error:
                raise self.fail(error) from error
        self.append(stages, operations, inlined, has_sets=bool(transaction.sets))

    def append(
        self,
        stages: Sequence[Staged],
        operations: bytes | bytearray,
        inlined: Sequence[bytes | memoryview],
        *,
        has_sets: bool,
    ) -> None:
        """Append a commit to the open journal, and publish it. On an error nothing is committed.

        One without sets may use the room that is kept for deletes on a full disk.
        """
        journal = self.journal
        assert journal is not None
        first = self.stores[0]
        next_ids = first.next_id, self.stores[-1].next_id if len(self.stores) > 1 else 0
        for store, _, _, _, next_id, _, _ in stages:
            next_ids = (next_id, next_ids[1]) if store is first else (next_ids[0], next_id)
        try:
            journal.append(operations, next_ids, b"".join(inlined), may_use_reserve=not has_sets)
            with self.publishing:
                for store, pending, zeros, count, next_id, file, position in stages:
                    files = store.files
                    self.record_bytes += abs(position - files.end_position)
                    files.move_end(file, position)
                    store.next_id = next_id
                    store.zeros += zeros
                    if store.count is not None:
                        store.count += count
                    store.publish(pending)
        except OSError:
            raise
        except BaseException as error:
            self.doubt(error)
            raise

    def after_commit(self) -> int:
        """See to checkpoints and the short path after a commit; return the commit's ticket for `sync_up_to`."""
        self.appended += 1
        if self.journal is not None and self.is_checkpoint_due():
            self.checkpoint()
        if len(self.stores) > 1:
            return self.appended
        with self.publishing:
            self.plain = False  # also where the file can't be opened
            if self.journal is not None and self.refusal is None and not self.stores[0].snapshots:
                self.plain_fd = self.stores[0].files.last_fd()
                self.plain_journal_end = min(JOURNAL_MAX, self.journal.allocated - 2 * RESERVE)
                self.plain = True
        return self.appended

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

    def sync(self) -> None:
        """Make every commit so far durable, and the tables with them unless a snapshot is open."""
        self.acquire()
        try:
            if self.transaction is not None:
                raise OurDBError("sync inside a transaction: commit it first")
            if self.journal is None or self.checkpoint(sync=True):
                return
            try:
                for store in self.stores:
                    store.files.sync()
                    store.table.sync()  # at "off", what an earlier checkpoint wrote
                self.journal.sync()
            except OSError as error:
                raise self.fail(error) from error
        finally:
            self.lock.release()

    @contextmanager
    def taking_in(self, other: Commits) -> Iterator[None]:
        """Let the store of *other* commit here, together with this one's: from the with-block on, which tells its handle.

        Raises OurDBError.
        """
        first, second = sorted((self, other), key=id)
        first.acquire()
        try:
            second.acquire()
            try:
                if len(self.stores) > 1 or len(other.stores) > 1:
                    raise OurDBError("a database can be joined with one other only")
                if self.transaction is not None or other.transaction is not None:
                    raise OurDBError("join inside a transaction: commit it first")
                self.end()
                other.end()
                folder = other.stores[0].folder
                other.refuse(lambda: OurDBError(f"{folder} was being joined; try again"))
                self.stores.append(other.stores[0])
                yield
            finally:
                second.lock.release()
        finally:
            first.lock.release()

    def leave(self, store: Store, why: Callable[[], OurDBError]) -> Commits:
        """Part from *store*, which is closed, and return what refuses its writes from now on. Called with `lock` held."""
        if self.stores == [store]:
            self.refuse(why)
            return self
        self.stores.remove(store)
        self.plain = False
        rest = Commits(self.disk, store, self.synchronous, 0.0)
        rest.refuse(why)
        return rest


class Block:
    """One `with` block: the outermost one of a thread is a transaction, an inner one joins it."""

    __slots__ = ("_commits", "_savepoint", "_transaction")

    def __init__(self, commits: Commits) -> None:
        # A class and not a generator: this is entered for every change, and costs a third so.
        self._commits = commits
        self._savepoint: Savepoint | None = None

    def __enter__(self) -> Transaction:
        commits = self._commits
        commits.acquire()
        transaction = commits.transaction
        if transaction is None:
            transaction = commits.open_transaction()
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
                    commits.commit(self._transaction)
            finally:
                commits.transaction = None
            ticket = commits.after_commit()
        finally:
            commits.lock.release()
        if ticket and kind is None and commits.synchronous == "full":
            commits.sync_up_to(ticket)


def _after_fork() -> None:
    # The child shares the parent's file offsets, locks and journal: it must not write, and its copy of a lock that
    # another thread held would never be released. Nor must it read: it is not told what the parent deletes.
    for commits in tuple(_handles):
        commits.lock = threading.RLock()
        commits.publishing = threading.Lock()
        commits.group = GroupSync()
        commits.writers = GroupWriter()
        commits.transaction = None
        if commits.is_reading_only:
            continue
        folder = commits.stores[0].folder
        commits.refuse(
            lambda folder=folder: DatabaseClosed(  # type: ignore[misc]
                f"{folder} was opened by the process that this one was forked from; open it again here"
            )
        )
        for store in commits.stores:
            store.close()  # the lock on the folder, too, is the parent's, and would live on in this copy


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
