"""How a change becomes the state: alone, or with others in a transaction.

One operation makes one `Change` and hands it to `apply`, with the writers' lock held. Without an open transaction it is
committed at once; else it joins the transaction, whose thread sees it, and which commits or forgets all of it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from functools import partial

from vfs_db import codec
from vfs_db.change import Change
from vfs_db.entries import Directory, File
from vfs_db.errors import database_error
from vfs_db.id_list import IdList
from vfs_db.moment import moment
from vfs_db.publishing import PACKED_SURE, encoded
from vfs_db.store import Store
from vfs_db.transactions import Transactions

__all__ = ["WritableState"]


class WritableState(Transactions):
    """The state, and the way in which it changes: one writer at a time."""

    def __init__(self, store: Store, *, timeout: float = 0.0) -> None:
        super().__init__(store)
        self.strict_v1 = False
        """Everything stays version 1; what would not fit is refused."""
        self.ns_times = False
        """Times are kept to the nanosecond, in version 2 entries."""
        self._wait = timeout or -1.0

    def now(self) -> int:
        """Return the time as entries are to keep it."""
        return moment(time.time_ns()) if self.ns_times else int(time.time())

    def acquire(self) -> tuple[int, int]:
        """Take the writers' lock, and return what `abandon` needs.

        Raises TimeoutError when another thread's transaction lasts longer than the timeout, OSError (EROFS).
        """
        if not self.lock.acquire(True, self._wait):
            raise self.waited_too_long()
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
            if type(entry) is Directory:
                ids = entry.children
            elif type(entry) is File:
                ids = entry.chunk_ids
            else:
                continue
            if type(ids) is IdList and len(ids.packed) > PACKED_SURE:
                self.check_size(entry)
        transaction = self.transaction
        if transaction is None:
            self._commit(change)
        else:
            self.stage(transaction, change)

    def _commit(self, change: Change) -> None:
        """Write and publish one operation's change."""
        self.write(
            encoded(change.entries.items()),
            change.chunks,
            change.freed_entries,
            change.freed_chunks,
            partial(self.publish, change),
        )

    def add_file(
        self, file: File, directory: Directory, changes: dict[str, int] | None, chunks: list[tuple[int, bytes]]
    ) -> None:
        """Do what `apply` does for a new file of one chunk or none, and the *directory* that lists it now.

        *changes*: what the open transaction, whose innermost block is the outermost one, has done to its names.
        """
        metadata, directory_id = file.metadata, directory.metadata.id
        transaction = self.transaction
        if transaction is None or changes is None:
            entries = [(metadata.id, codec.encode(file)), (directory_id, codec.encode(directory))]
            self.write(entries, chunks, (), (), partial(self.publish_file, file, directory))
            return
        try:
            if chunks:
                self.store.write_chunks(chunks)
        except Exception as error:
            raise database_error(error) from error
        staged = transaction.entries
        staged[metadata.id] = file
        del staged[directory_id]  # it comes behind what it lists
        staged[directory_id] = directory
        changes[metadata.name] = metadata.id
        transaction.created.append(metadata.id)
        self.bound(transaction)

    def abandon(self, marks: tuple[int, int]) -> None:
        """Take back the ids that an operation was given which failed; *marks* is what `acquire` returned."""
        self.store.roll_back(marks)

    def begin(self) -> None:
        """Open a transaction in this thread, or a block in the one that is open. Errors as `acquire`."""
        self.acquire()
        try:
            self.open_block()
        except BaseException as error:
            self.lock.release()
            if isinstance(error, Exception):
                raise database_error(error) from error
            raise

    def end(self, error: BaseException | None) -> None:
        """Close the innermost block: with *error* undo what was done in it, else keep it; the outermost commits."""
        try:
            self.close_block(error)
        finally:
            self.lock.release()

    def refresh(self) -> None:
        """See what another process has committed since."""
        self.databases.each("refresh")
        self.forget()

    def close(self) -> None:
        """Save the counters and close both databases; what is called afterwards raises ValueError. Errors as `alone`."""
        with self.alone():
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
