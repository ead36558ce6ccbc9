"""What a filesystem needs of a database, and the smallest one.

Three methods suffice. What a database can do besides is a protocol of its own, and used when it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

__all__ = [
    "Database",
    "DatabaseSnapshot",
    "HasNextId",
    "HasSnapshot",
    "HasTransaction",
    "MemoryDatabase",
]


class Database(Protocol):
    """Records of at most 65535 bytes under ids 0 to 2^32 - 1.

    An attribute ``incremental_mode = True`` says that the database chooses new ids itself (`set` without id), counting
    up from 1; without it, or when false, the filesystem chooses them.
    """

    def get(self, id: int, /) -> bytes:
        """Return the record under *id*. Raises LookupError (KeyError) when there is none."""

    def set(self, *, data: bytes, id: int | None = None) -> int:
        """Store *data* under *id*, replacing what was there, and return the id. None: under a new id."""

    def delete(self, id: int, /) -> object:
        """Forget the record under *id*."""


@runtime_checkable
class HasTransaction(Protocol):
    """Changes in the with-block are committed together, or, after an exception, not at all. Nests."""

    def transaction(self) -> AbstractContextManager[object]: ...


@runtime_checkable
class HasNextId(Protocol):
    """The id that the next `set` without id gives."""

    def get_next_id(self) -> int: ...


class DatabaseSnapshot(Protocol):
    """One fixed state of a database."""

    def get(self, id: int, /) -> bytes: ...


@runtime_checkable
class HasSnapshot(Protocol):
    """One fixed state, however long it is read."""

    def snapshot(self) -> AbstractContextManager[DatabaseSnapshot]: ...


class MemoryDatabase:
    """A dictionary of records; nothing outlives the object. Raises KeyError for an id that was never set."""

    def __init__(self, *, incremental_mode: bool = False) -> None:
        self.incremental_mode = incremental_mode
        self._records: dict[int, bytes] = {}
        self._next_id = 1

    def get(self, id: int) -> bytes:
        return self._records[id]

    def set(self, *, data: bytes, id: int | None = None) -> int:
        if id is None:
            if not self.incremental_mode:
                raise ValueError("id must be provided when incremental is disabled")
            id = self._next_id
            self._next_id += 1
        elif self.incremental_mode and id not in self._records:
            raise ValueError("cannot set id for insertions when incremental mode is enabled")
        self._records[id] = bytes(data)
        return id

    def delete(self, id: int) -> None:
        del self._records[id]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self)} records>"
