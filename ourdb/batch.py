"""One commit of whole sets and deletes, over one database or two joined ones, without an open transaction.

The same as a transaction of the same changes, written out for the usual case: it takes half of the time. Whatever is
not usual (a journal to be opened, a record file to be begun, an argument to be refused) is left to `ourdb.commits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias
from zlib import crc32

from ourdb.commits import INLINE_MAX, Commits
from ourdb.config import RECORD_DATA_MAX
from ourdb.errors import CorruptRecord
from ourdb.journal import DELETE, INLINED, OPERATION, SET
from ourdb.record import HEADER_SIZE, PACK_HEADER
from ourdb.record_files import RecordFiles
from ourdb.store import Store
from ourdb.transaction import Staged

__all__ = ["Part", "Sets", "commit_batch"]

_BYTES_MAX: Final = 16 << 20
"""More than this is written in pieces, by a transaction."""

_NO_PREVIOUS: Final = bytes(6)
_pack_operation: Final = OPERATION.pack
_from_bytes: Final = int.from_bytes  # looked up once: half of what a call costs

Sets: TypeAlias = "Sequence[tuple[int | None, bytes | memoryview]]"
"""(id, data) to set, in this order; None is a new id."""

Part: TypeAlias = "tuple[int, Sets, Sequence[int]]"
"""What is to be done to one database: its member number, what to set, then ids to delete."""


def commit_batch(commits: Commits, parts: Sequence[Part]) -> list[int] | None:
    """Commit *parts*, and return the ids that were set; None, and nothing is changed, where the general way has to do it.

    Called with `commits.lock` held. Durable as `Commits.after_commit` leaves it: at "full" the caller waits for its sync.
    """
    if commits.journal is None or commits.transaction is not None or commits.refusal is not None:
        return None
    operations: list[bytes] = []
    inlined: list[bytes | memoryview] | None = [] if commits.synchronous == "full" else None
    ids: list[int] = []
    stages: list[Staged] = []
    writes: list[tuple[RecordFiles, list[bytes | memoryview], int]] = []
    for member, sets, deletes in parts:
        store = commits.stores[member]
        records: list[bytes | memoryview] = []
        stage = _stage_sets(store, sets, member, records, operations, inlined, ids)
        if stage is not None and deletes:
            stage = _stage_deletes(stage, deletes, member, operations)
        if stage is None:
            return None
        stages.append(stage)
        if records:
            files = store.files
            writes.append((files, records, stage[-1] - files.end_position))
    if not operations:
        return ids
    for files, records, size in writes:
        files.write_parts(records, size)
    commits.append(stages, b"".join(operations), inlined or (), has_sets=bool(ids))
    commits.after_commit()
    return ids


def _is_plain(data: object) -> bool:
    return type(data) is memoryview and data.contiguous and data.nbytes == len(data)


def _stage_sets(
    store: Store, sets: Sets, member: int, records: list[bytes | memoryview], operations: list[bytes],
    inlined: list[bytes | memoryview] | None, ids: list[int],
) -> Staged | None:  # fmt: skip
    config, overlay, files = store.config, store.overlay, store.files
    keysize, slots, id_end, limit = config.keysize, store.table.map, config.record_nr_max, store.plain_limit
    first = position = files.end_position
    end_file, next_id, count = files.end_file << 32, store.next_id, 0
    kind, size_max = (SET, RECORD_DATA_MAX) if inlined is None else (INLINED, INLINE_MAX)
    pending: dict[int, int] = {}
    for record_id, data in sets:
        if (data.__class__ is not bytes and not _is_plain(data)) or position >= limit:
            return None
        size = len(data)
        if size > size_max:
            return None
        previous: int | None = 0
        if record_id is None:
            if not config.incremental_mode or next_id >= id_end:
                return None
            record_id = next_id  # noqa: PLW2901 - the id that None asks for
            next_id += 1
        else:
            if record_id.__class__ is not int or not 0 <= record_id < id_end:
                return None
            previous = pending.get(record_id)
            if previous is None:
                previous = overlay.get(record_id)
                if previous is None:
                    at = record_id * keysize
                    previous = _from_bytes(slots[at : at + keysize], "big")
            if not previous and config.incremental_mode:
                return None
        crc, location = crc32(data), end_file | position
        if previous:
            records.append(PACK_HEADER(size, crc, previous.to_bytes(6, "big")))
        else:
            records.append(PACK_HEADER(size, crc, _NO_PREVIOUS))
            count += 1
        records.append(data)
        position += HEADER_SIZE + size
        if inlined is not None:
            inlined.append(data)
        pending[record_id] = location
        operations.append(_pack_operation(kind, member, size, record_id, crc, location, previous))
        ids.append(record_id)
    if position - first > _BYTES_MAX:
        return None
    return store, pending, [], count, next_id, files.end_file, position


def _stage_deletes(stage: Staged, deletes: Sequence[int], member: int, operations: list[bytes]) -> Staged | None:
    store, pending, zeros, count, next_id, file, position = stage
    for record_id in deletes:
        if record_id.__class__ is not int or not 0 <= record_id < store.config.record_nr_max or record_id in pending:
            return None
        location = store.locate(record_id)
        if not location:
            return None
        try:
            size = len(store.record(location)[0])
        except CorruptRecord:
            return None  # the general way empties the slot only: zeros could run into another record
        pending[record_id] = 0
        zeros.append(location << 16 | size)
        operations.append(_pack_operation(DELETE, member, size, record_id, 0, location, 0))
    return store, pending, zeros, count - len(deletes), next_id, file, position
