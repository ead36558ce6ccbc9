"""Where new ids come from, in one database.

A key-value database leaves the choice to us: `Counter` keeps the next id and those freed in record 0. An incremental one
chooses itself: `NextIds` asks it beforehand, `PlaceholderIds` takes one by storing an empty record.

Record 0, little endian:

| field | type | meaning |
|---|---|---|
| magic | 4 bytes | "VIDS" |
| format | u16 | 1 |
| next id | u32 | neither it nor any above was ever given out |
| free count | u32 | n |
| free ids | n x u32 | hints: each is looked up before it is used again |
| crc | u32 | CRC-32 of all before it |

The next id on disk runs ahead by up to 64, so that most creations don't rewrite it; closing writes the exact one. A
kill costs at most those ids and the newer hints; when ids run out, one look through the database finds them again.
"""

from __future__ import annotations

import errno
import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Final, Protocol
from zlib import crc32

from vfs_db.database import Database, HasNextId
from vfs_db.id_list import IdList, id_list

__all__ = [
    "COUNTER_FIELDS",
    "COUNTER_ID",
    "CorruptCounter",
    "Counter",
    "IdSource",
    "NextIds",
    "PlaceholderIds",
    "id_source",
]

COUNTER_ID: Final = 0
COUNTER_FIELDS: Final = (
    ("magic", "4 bytes"),
    ("format", "u16"),
    ("next id", "u32"),
    ("free count", "u32"),
    ("free ids", "n x u32"),
    ("crc", "u32"),
)

_HEAD: Final = struct.Struct("<4sHII")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"VIDS"
_FORMAT: Final = 1
_LEASE: Final = 64
_LOOK: Final = 16
_FREE_STORED_MAX: Final = 16000
_FREE_MAX: Final = 65536
_ID_END: Final = 1 << 32
assert (_HEAD.size, _CRC.size) == (14, 4)


class CorruptCounter(ValueError):
    """Record 0 is not what was written there."""


class IdSource(Protocol):
    """Gives ids out, writes records under them, and takes ids back. One thread at a time."""

    def allocate(self) -> int: ...
    def write(self, items: Iterable[tuple[int, bytes]]) -> None: ...
    def release(self, ids: Iterable[int]) -> None: ...
    def mark(self) -> int: ...
    def commit(self) -> None: ...
    def roll_back(self, mark: int) -> None: ...
    def save(self) -> None: ...
    def extra(self) -> list[tuple[int, bytes]]: ...


def encode_counter(next_id: int, free: Iterable[int]) -> bytes:
    """Return record 0."""
    ids = id_list(free)
    body = _HEAD.pack(_MAGIC, _FORMAT, next_id, len(ids)) + ids.packed
    return body + _CRC.pack(crc32(body))


def decode_counter(data: bytes) -> tuple[int, list[int]]:
    """Return next id and free ids of record 0. Raises CorruptCounter."""
    if len(data) < _HEAD.size + _CRC.size:
        raise CorruptCounter(f"record 0 has {len(data)} bytes, the counter of ids at least {_HEAD.size + _CRC.size}")
    magic, version, next_id, count = _HEAD.unpack_from(data)
    end = _HEAD.size + 4 * count
    if magic != _MAGIC:
        raise CorruptCounter(f"record 0 begins with {magic!r}, a counter of ids with {_MAGIC!r}")
    if version != _FORMAT or end + _CRC.size != len(data):
        raise CorruptCounter(f"record 0 has format {version} and {len(data)} bytes, expected format 1 and {end + 4}")
    if _CRC.unpack_from(data, end)[0] != crc32(data[:end]):
        raise CorruptCounter("record 0 has a wrong checksum")
    return next_id, [one for one in IdList(data[_HEAD.size : end]) if 0 < one < next_id]


def id_source(database: Database, *, is_transactional: bool) -> IdSource:
    """Return the source that fits *database*."""
    if not getattr(database, "incremental_mode", False):
        return Counter(database, is_transactional=is_transactional)
    if isinstance(database, HasNextId):
        return NextIds(database)
    return PlaceholderIds(database)


