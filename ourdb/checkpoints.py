"""The journal of one store, or of two joined ones, and how the tables on disk catch up with it.

A checkpoint:

1. fsync the record files: from here every commit's records are there without looking.
2. Append a mark to the journal and fsync it: replay trusts the commits before the mark unverified.
3. Write table and `.inc`, fsync. Then overwrite the deleted records with zeros, fsync the record files again.
4. Begin the journal's next generation; the commits are forgotten.

No commit runs beside a checkpoint; reads go on. While a snapshot is open checkpoints wait, so what it sees stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ourdb.disk import Disk
from ourdb.errors import OurDBError
from ourdb.group_sync import GroupSync
from ourdb.joining import remove_journal, write_pointers
from ourdb.journal import Journal, JournalHeader, Member, journal_path
from ourdb.store import Store

__all__ = ["JOURNAL_MAX", "OVERLAY_MAX", "RECORD_BYTES_MAX", "JournaledStores"]

JOURNAL_MAX: Final = 8 << 20
"""Bytes of commits after which a checkpoint is made."""

OVERLAY_MAX: Final = 100_000
RECORD_BYTES_MAX: Final = 1 << 30
"""Bytes of records after which a checkpoint is made: after a power cut, replay reads them all."""


class JournaledStores:
    """One store, or two joined ones, and their journal, which is in the first one's folder.

    What is called here holds the lock for writing, with no transaction open. plain: nothing stands in the way of the short path
    of `set` (no transaction, journal open, no snapshot). refusal: makes the error that says why nothing may be written any more.
    """

    def __init__(self, disk: Disk, stores: list[Store], synchronous: str) -> None:
        self.disk = disk
        self.stores = stores
        self.synchronous = synchronous
        self.group = GroupSync()
        self.journal: Journal | None = None
        self.plain = False
        self.refusal: Callable[[], OurDBError] | None = None
        self.record_bytes = 0
        self.appended = 0

    def index(self, store: Store) -> int:
        """Return the member number of *store*."""
        return 0 if self.stores[0] is store else 1

    def fail(self, error: OSError) -> OurDBError:
        """Refuse all further writes: after a failed fsync or checkpoint nobody knows what is on disk. Returns the error to raise."""
        folder = self.stores[0].folder
        self.refusal = lambda: OurDBError(
            f"{folder}: a checkpoint or fsync failed ({error}), so what is on disk is unknown; close and open again to go on"
        )
        self.plain = False
        return self.refusal()

    def doubt(self, error: BaseException) -> None:
        """Refuse all further writes after *error* (Ctrl-C, no memory) stopped a commit or a checkpoint halfway.

        What the journal says and what this handle takes for true may differ then; opening again goes by the journal.
        """
        folder = self.stores[0].folder
        reason = f"{folder}: a commit was stopped halfway ({type(error).__name__}); close and open again to go on"
        self.refuse(lambda: OurDBError(reason))

    @contextmanager
    def _whole_or_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.fail(error) from error
        except BaseException as error:
            self.doubt(error)
            raise

    def refuse(self, why: Callable[[], OurDBError]) -> None:
        """Refuse all writes from now on with the error that *why* makes."""
        self.refusal = why
        self.plain = False

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

    def is_checkpoint_due(self) -> bool:
        """Say whether replay after a crash, or the memory that the overlays take, would grow too much."""
        return (
            (self.journal is not None and self.journal.end > JOURNAL_MAX)
            or self.record_bytes > RECORD_BYTES_MAX
            or len(self.stores[0].overlay) > OVERLAY_MAX
            or len(self.stores[-1].overlay) > OVERLAY_MAX
        )

    def checkpoint(self, *, sync: bool = False) -> bool:
        """Let the tables catch up and begin the next generation; durably, with *sync* at every level.

        Returns False where a snapshot made it wait.
        """
        if self.journal is None:
            return True
        if any(store.snapshots for store in self.stores):
            return False
        with self._whole_or_refused():
            self._checkpoint(self.journal, sync=sync or self.synchronous != "off")
        return True

    def _checkpoint(self, journal: Journal, *, sync: bool) -> None:
        # At "off" the checkpoints before may not be durable, so there is something to do without a commit, too.
        if not journal.number and not (sync and journal.header is not None and journal.header.unsynced):
            return
        if sync:
            for store in self.stores:
                store.files.sync()
        next_ids = [store.next_id for store in self.stores] + [0]
        journal.append(b"", (next_ids[0], next_ids[1]), may_use_reserve=True)
        if sync:
            journal.sync()
        for store in self.stores:
            store.identity.advance(running=True)
            store.version += 1
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

    def end(self) -> None:
        """Checkpoint durably and remove the journal, as at a clean close; a second member leaves with its pointer."""
        if self.journal is None:
            return
        with self._whole_or_refused():
            for store in self.stores:
                for reference in tuple(store.snapshots):
                    snapshot = reference()
                    if snapshot is not None:
                        snapshot.close()
                store.files.cut_tail()
                store.files.sync()
            self._checkpoint(self.journal, sync=True)  # a clean close is durable at every level
            for store in self.stores:
                store.identity.note_end(store.files.end_file, store.files.end_position)
            self.group.wait_until_idle()
            self.journal.close()
            self.journal = None
            self.plain = False
            remove_journal(self.disk, [store.folder for store in self.stores])
