"""The writing half of `OurDB`: what is set and deleted, one by one, many at once, and in transactions.

Each method tries the short path that fits (`one_set`, `batch`), and leaves what is not usual to a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Final, Self, TypeVar

from ourdb.batch import Part, Sets, commit_batch
from ourdb.errors import OurDBError
from ourdb.one_set import commit_one
from ourdb.reading import ReadableDB
from ourdb.store import Store

__all__ = ["WritableDB"]

_BATCH_MAX: Final = 64
"""Records of one `set_many` that are written without a transaction; for more, the transaction is as quick."""

_T = TypeVar("_T")


class WritableDB(ReadableDB):
    """A database as far as its records can be changed, from any thread."""

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
    def transaction(self) -> Iterator[Self]:
        """Make all that this thread does to the database within the block one commit.

        An exception rolls everything back and goes on. Nested blocks join: an exception in an inner one takes back what
        was done in it. This thread's reads see its changes, others' do not before the commit. Other threads' writes
        wait (`timeout`). Memory: some 130 bytes a record, besides a buffer of 1 MiB.
        """
        with self._while_open(), self._commits.begin():
            yield self


def _as_list(items: Iterable[_T]) -> Sequence[_T]:
    return items if isinstance(items, (list, tuple)) else list(items)
