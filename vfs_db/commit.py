"""How a change becomes the state: alone, or with others in a transaction.

One operation makes one `Change` and hands it to `apply`, with the writers' lock held. Without an open transaction it is
committed at once; else it joins the transaction, whose thread sees it, and which commits or forgets all of it.
"""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final, Protocol

import attrs

from vfs_db import codec
from vfs_db.change import Change, OpenTransaction
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.errors import database_error, os_error
from vfs_db.id_list import IdList
from vfs_db.moment import moment
from vfs_db.names import KNOWN_WEIGHT, Names
from vfs_db.page import IdPage, NamePage, Page, encode_page
from vfs_db.state import NAMES_MAX, State
from vfs_db.store import Store

__all__ = ["Commits", "OpenFile"]

_STAGED_MAX: Final = 8192
_PACKED_SURE: Final = 64000
"""Bytes of ids that an entry holds whatever its name, owner and group."""


class OpenFile(Protocol):
    """What holds a file open, and has to know when the file, or the transaction it was opened in, goes."""

    def on_deleted(self) -> None: ...
    def on_rolled_back(self) -> None: ...


@attrs.define
class _Block:
    """A with-block of the open transaction: what leads back to its beginning."""

    database: AbstractContextManager[object] | None
    undo: int
    chunks: int
    marks: tuple[int, int]
    files: list[weakref.ref[OpenFile]]


