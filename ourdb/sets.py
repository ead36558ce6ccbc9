"""Many sets to one database at once: their records, locations and journal operations.

The same as one after the other, with the loops in the interpreter's own functions (`map`, `zip`): in half of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain, repeat
from typing import Final, NamedTuple
from zlib import crc32

from ourdb.config import RECORD_DATA_MAX
from ourdb.journal import INLINED, OPERATION, SET
from ourdb.record import HEADER_SIZE, PACK_HEADER
from ourdb.store import Store

__all__ = ["SETS_MAX", "Sets", "stage_sets"]

SETS_MAX: Final = 128
"""Sets that are staged at once; what more gains is less than one can measure, and the largest records are 8 MiB then."""

_NO_PREVIOUS: Final = bytes(6)
_ID: Final = {int}
_NO_ID: Final = {type(None)}
_DATA: Final = {bytes}
_pack_operation: Final = OPERATION.pack
_from_bytes: Final = int.from_bytes  # looked up once: half of what a call costs
_with_header: Final = HEADER_SIZE.__add__


class Sets(NamedTuple):
    """Sets, ready to be written: *records* belong at the first of *locations*, and end at position *end*."""

    ids: Sequence[int]
    data: Sequence[bytes]
    locations: list[int]
    records: bytes
    operations: bytes
    end: int
    created: int
    inlined: bool


def stage_sets(
    store: Store,
    member: int,
    items: Sequence[tuple[int | None, object]],
    file: int,
    position: int,
    next_id: int,
    pending: dict[int, int],
    inline_max: int,
) -> Sets | None:
    """Return what setting *items* (id, data) takes, from *position* in record file *file* on; None where it has to be looked at one by one.

    That is: an id twice, ids and None mixed, an argument to be refused, a record file that becomes full. *pending*: id ->
    location of what is staged and not committed yet. Data of up to *inline_max* bytes goes into the journal, too.
    """
    ids: Sequence[int]
    given, data = zip(*items, strict=True)
    kinds, count, config = set(map(type, given)), len(given), store.config
    if set(map(type, data)) != _DATA:
        return None
    sizes = list(map(len, data))
    largest = max(sizes)
    if position >= store.plain_limit or largest > RECORD_DATA_MAX or min(sizes) <= inline_max < largest:
        return None
    if kinds == _NO_ID and config.incremental_mode:
        ids, previous = range(next_id, next_id + count), None
        if ids.stop > config.record_nr_max:
            return None
    elif kinds == _ID:
        ids = given
        if min(ids) < 0 or max(ids) >= config.record_nr_max or len(set(ids)) < count:
            return None
        previous = _previous(store, ids, pending)
        if config.incremental_mode and (previous is None or 0 in previous):
            return None
    else:
        return None
    locations = list(accumulate(map(_with_header, sizes), initial=file << 32 | position))
    end = locations.pop() - (file << 32)
    if end - HEADER_SIZE - sizes[-1] >= store.plain_limit:
        return None
    crcs = list(map(crc32, data))
    if previous is None:
        headers = map(PACK_HEADER, sizes, crcs, repeat(_NO_PREVIOUS))
        created = count
    else:
        headers = map(PACK_HEADER, sizes, crcs, [one.to_bytes(6, "big") for one in previous])
        created = previous.count(0)
    is_inlined = largest <= inline_max
    operations = map(
        _pack_operation,
        repeat(INLINED if is_inlined else SET), repeat(member), sizes, ids, crcs, locations, previous or repeat(0),
    )  # fmt: skip
    records = b"".join(chain.from_iterable(zip(headers, data, strict=True)))
    return Sets(ids, data, locations, records, b"".join(operations), end, created, is_inlined)


def _previous(store: Store, ids: Sequence[int], pending: dict[int, int]) -> list[int] | None:
    """Return where the present versions are, 0 for none; None if there is none of any."""
    overlay, slots, keysize = store.overlay, store.table.map, store.config.keysize
    first, last = min(ids), max(ids)
    if last - first < 2 * len(ids) and pending.keys().isdisjoint(ids) and overlay.keys().isdisjoint(ids):
        span = slots[first * keysize : (last + 1) * keysize]
        if span.count(0) == len(span):
            return None
    found = []
    for record_id in ids:
        location = pending.get(record_id)
        if location is None:
            location = overlay.get(record_id)
            if location is None:
                at = record_id * keysize
                location = _from_bytes(slots[at : at + keysize], "big")
        found.append(location)
    return found
