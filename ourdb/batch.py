"""One commit of whole sets and deletes, over one database or two joined ones, without an open transaction.

The same as a transaction of the same changes, written out for the usual case: it takes half of the time. Whatever is
not usual (a journal to be opened, a record file to be begun, an argument to be refused) is left to `ourdb.commits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

from ourdb.commits import INLINE_MAX, Commits
from ourdb.config import RECORD_DATA_MAX
from ourdb.errors import CorruptRecord
from ourdb.journal import DELETE, INLINED, OPERATION, SET
from ourdb.record import HEADER_SIZE, PACK_HEADER
from ourdb.store import Store

__all__ = ["Part", "commit_batch"]

_BYTES_MAX: Final = 16 << 20
"""More than this is written in pieces, by a transaction."""

_NO_PREVIOUS: Final = bytes(6)
_pack_operation: Final = OPERATION.pack


class Part(NamedTuple):
    """What is to be done to one database: (id, data) to set, in this order, then ids to delete."""

    store: Store
    sets: Sequence[tuple[int | None, bytes | memoryview]]
    deletes: Sequence[int] = ()


class _Staged(NamedTuple):
    """The same, ready to be written and published; see `ourdb.commits.Staged`."""

    store: Store
    records: list[bytes | memoryview]
    file: int
    position: int
    next_id: int
    pending: dict[int, int]
    zeros: list[tuple[int, int]]
    count: int  # type: ignore[assignment] # NamedTuple's own `count` is not asked for


def commit_batch(commits: Commits, parts: Sequence[Part]) -> list[int] | None:
    """Commit *parts*, and return the ids that were set; None, and nothing is changed, where the general way has to do it.

    Called with `commits.lock` held. Durable as `Commits.after_commit` leaves it: at "full" the caller waits for its sync.
    """
    journal = commits.journal
    if journal is None or commits.transaction is not None or commits.refusal is not None:
        return None
    operations: list[bytes] = []
    inlined: list[bytes | memoryview] | None = [] if commits.synchronous == "full" else None
    ids: list[int] = []
    staged: list[_Staged] = []
    for part in parts:
        if part.sets or part.deletes:
            member = commits.index(part.store)
            one = _stage_sets(part.store, part.sets, member, operations, inlined, ids)
            if one is not None and part.deletes:
                one = _stage_deletes(one, part.deletes, member, operations)
            if one is None:
                return None
            staged.append(one)
    if not operations:
        return ids
    for one in staged:
        if one.records:
            one.store.files.write_parts(one.records)
    commits.append(staged, b"".join(operations), inlined or (), has_sets=bool(ids))
    commits.after_commit()
    return ids


def _is_plain(data: object) -> bool:
    return type(data) is memoryview and data.contiguous and data.nbytes == len(data)


def _stage_sets(
    store: Store, sets: Sequence[tuple[int | None, bytes | memoryview]], member: int, operations: list[bytes],
    inlined: list[bytes | memoryview] | None, ids: list[int],
) -> _Staged | None:  # fmt: skip
    config, overlay, files = store.config, store.overlay, store.files
    keysize, slots, id_end, limit = config.keysize, store.table.map, config.record_nr_max, store.plain_limit
    first = position = files.end_position
    end_file, next_id, count = files.end_file << 32, store.next_id, 0
    size_max = RECORD_DATA_MAX if inlined is None else INLINE_MAX
    pending: dict[int, int] = {}
    records: list[bytes | memoryview] = []
    for record_id, data in sets:
        if (data.__class__ is not bytes and not _is_plain(data)) or len(data) > size_max or position >= limit:
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
                    previous = int.from_bytes(slots[at : at + keysize], "big")
            if config.incremental_mode and not previous:
                return None
        size, crc, location = len(data), crc32(data), end_file | position
        if previous:
            records.append(PACK_HEADER(size, crc, previous.to_bytes(6, "big")))
        else:
            records.append(PACK_HEADER(size, crc, _NO_PREVIOUS))
            count += 1
        records.append(data)
        position += HEADER_SIZE + size
        kind = SET
        if inlined is not None:
            kind = INLINED
            inlined.append(data)
        pending[record_id] = location
        operations.append(_pack_operation(kind, member, size, record_id, crc, location, previous))
        ids.append(record_id)
    if position - first > _BYTES_MAX:
        return None
    return _Staged(store, records, files.end_file, position, next_id, pending, [], count)


def _stage_deletes(staged: _Staged, deletes: Sequence[int], member: int, operations: list[bytes]) -> _Staged | None:
    store, pending, id_end = staged.store, staged.pending, staged.store.config.record_nr_max
    for record_id in deletes:
        if record_id.__class__ is not int or not 0 <= record_id < id_end or record_id in pending:
            return None
        location = store.locate(record_id)
        if not location:
            return None
        try:
            size = len(store.record(location)[0])
        except CorruptRecord:
            return None  # the general way empties the slot only: zeros could run into another record
        pending[record_id] = 0
        staged.zeros.append((location, HEADER_SIZE + size))
        operations.append(_pack_operation(DELETE, member, size, record_id, 0, location, 0))
    return staged._replace(count=staged.count - len(deletes))
