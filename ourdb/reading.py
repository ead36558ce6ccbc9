"""The reading half of `OurDB`: records, their history, and fixed states of the database."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from zlib import crc32

from ourdb.commits import Commits
from ourdb.config import Config
from ourdb.errors import DatabaseClosed, DatabaseFull, IdOutOfRange, OurDBError, SnapshotOvertaken
from ourdb.location import POSITION_MASK, Location, split
from ourdb.record import HEADER, HEADER_SIZE
from ourdb.snapshot import Snapshot
from ourdb.store import Store, part_of
from ourdb.view import View

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["TRIES", "ReadableDB"]

TRIES: Final = 100
"""States of a writing process that are read before a read-only handle gives up, as each was overtaken."""

_T = TypeVar("_T")

_unpack_header: Final = HEADER.unpack_from
_from_bytes: Final = int.from_bytes  # looked up once: half of what a call costs


class ReadableDB:
    """A database as far as it can be read, from any thread."""

    path: str
    read_only: bool
    incremental_mode: bool
    config: Config
    _store: Store
    _commits: Commits
    _view: View
    _is_closed: bool

    def get(self, id: int) -> bytes:
        """Return a record's data. Raises RecordNotFound, IdOutOfRange, CorruptRecord.

        Reads through a memory map, without a system call and without waiting for writers.
        """
        # Written plainly: the general way (`_locate`, `Store.read`) gives the same answers in three times the time.
        store = self._store
        if id.__class__ is int and self._commits.transaction is None and not self.read_only:
            try:
                version = store.version
                location = store.overlay.get(id)
                if location is None and id >= 0:
                    table = store.table
                    keysize = table.keysize
                    at = id * keysize
                    location = _from_bytes(table.map[at : at + keysize], "big")
                if location:
                    position = location & POSITION_MASK
                    mapped = store.files.maps[location >> 32]
                    size, crc, _ = _unpack_header(mapped, position)
                    position += HEADER_SIZE
                    data = mapped[position : position + size]
                    if size and version == store.version and crc32(data) == crc:
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
            store, version, mapped, at, size = there
            if 0 <= start < size:
                stop = start + len(buffer)
                if stop > size:  # noqa: PLR1730 - min() costs a tenth of the call
                    stop = size
                buffer[: stop - start] = memoryview(mapped)[at + start : at + stop]
                if version == store.version:
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
                version = store.version
                location = store.overlay.get(id)
                if location is None:
                    table = store.table
                    at = id * table.keysize
                    location = _from_bytes(table.map[at : at + table.keysize], "big")
                files = store.files
                if 0 <= start <= stop <= files.verified[location]:
                    at = (location & POSITION_MASK) + HEADER_SIZE
                    data = files.maps[location >> 32][at + start : at + stop]
                    if version == store.version:
                        return data
            except (KeyError, ValueError):
                pass  # not mapped that far, not verified, or closed: the general way tells
        return part_of(self.read_into, id, start, stop)

    def _verified(self, record_id: int) -> tuple[Store, int, mmap, int, int] | None:
        """Return where the data of a record is that was verified before: store, its version, map, position, size; None says nothing."""
        # Written plainly, as `get`.
        store = self._store
        if record_id.__class__ is not int or record_id < 0 or self._commits.transaction is not None or self.read_only:
            return None
        version = store.version
        try:
            location = store.overlay.get(record_id)
            if location is None:
                table = store.table
                keysize = table.keysize
                at = record_id * keysize
                location = _from_bytes(table.map[at : at + keysize], "big")
            files = store.files
            size = files.verified[location]
            return store, version, files.maps[location >> 32], (location & POSITION_MASK) + HEADER_SIZE, size
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
        for _ in range(TRIES):
            with suppress(SnapshotOvertaken), self._while_open(), self.snapshot() as then:
                return read(then)
        with self._while_open(), self.snapshot() as then:
            return read(then)

    def get_history(self, id: int, depth: int) -> list[bytes]:
        """Return the newest *depth* versions of a record, newest first.

        Raises RecordNotFound, CorruptRecord, ValueError for a negative *depth*. Reads one record a version.
        """
        is_usual = id.__class__ is int and id >= 0 and depth.__class__ is int
        if is_usual and self._commits.transaction is None and not self.read_only:
            versions = self._store.mapped_history(id, depth)
            if versions is not None:
                return versions
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
