"""Transactions: what the operations of a with-block change is kept, and committed or undone as one.

Blocks nest. An inner one that fails takes back what was done in it; the outermost commits. Entries wait in memory, content
goes to the database at once where that can take it back.
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from vfs_db.change import Block, Change, OpenFile, OpenTransaction
from vfs_db.entries import Directory, FSEntry
from vfs_db.errors import database_error
from vfs_db.id_list import IdList
from vfs_db.page import IdPage, NamePage, Page
from vfs_db.publishing import Publisher, change_names, encoded
from vfs_db.state import NAMES_MAX
from vfs_db.store import Store

__all__ = ["Transactions"]

_STAGED_MAX: Final = 8192
_STAGED_WEIGHT_MAX: Final = 24 << 20
_OPEN_FILES_MIN: Final = 64


class Transactions(Publisher):
    """The state, and the transaction that may be open on it. What is called here holds the writers' lock, but for `opened`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._open_files_max = _OPEN_FILES_MIN
        self._wait = -1.0
        """Seconds to wait for another thread's transaction; below 0: as long as it takes."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the writers' lock, for what needs it without writing entries. Raises TimeoutError as `acquire`."""
        if not self.lock.acquire(True, self._wait):
            raise self.waited_too_long()
        try:
            yield
        finally:
            self.lock.release()

    def waited_too_long(self) -> TimeoutError:
        """Return the error for a wait that has lasted as long as it may."""
        return TimeoutError(errno.ETIMEDOUT, f"another thread's transaction lasted longer than {self._wait} s")

    def open_block(self) -> None:
        """Open a transaction, or a block in the one that is open."""
        database = self.store.transaction() if self.store.is_transactional else None
        if database is not None:
            database.__enter__()
        transaction = self.transaction or OpenTransaction()
        undo, created_chunks = len(transaction.undo), len(transaction.created_chunks)
        transaction.blocks.append(
            Block(database, undo, created_chunks, self.store.marks(), [], set(), transaction.weight)
        )
        self.transaction = transaction

    def close_block(self, error: BaseException | None) -> None:
        """Close the innermost block: with *error* undo what was done in it, else keep it; the outermost commits."""
        transaction = self.transaction
        if transaction is None:
            raise RuntimeError("no transaction is open")
        if error is not None:
            self._roll_back(transaction, error)
        elif len(transaction.blocks) > 1:
            self._join_outer(transaction)
        else:
            self._commit_open(transaction)

    def stage(self, transaction: OpenTransaction, change: Change) -> None:
        """Make *change* part of the open *transaction*. All or nothing."""
        try:
            self._write_chunks(transaction, change)
        except Exception as error:
            raise database_error(error) from error
        if self.store.is_transactional:
            change.created_chunks.clear()  # the database takes them back by itself
        transaction.join(change)
        self.bound(transaction)

    def bound(self, transaction: OpenTransaction) -> None:
        """Write entries early where many wait: what a transaction takes in memory is bounded so."""
        if len(transaction.entries) > _STAGED_MAX or transaction.weight > _STAGED_WEIGHT_MAX:
            self._write_early(transaction)

    def opened(self, file_id: int, file: OpenFile) -> None:
        """Note that *file* holds the file with that id open."""
        with self.publishing:
            if len(self.open_files) >= self._open_files_max:  # most of them closed by now
                self.open_files = {one_id: files for one_id, files in self.open_files.items() if files}
                self._open_files_max = _OPEN_FILES_MIN + 2 * len(self.open_files)
            self.open_files.setdefault(file_id, weakref.WeakSet()).add(file)
        transaction = self.mine()
        if transaction is not None:
            transaction.blocks[-1].files.append(weakref.ref(file))

    def _write_chunks(self, transaction: OpenTransaction, change: Change) -> None:
        """Write content now, where a rollback takes it back or nobody can see it; else keep it until the commit."""
        if not change.chunks:
            return
        if self.store.is_transactional:
            if len(change.chunks) == 1:
                self.store.write_chunks(change.chunks)
                return
            with self.store.transaction():
                self.store.write_chunks(change.chunks)
            return
        created = set(change.created_chunks)
        self.store.write_chunks([item for item in change.chunks if item[0] in created])
        for chunk_id, data in change.chunks:
            if chunk_id not in created:
                transaction.stage_chunk(chunk_id, bytes(data))

    def _write_early(self, transaction: OpenTransaction) -> None:
        if len(transaction.blocks) > 1 or not self.store.is_transactional:
            return
        entries = transaction.entries
        self.store.entry_ids.write(encoded(entries.items()))
        self._advance_maps(transaction)
        transaction.written.update(entries)
        transaction.written.update(transaction.names)
        transaction.entries = {}
        transaction.weight = 0
        transaction.names = {}
        transaction.created.clear()  # the directories among them are not empty any more
        transaction.loaded.clear()

    def _advance_maps(self, transaction: OpenTransaction) -> None:
        """Bring the names that the transaction keeps to what is stored now; without it they would be read again."""
        for directory_id, changes in transaction.names.items():
            names = transaction.maps.get(directory_id)
            if names is None and directory_id not in transaction.written:
                committed = self._names.get(directory_id)
                if committed is not None:
                    names = committed.copied()  # others look at the committed ones until the commit
                    transaction.keep_map(directory_id, names, NAMES_MAX)
            if names is not None:
                before = names.weight()
                change_names(names, directory_id, changes, transaction)
                transaction.maps_weight += names.weight() - before
        if transaction.maps_weight > NAMES_MAX:
            transaction.drop_maps()
        for entry_id, entry in transaction.entries.items():
            if type(entry) is Directory and type(entry.children) is not IdList:
                transaction.maps.pop(entry_id, None)

    def _join_outer(self, transaction: OpenTransaction) -> None:
        block = transaction.blocks.pop()
        transaction.blocks[-1].files.extend(block.files)
        if len(transaction.blocks) == 1:
            transaction.undo.clear()
        if block.database is not None:
            block.database.__exit__(None, None, None)

    def _roll_back(self, transaction: OpenTransaction, error: BaseException) -> None:
        block = transaction.blocks.pop()
        created = transaction.created_chunks[block.chunks :]
        if transaction.blocks:
            transaction.roll_back_to(block)
        else:
            self.transaction = None
        if block.database is not None:
            with suppress(type(error)):
                block.database.__exit__(type(error), error, error.__traceback__)
        else:
            self._delete_created(created)
        self.store.roll_back(block.marks)
        for reference in block.files:
            file = reference()
            if file is not None:
                file.on_rolled_back()

    def _delete_created(self, chunk_ids: list[int]) -> None:
        for chunk_id in chunk_ids:
            with suppress(LookupError):
                self.store.data.delete(chunk_id)

    def _commit_open(self, transaction: OpenTransaction) -> None:
        try:
            self._write_open(transaction)
        except BaseException as error:
            if transaction.blocks:
                self._roll_back(transaction, error)
            self.forget()
            if isinstance(error, Exception):
                raise database_error(error) from error
            raise

    def _write_open(self, transaction: OpenTransaction) -> None:
        staged = transaction.entries.items()
        if not self.store.is_transactional:
            # New entries can't be reached before an old directory lists them, so after a kill they are orphans at worst.
            created = set(transaction.created)
            staged = sorted(staged, key=lambda item: _rank(item, created))  # type: ignore[assignment]
        entries = encoded(staged)
        chunks = list(transaction.staged_chunks.items())
        freed = transaction.freed_entries, transaction.freed_chunks
        is_transactional = self.store.is_transactional
        if is_transactional:
            self.store.write(entries, chunks, *freed)
        with self.publishing:
            self.version += 1
            try:
                if not is_transactional:
                    self.store.write(entries, chunks, *freed)
                block = transaction.blocks.pop()
                self.transaction = None
                if block.database is not None:
                    block.database.__exit__(None, None, None)
                for entry_id in transaction.written:
                    self._entries.pop(entry_id)
                    self._names.pop(entry_id)
                    self._pages.pop(entry_id)
                for directory_id, names in transaction.maps.items():
                    self._names.put(directory_id, names, names.weight())
                self.publish(transaction)
            finally:
                self.version += 1


def _rank(item: tuple[int, FSEntry | Page], created: set[int]) -> int:
    """Return where an entry or page stands when they are written one by one: pages from the root down, as `name_tree` says."""
    one_id, one = item
    if one_id in created:
        return 0
    return 100 - one.level if isinstance(one, (NamePage, IdPage)) else 200
