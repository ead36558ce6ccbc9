"""Two databases as one: entries in the metadata database, content in the data database.

With transactions everything handed to `write` is one commit over both. Without them it is ordered (content, then entries,
then frees), so that a kill leaves a valid tree, and what nobody refers to any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, cast

from vfs_db.counter import Counter, IdSource, id_source
from vfs_db.database import Database, DatabaseSnapshot, HasTransaction

__all__ = ["Store"]


class Store:
    """The two databases, and where their ids come from. Writing: one thread at a time."""

    def __init__(self, data: Database, metadata: Database) -> None:
        self.data = data
        self.metadata = metadata
        self.is_read_only = bool(getattr(data, "read_only", False) or getattr(metadata, "read_only", False))
        self.is_transactional = isinstance(data, HasTransaction) and isinstance(metadata, HasTransaction)
        self.is_joined = hasattr(data, "join")
        if self.is_joined:
            data.join(metadata)  # type: ignore[attr-defined]
        self.chunk_ids: IdSource = id_source(data, is_transactional=self.is_transactional)
        self.entry_ids: IdSource = id_source(metadata, is_transactional=self.is_transactional)
        gives_ids = isinstance(self.entry_ids, Counter) and isinstance(self.chunk_ids, Counter)
        self._write_batch = getattr(metadata, "write_batch", None) if self.is_joined and gives_ids else None

    @classmethod
    def of_snapshots(cls, data: DatabaseSnapshot, metadata: DatabaseSnapshot) -> Store:
        """Return a store over two snapshots, which only reads."""
        store = cls(cast(Database, data), cast(Database, metadata))
        store.is_read_only = True
        return store

    def transaction(self) -> AbstractContextManager[object]:
        """Return a transaction over both databases."""
        metadata: Any = self.metadata
        if self.is_joined:
            transaction: AbstractContextManager[object] = metadata.transaction()
            return transaction
        return self._both_transactions()

    @contextmanager
    def _both_transactions(self) -> Iterator[None]:
        data: Any = self.data
        metadata: Any = self.metadata
        with ExitStack() as stack:
            stack.enter_context(data.transaction())
            stack.enter_context(metadata.transaction())
            yield

    def write(
        self,
        entries: list[tuple[int, bytes]],
        chunks: Sequence[tuple[int, bytes | memoryview]],
        freed_entries: Sequence[int],
        freed_chunks: Sequence[int],
    ) -> None:
        """Write entries and chunks, and delete the freed records; with transactions all or nothing."""
        if not self.is_transactional:
            self._write_in_order(entries, chunks, freed_entries, freed_chunks)
            return
        if counters := self.entry_ids.extra():
            entries = counters + entries
        if counters := self.chunk_ids.extra():
            chunks = [*counters, *chunks]
        if self._write_batch is not None:
            try:
                self._write_batch(entries, freed_entries, joined_sets=chunks, joined_deletes=freed_chunks)
            except LookupError:
                pass  # a damaged tree may name records that aren't there: one by one, then
            else:
                return
        with self.transaction():
            self._write_in_order(entries, chunks, freed_entries, freed_chunks)

    def _write_in_order(
        self,
        entries: list[tuple[int, bytes]],
        chunks: Sequence[tuple[int, bytes | memoryview]],
        freed_entries: Sequence[int],
        freed_chunks: Sequence[int],
    ) -> None:
        if chunks:
            self.write_chunks(chunks)
        if entries:
            self.entry_ids.write(entries)
        if freed_entries:
            self._delete(self.metadata, freed_entries)
        if freed_chunks:
            self._delete(self.data, freed_chunks)

    def write_chunks(self, chunks: Iterable[tuple[int, bytes | memoryview]]) -> None:
        """Write chunks one by one. A view is of a buffer that is the caller's: what a database may keep is a copy."""
        self.chunk_ids.write([(chunk_id, bytes(data)) for chunk_id, data in chunks])

    def _delete(self, database: Database, ids: Sequence[int]) -> None:
        for one_id in ids:
            with suppress(LookupError):  # a damaged tree may name records that aren't there
                database.delete(one_id)

    def committed(self, freed_entries: Sequence[int], freed_chunks: Sequence[int]) -> None:
        """Say that the ids given out are in use now, and the freed ones free."""
        self.entry_ids.commit()
        self.chunk_ids.commit()
        if freed_entries:
            self.entry_ids.release(freed_entries)
        if freed_chunks:
            self.chunk_ids.release(freed_chunks)

    def marks(self) -> tuple[int, int]:
        """Return what `roll_back` needs to come back to this moment."""
        return self.entry_ids.mark(), self.chunk_ids.mark()

    def roll_back(self, marks: tuple[int, int]) -> None:
        """Take back the ids given out since *marks*."""
        self.entry_ids.roll_back(marks[0])
        self.chunk_ids.roll_back(marks[1])

    def save_counters(self) -> None:
        """Write the exact counters, so that no id is lost by closing."""
        if not self.is_read_only:
            self.entry_ids.save()
            self.chunk_ids.save()

    def each(self, method: str) -> None:
        """Call *method* of both databases, data first, where they have it."""
        for database in (self.data, self.metadata):
            function = getattr(database, method, None)
            if function is not None:
                function()
