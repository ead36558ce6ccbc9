"""One open transaction: what it has changed in each store, not yet committed.

Records go to the record files as they come, behind the committed end, where nobody looks; locations and operations stay
in memory. `commit` writes the journal entry and publishes; without it the records are leftovers that are written over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from ourdb.config import RECORD_DATA_MAX
from ourdb.errors import CorruptRecord, DatabaseClosed, DatabaseFull, OurDBError, RecordNotFound, RecordTooLarge
from ourdb.journal import DELETE, INLINED, OPERATION, POINT, SET
from ourdb.record import PACK_HEADER
from ourdb.record_files import Appender
from ourdb.sets import SETS_MAX, stage_sets
from ourdb.store import Store

__all__ = ["Savepoint", "Stage", "Staged", "Transaction"]

_INLINED_MAX: Final = 1 << 20
"""Bytes of data that a commit carries in the journal; one of more is as quick without, and would wait in memory."""

_COMMIT_MAX: Final = (1 << 32) - 1

_pack_operation: Final = OPERATION.pack

Staged: TypeAlias = "tuple[Store, dict[int, int], list[int], int, int, int, int]"
"""What a commit does to one store, whose records are written: store, pending, zeros, count, next id, file, position.

pending: id -> new location. zeros: what was deleted, see `Store.zeros`. count: how many records more there are. The
records end at *position* in record file *file*.
"""


class Stage(Appender):
    """What an open transaction has changed in one store, not yet committed."""

    __slots__ = ("_before_write", "count", "next_id", "pending", "store", "zeros")

    def __init__(self, store: Store, before_write: Callable[[], object]) -> None:
        super().__init__(store.files, store.config)
        self._before_write = before_write
        self.store = store
        self.pending: dict[int, int] = {}
        self.zeros: list[int] = []
        self.count = 0
        self.next_id = store.next_id

    def locate(self, record_id: int) -> int:
        location = self.pending.get(record_id)
        return self.store.locate(record_id) if location is None else location

    def flush(self) -> None:
        """Write the buffered records."""
        if self.buffer:
            self._before_write()
            super().flush()

    def staged(self) -> Staged:
        """Return what is to be committed."""
        return self.store, self.pending, self.zeros, self.count, self.next_id, self.file, self.position

    def mark(self) -> tuple[int, int, int, int, int]:
        return self.count, self.next_id, len(self.zeros), self.file, self.position

    def return_to(self, mark: tuple[int, int, int, int, int]) -> None:
        self.count, self.next_id, zero_count, file, position = mark
        del self.zeros[zero_count:]
        self.take_back(file, position)


class Savepoint(NamedTuple):
    """How far a transaction was when a nested block began."""

    stages: dict[Stage, tuple[int, int, int, int, int]]
    undo: int
    operations: int
    inlined: int
    sets: int


class Transaction:
    """The changes of one open transaction over all stores of a `Commits`. One thread uses it."""

    def __init__(self, stores: Sequence[Store], inline_max: int, before_write: Callable[[], object]) -> None:
        self.thread = threading.get_ident()
        self.depth = 1
        self._stores = stores
        self._before_write = before_write
        self._stages: dict[Store, Stage] = {}
        self._operations = bytearray()
        self._inlined: list[bytes] = []
        self._inlined_bytes = 0
        self._inline_max = inline_max
        self._undo: list[tuple[Stage, int, int | None]] = []
        self.sets = 0

    def _member(self, store: Store) -> int:
        return 0 if self._stores[0] is store else 1

    def stage(self, store: Store) -> Stage:
        """Return the stage of *store*, made at its first change or read."""
        stage = self._stages.get(store)
        if stage is None:
            if store not in self._stores:  # its handle was closed while this call waited for the lock
                raise DatabaseClosed(f"{store.folder} is closed; open it again with ourdb.new")
            stage = self._stages[store] = Stage(store, self._before_write)
        return stage

    def set(self, store: Store, record_id: object, data: object) -> int:
        """Stage one record and return its id; see `OurDB.set` for ids and errors."""
        if data.__class__ is not bytes:
            data = _as_bytes(data)
        assert isinstance(data, bytes)
        size = len(data)
        if size > RECORD_DATA_MAX:
            raise _too_large(size)
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
            self._inlined_bytes += size
        self._operations += _pack_operation(kind, self._member(store), size, checked, crc, location, previous)
        self.sets += 1
        if self._inlined_bytes > _INLINED_MAX:
            self._inline_no_more()
        return checked

    def set_many(self, store: Store, items: Iterable[tuple[int | None, object]]) -> list[int]:
        """Stage several records, each as `set` does, and return their ids."""
        stage, member = self.stage(store), self._member(store)
        ids: list[int] = []
        iterator = iter(items)
        while some := list(islice(iterator, SETS_MAX)):
            sets = stage_sets(
                store, member, some, stage.file, stage.position, stage.next_id, stage.pending, self._inline_max
            )
            if sets is None:
                ids += [self.set(store, record_id, data) for record_id, data in some]
                continue
            if self.depth > 1:
                for record_id in sets.ids:
                    self._remember(stage, record_id)
            stage.extend(sets.records, sets.end)
            stage.count += sets.created
            if some[0][0] is None:
                stage.next_id += len(some)
            stage.pending.update(zip(sets.ids, sets.locations, strict=True))
            if sets.inlined:
                self._inlined += sets.data
                self._inlined_bytes += sum(map(len, sets.data))
            self._operations += sets.operations
            self.sets += len(some)
            ids += sets.ids
            if self._inlined_bytes > _INLINED_MAX:
                self._inline_no_more()
        return ids

    def _inline_no_more(self) -> None:
        """Let the records stand in their files only: the kinds of the operations, their first bytes, say so."""
        kinds = self._operations[:: OPERATION.size]
        self._operations[:: OPERATION.size] = kinds.replace(bytes((INLINED,)), bytes((SET,)))
        self._inlined, self._inlined_bytes, self._inline_max = [], 0, -1

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
        stage.zeros.append(location << 16 | size)
        stage.count -= 1
        self._operations += _pack_operation(DELETE, self._member(store), size, checked, 0, location, 0)

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
        self._operations += _pack_operation(POINT, self._member(store), 0, record_id, 0, location, previous)

    def _remember(self, stage: Stage, record_id: int) -> None:
        self._undo.append((stage, record_id, stage.pending.get(record_id)))

    def take_all(self) -> tuple[list[Staged], bytearray, list[bytes]]:
        """Write the records that are still buffered, and return what is to be committed; it is kept no longer here.

        Raises OurDBError for more operations than one commit can list.
        """
        count = len(self._operations) // OPERATION.size
        if len(self._operations) + _INLINED_MAX > _COMMIT_MAX:
            raise OurDBError(
                f"{count} operations in one commit, it lists at most {_COMMIT_MAX // OPERATION.size}; make several"
            )
        for stage in self._stages.values():
            stage.flush()
        operations, self._operations = self._operations, bytearray()
        return [stage.staged() for stage in self._stages.values()], operations, self._inlined

    def savepoint(self) -> Savepoint:
        """Enter a nested block: what is staged from here on can be taken back."""
        stages = {stage: stage.mark() for stage in self._stages.values()}
        self.depth += 1
        return Savepoint(stages, len(self._undo), len(self._operations), len(self._inlined), self.sets)

    def leave(self, savepoint: Savepoint, *, keep: bool) -> None:
        """Leave a nested block; without *keep*, take back what was staged in it."""
        if not keep:
            while len(self._undo) > savepoint.undo:
                stage, record_id, location = self._undo.pop()
                if location is None:
                    # Not there, where an error came between this note and the change.
                    stage.pending.pop(record_id, None)
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


def _as_bytes(data: object) -> bytes:
    """Return *data* as bytes; bytearray, memoryview and other buffers are copied. Raises TypeError."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if data is not None and not isinstance(data, (str, int)):
        try:
            return bytes(memoryview(data))  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")


def _too_large(size: int) -> RecordTooLarge:
    """Return the error for *size* bytes of data."""
    return RecordTooLarge(f"{size} bytes of data, a record holds at most {RECORD_DATA_MAX}; nothing was written")