class Counter:
    """Ids of a key-value database. Without transactions record 0 is written ahead, else with the commit that needs it."""

    def __init__(self, database: Database, *, is_transactional: bool) -> None:
        self._database = database
        self._writes_ahead = not is_transactional
        self._end = getattr(getattr(database, "config", None), "record_nr_max", _ID_END)
        self._next = 1
        self._stored = 1
        self._free: list[int] = []
        self._hints: set[int] = set()
        self._taken = array("I")  # a transaction may take millions
        self._has_searched = False
        self._has_news = False
        self._is_low = False

    @property
    def next_id(self) -> int:
        """No id from here on was given out."""
        return self._next

    def load(self) -> bool:
        """Take over record 0; False if there is none. Raises CorruptCounter."""
        try:
            data = self._database.get(COUNTER_ID)
        except LookupError:
            return False
        self._next, self._free = decode_counter(data)
        # The record may be whole, and an older one: a damaged slot. Ids are given out in order, so the next ones tell.
        self._is_low = any(self._is_used(one) for one in range(self._next, min(self._next + _LOOK, self._end)))
        self._stored = self._next
        self._hints = set(self._free)
        return True

    def start_at(self, next_id: int) -> None:
        """Give out ids from *next_id* on; the next commit writes record 0, whether or not it needs an id."""
        self._next = next_id
        self._stored = 0
        self._is_low = False
        self._has_news = True
        if self._writes_ahead:
            self._write_record(self._limit())

    def allocate(self) -> int:
        """Return an id that is not in use. Raises OSError (ENOSPC) when none is left."""
        while self._free:
            one_id = self._free.pop()
            if one_id in self._hints:
                self._hints.discard(one_id)
                if self._is_used(one_id):
                    continue
            self._taken.append(one_id)
            return one_id
        while self._is_low and self._next < self._end and self._is_used(self._next):
            self._next += 1
        if self._next >= self._end:
            self._search()
            return self.allocate()
        one_id = self._next
        self._next += 1
        if self._writes_ahead and self._next > self._stored:
            self._write_record(self._limit())
        self._taken.append(one_id)
        return one_id

    def _is_used(self, one_id: int) -> bool:
        if hasattr(self._database, "__contains__"):
            return one_id in self._database
        try:
            self._database.get(one_id)
        except LookupError:
            return False
        return True

    def _search(self) -> None:
        """Find ids that were lost to kills, once, by looking through the database."""
        if self._has_searched or not isinstance(self._database, Iterable):
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: all ids below {self._end} are in use")
        self._has_searched = True
        taken = set(self._taken)
        self._free = [one for one in _gaps(self._database, self._end) if one not in taken]

    def write(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Store records under ids given out before."""
        put = self._database.set
        for one_id, data in items:
            put(id=one_id, data=data)

    def release(self, ids: Iterable[int]) -> None:
        """Take back *ids*, whose records are gone."""
        self._free += ids
        del self._free[_FREE_MAX:]
        self._has_searched = False
        self._has_news = True

    def extra(self) -> list[tuple[int, bytes]]:
        """Return what the next commit has to write besides: record 0 when it does not cover all ids given out."""
        if self._next <= self._stored:
            return []
        return [(COUNTER_ID, encode_counter(self._limit(), self._free[:_LEASE]))]

    def _limit(self) -> int:
        return min(self._next + _LEASE - 1, _ID_END - 1)

    def mark(self) -> int:
        """Return what `roll_back` needs to come back to this moment."""
        return len(self._taken)

    def commit(self) -> None:
        """Say that the ids given out, and record 0 where it was due, were committed."""
        del self._taken[:]
        if self._next > self._stored:
            self._stored = self._limit()

    def roll_back(self, mark: int) -> None:
        """Take back the ids that were given out since *mark*."""
        self._free += self._taken[mark:]
        del self._taken[mark:]

    def save(self) -> None:
        """Write record 0 exactly. Does nothing when it is exact already."""
        if self._has_news or self._next != self._stored:
            self._write_record(self._next)
            self._has_news = False

    def _write_record(self, limit: int) -> None:
        self._database.set(id=COUNTER_ID, data=encode_counter(limit, self._free[-_FREE_STORED_MAX:]))
        self._stored = limit


def _gaps(ids: Iterable[int], end: int) -> Iterator[int]:
    """Yield at most 65536 ids from 1 to *end* that are not among *ids*, which ascend."""
    expected, count = 1, 0
    for one_id in chain(ids, (end,)):
        while expected < one_id and count < _FREE_MAX:
            yield expected
            expected += 1
            count += 1
        expected = one_id + 1
        if count >= _FREE_MAX:
            return


class NextIds:
    """Ids of an incremental database that tells the next one: known before anything is written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next_id = database.get_next_id  # type: ignore[attr-defined]
        self._pending: list[int] = []

    def allocate(self) -> int:
        """Return the id that the database will give to the record written next but for those already waiting."""
        one_id: int = self._next_id() + len(self._pending)
        self._pending.append(one_id)
        return one_id

    def write(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Store records; new ones in the order of their ids, with an empty record for an id given out but not used."""
        new = set(self._pending)
        updates = []
        for one_id, data in sorted(items):
            if one_id not in new:
                updates.append((one_id, data))
                continue
            while self._pending[0] != one_id:
                self._insert(self._pending[0], b"")
            self._insert(one_id, data)
        for one_id, data in updates:
            self._database.set(id=one_id, data=data)

    def _insert(self, expected: int, data: bytes) -> None:
        one_id = self._database.set(data=data)
        if one_id != expected:
            raise RuntimeError(
                f"the database gave id {one_id} where {expected} was next; does another program write to it?"
            )
        self._pending.pop(0)

    def release(self, ids: Iterable[int]) -> None:
        """Nothing: an incremental database gives no id twice."""

    def extra(self) -> list[tuple[int, bytes]]:
        return []

    def mark(self) -> int:
        return len(self._pending)

    def commit(self) -> None:
        self._pending.clear()

    def roll_back(self, mark: int) -> None:
        del self._pending[mark:]

    def save(self) -> None:
        """Nothing: the database counts."""


class PlaceholderIds:
    """Ids of an incremental database that does not tell: taken by storing an empty record."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._taken: list[int] = []

    def allocate(self) -> int:
        """Store an empty record and return its id."""
        one_id = self._database.set(data=b"")
        self._taken.append(one_id)
        return one_id

    def write(self, items: Iterable[tuple[int, bytes]]) -> None:
        for one_id, data in items:
            self._database.set(id=one_id, data=data)

    def release(self, ids: Iterable[int]) -> None:
        """Nothing: an incremental database gives no id twice."""

    def extra(self) -> list[tuple[int, bytes]]:
        return []

    def mark(self) -> int:
        return len(self._taken)

    def commit(self) -> None:
        self._taken.clear()

    def roll_back(self, mark: int) -> None:
        """Delete the records of the ids given out since *mark*."""
        taken = self._taken[mark:]
        del self._taken[mark:]
        for one_id in taken:
            with suppress(LookupError):  # freed already
                self._database.delete(one_id)

    def save(self) -> None:
        """Nothing: the database counts."""