class Commits(State):
    """The state, and the way in which it changes."""

    def __init__(self, store: Store, *, timeout: float = 0.0) -> None:
        super().__init__(store)
        self.open_files: dict[int, weakref.WeakSet[OpenFile]] = {}
        self.strict_v1 = False
        """Everything stays version 1; what would not fit is refused."""
        self.ns_times = False
        """Times are kept to the nanosecond, in version 2 entries."""
        self._wait = timeout or -1.0
        self._blocks: list[_Block] = []

    def now(self) -> int:
        """Return the time as entries are to keep it."""
        return moment(time.time_ns()) if self.ns_times else int(time.time())

    def acquire(self) -> tuple[int, int]:
        """Take the writers' lock, and return what `abandon` needs.

        Raises TimeoutError when another thread's transaction lasts longer than the timeout, OSError (EROFS).
        """
        if not self.lock.acquire(True, self._wait):
            raise TimeoutError(errno.ETIMEDOUT, f"another thread's transaction lasted longer than {self._wait} s")
        if self.is_closed or self.store.is_read_only:
            self.lock.release()
            self.check_open()
            raise OSError(errno.EROFS, f"{os.strerror(errno.EROFS)}: it was opened with read_only=True")
        return (0, 0) if self.transaction is None else self.store.marks()

    def apply(self, change: Change) -> None:
        """Commit *change*, or make it part of the open transaction. All or nothing.

        Raises OSError when a list in an entry is more than one record holds: EMLINK for a directory, EFBIG for a file.
        """
        for entry in change.entries.values():
            if (
                type(entry) is Directory
                and type(entry.children) is IdList
                and len(entry.children.packed) > _PACKED_SURE
            ):
                self._check_size(entry)
        transaction = self.transaction
        if transaction is None:
            self._commit(change)
            return
        try:
            self._write_chunks(transaction, change)
        except Exception as error:
            raise database_error(error) from error
        if self.store.is_transactional:
            change.created_chunks.clear()  # the database takes them back by itself
        transaction.join(change)
        if len(transaction.entries) > _STAGED_MAX and transaction.depth == 1:
            self._write_early(transaction)

    def _check_size(self, entry: Directory | File) -> None:
        if len(codec.encode(entry)) > codec.ENTRY_SIZE_MAX:
            code = errno.EFBIG if type(entry) is File else errno.EMLINK
            raise os_error(code, self.path_or_name(entry))

    def path_or_name(self, entry: Directory | File) -> str:
        """Return the path of *entry*, of one that is about to be made its name."""
        try:
            return self.path_of(entry.metadata.id)
        except FileNotFoundError:
            return entry.metadata.name

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
        if not self.store.is_transactional:
            return
        entries = transaction.entries
        self.store.entry_ids.write(_encoded(entries.items()))
        self._advance_maps(transaction)
        transaction.written.update(entries)
        transaction.written.update(transaction.names)
        transaction.entries = {}
        transaction.names = {}
        transaction.created.clear()  # the directories among them are not empty any more
        transaction.loaded = {}

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
                _change_names(names, directory_id, changes, transaction)
                transaction.maps_weight += KNOWN_WEIGHT * len(changes)
        if transaction.maps_weight > NAMES_MAX:
            transaction.drop_maps()
        for entry_id, entry in transaction.entries.items():
            if type(entry) is Directory and type(entry.children) is not IdList:
                transaction.maps.pop(entry_id, None)

    def add_file(
        self, file: File, directory: Directory, changes: dict[str, int] | None, chunk_id: int, data: bytes
    ) -> None:
        """Do what `apply` does for a new file of one chunk, and the *directory* that lists it now.

        *changes*: what the open transaction, whose innermost block is the outermost one, has done to its names.
        """
        metadata, directory_id = file.metadata, directory.metadata.id
        transaction = self.transaction
        if transaction is None or changes is None:
            entries = [(metadata.id, codec.encode(file)), (directory_id, codec.encode(directory))]
            self._write(entries, [(chunk_id, data)], (), (), partial(self._publish_file, file, directory))
            return
        try:
            self.store.write_chunks([(chunk_id, data)])
        except Exception as error:
            raise database_error(error) from error
        staged = transaction.entries
        staged[metadata.id] = file
        del staged[directory_id]  # it comes behind what it lists
        staged[directory_id] = directory
        changes[metadata.name] = metadata.id
        transaction.created.append(metadata.id)
        if len(staged) > _STAGED_MAX:
            self._write_early(transaction)

    def _publish_file(self, file: File, directory: Directory) -> None:
        self.store.committed((), ())
        metadata, directory_id = file.metadata, directory.metadata.id
        self._entries.put(metadata.id, file)
        self._entries.put(directory_id, directory)
        names = self._names.get(directory_id)
        if names is not None:
            names[metadata.name] = metadata.id
            self._names.put(directory_id, names, KNOWN_WEIGHT)

    def _commit(self, change: Change) -> None:
        """Write and publish one operation's change."""
        self._write(
            _encoded(change.entries.items()),
            change.chunks,
            change.freed_entries,
            change.freed_chunks,
            partial(self._publish, change),
        )

    def _write(
        self,
        entries: list[tuple[int, bytes]],
        chunks: Sequence[tuple[int, bytes | memoryview]],
        freed_entries: Sequence[int],
        freed_chunks: Sequence[int],
        publish: Callable[[], None],
    ) -> None:
        with self.publishing:
            self.version += 1
            try:
                self.store.write(entries, chunks, freed_entries, freed_chunks)
                publish()
            except BaseException as error:
                self.forget()
                if isinstance(error, Exception):
                    raise database_error(error) from error
                raise
            finally:
                self.version += 1

    def _publish(self, change: Change) -> None:
        self.store.committed(change.freed_entries, change.freed_chunks)
        entries = self._entries
        for entry_id, entry in change.entries.items():
            if isinstance(entry, (NamePage, IdPage)):
                self._pages.put(entry_id, entry)
                continue
            entries.put(entry_id, entry)
            if type(entry) is File and type(entry.chunk_ids) is IdList and len(entry.chunk_ids.packed) > _PACKED_SURE:
                self._check_size(entry)
            if type(entry) is Directory and type(entry.children) is not IdList:
                self._names.pop(entry_id)  # they would grow without bound
        for entry_id in change.created:
            if entry_id in change.entries and type(change.entries[entry_id]) is Directory:
                self._names.put(entry_id, Names())
        if change.names:
            self._publish_names(change)
        for entry_id in change.freed_entries:
            entries.pop(entry_id)
            self._names.pop(entry_id)
            self._pages.pop(entry_id)
            for file in self.open_files.pop(entry_id, ()):
                file.on_deleted()
        if change.moves_paths:
            self.prefixes = {}

    def _publish_names(self, change: Change) -> None:
        for directory_id, changes in change.names.items():
            names = self._names.get(directory_id)
            if names is not None:
                self._names.put(directory_id, names, KNOWN_WEIGHT * len(changes))
                _change_names(names, directory_id, changes, change)

    def abandon(self, marks: tuple[int, int]) -> None:
        """Take back the ids that an operation was given which failed; *marks* is what `acquire` returned."""
        self.store.roll_back(marks)

    # Transactions: blocks nest, the outermost commits

    def begin(self) -> None:
        """Open a transaction in this thread, or a block in the one that is open."""
        self.acquire()
        try:
            database = self.store.transaction() if self.store.is_transactional else None
            if database is not None:
                database.__enter__()
            transaction = self.transaction or OpenTransaction()
            block = _Block(database, len(transaction.undo), len(transaction.created_chunks), self.store.marks(), [])
            self._blocks.append(block)
            transaction.depth = len(self._blocks)
            self.transaction = transaction
        except BaseException as error:
            self.lock.release()
            if isinstance(error, Exception):
                raise database_error(error) from error
            raise

    def end(self, error: BaseException | None) -> None:
        """Close the innermost block: with *error* undo what was done in it, else keep it; the outermost commits."""
        try:
            transaction = self.transaction
            if transaction is None:
                raise RuntimeError("no transaction is open")
            if error is not None:
                self._roll_back(transaction, error)
            elif len(self._blocks) > 1:
                self._join_outer(transaction)
            else:
                self._commit_open(transaction)
        finally:
            self.lock.release()

    def opened(self, file_id: int, file: OpenFile) -> None:
        """Note that *file* holds the file with that id open."""
        self.open_files.setdefault(file_id, weakref.WeakSet()).add(file)
        if self._blocks and self.mine() is not None:
            self._blocks[-1].files.append(weakref.ref(file))

    def _join_outer(self, transaction: OpenTransaction) -> None:
        block = self._blocks.pop()
        transaction.depth = len(self._blocks)
        self._blocks[-1].files += block.files
        if transaction.depth == 1:
            transaction.undo.clear()
        if block.database is not None:
            block.database.__exit__(None, None, None)

    def _roll_back(self, transaction: OpenTransaction, error: BaseException) -> None:
        block = self._blocks.pop()
        transaction.depth = len(self._blocks)
        created = transaction.created_chunks[block.chunks :]
        if self._blocks:
            transaction.roll_back_to(block.undo)
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
            if self._blocks:
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
        entries = _encoded(staged)
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
                block = self._blocks.pop()
                self.transaction = None
                if block.database is not None:
                    block.database.__exit__(None, None, None)
                for entry_id in transaction.written:
                    self._entries.pop(entry_id)
                    self._names.pop(entry_id)
                    self._pages.pop(entry_id)
                for directory_id, names in transaction.maps.items():
                    self._names.put(directory_id, names, names.weight())
                self._publish(transaction)
            finally:
                self.version += 1

    def forget(self) -> None:
        """Empty all caches: what is asked for next is read again."""
        with self.publishing:
            self._entries.clear()
            self._names.clear()
            self._pages.clear()
            self.prefixes = {}

    def refresh(self) -> None:
        """See what another process has committed since."""
        self.databases.each("refresh")
        self.forget()

    def close(self) -> None:
        """Save the counters and close both databases; what is called afterwards raises ValueError."""
        with self.lock:
            if self.is_closed:
                return
            while self.transaction is not None and self.mine() is not None:
                self.end(RuntimeError("the filesystem is closed inside a transaction"))
            self.is_closed = True
            try:
                with suppress(OSError):  # a full disk: what is stored covers all ids in use, only unused ones are lost
                    self.store.save_counters()
            finally:
                self.databases.each("close")
                self.forget()


def _change_names(names: Names, directory_id: int, changes: dict[str, int], change: Change) -> None:
    """Bring *names*, those of a directory, up to what *change* did to them."""
    is_gone = None if names.is_complete else partial(change.is_gone, directory_id)
    for name, entry_id in changes.items():
        if entry_id:
            names[name] = entry_id
        else:
            names.pop(name, None)
        if is_gone is not None:
            names.forget_hashes(name, is_gone)


def _encoded(items: Iterable[tuple[int, FSEntry | Page]]) -> list[tuple[int, bytes]]:
    return [
        (one_id, encode_page(one) if isinstance(one, (NamePage, IdPage)) else codec.encode(one))
        for one_id, one in items
    ]


def _rank(item: tuple[int, FSEntry | Page], created: set[int]) -> int:
    """Return where an entry or page stands when they are written one by one: pages from the root down, as `name_tree` says."""
    one_id, one = item
    if one_id in created:
        return 0
    return 100 - one.level if isinstance(one, (NamePage, IdPage)) else 200
