"""One fixed state of a database, for reading.

What is read counts only if the state was still there afterwards (`confirm`): a state of another process may be overtaken
while it is read, one of this process may be let go by another thread.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, Self, TypeVar

from ourdb.errors import DatabaseClosed, IdOutOfRange
from ourdb.store import Keeper, Store, part_of

__all__ = ["Snapshot"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Snapshot:
    """One fixed state of a database, for reading; a context manager.

    `get`, `get_history`, `in`, `len`, iteration and `items` answer as the database did when the snapshot was taken.
    Taking one costs nothing; while it is open, checkpoints wait, and each record changed meanwhile costs some bytes.
    Closing the database closes its snapshots. Every method raises SnapshotOvertaken where another process's checkpoint
    removed the state, DatabaseClosed after closing.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.files = store.files
        self.end = store.files.end_file, store.files.end_position
        self.next_id = store.next_id
        self.inlined = store.inlined
        self._seen: dict[int, int] = {}
        self._is_open = True
        # A snapshot that is forgotten, not closed, must not keep checkpoints waiting.
        self._reference: weakref.ref[Keeper] = weakref.ref(self, store.snapshots.discard)
        store.snapshots.add(self._reference)

    def keep(self, record_id: int, location: int) -> None:
        """Remember where a record was before a commit replaces it."""
        self._seen.setdefault(record_id, location)

    def confirm(self) -> None:
        """Raise an error if the state is not there any more: what was read of it since then may be of another."""
        if not self._is_open:
            raise DatabaseClosed(f"this snapshot of {self.store.folder} is closed; take a new one")

    def _confirmed(self, read: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        """Return what *read* gives, if the state is still there then; an error, too, is the state's only then."""
        try:
            result = read(*arguments, **options)
        except Exception:
            self.confirm()
            raise
        self.confirm()
        return result

    def _locate(self, record_id: int) -> int:
        # The current location first: a commit notes the old one before it publishes the new.
        location = self.store.locate(record_id)
        return self._seen.get(record_id, location)

    def locate(self, record_id: int) -> int:
        """Return where the record was, 0 if it was not there."""
        return self._confirmed(self._locate, record_id)

    def get(self, record_id: int) -> bytes:
        """Return the record's data. Raises RecordNotFound, IdOutOfRange, CorruptRecord."""
        if record_id.__class__ is int and record_id >= 0 and self._is_open:  # the short path: a third of the time
            try:
                data = self.store.mapped(self._locate(record_id))
            except ValueError:
                data = None  # the maps were closed meanwhile: the general way tells
            if data is not None:
                self.confirm()
                return data
        return self._confirmed(self.store.read, self.store.check_id(record_id), self._locate)

    def read_into(self, record_id: int, buffer: memoryview, start: int = 0) -> int:
        """Copy a part of the record's data, see `OurDB.read_into`. Errors as `get`."""
        return self._confirmed(self.store.read_into, self.store.check_id(record_id), buffer, start, self._locate)

    def read_part(self, record_id: int, start: int, stop: int) -> bytes:
        """Return a part of the record's data, see `OurDB.read_part`. Errors as `get`."""
        return part_of(self.read_into, record_id, start, stop)

    def get_many(self, ids: Iterable[int]) -> list[bytes]:
        """Return the data of several records, in the order of *ids*. Errors as `get`."""
        return [self.get(record_id) for record_id in ids]

    def get_history(self, record_id: int, depth: int) -> list[bytes]:
        """Return the newest *depth* versions, newest first. Errors as `get`; reads one record a version."""
        return self._confirmed(self.store.history, self.store.check_id(record_id), depth, self._locate)

    def changes(self) -> dict[int, int]:
        """Return where the state differs from the table: id -> location."""
        self.confirm()
        return self.store.overlay | self._seen

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield (id, location), ascending. Reads the table as it goes: O(ids), 48 KiB of slots at a time."""
        changes = self.changes()
        try:
            yield from self.store.items(changes, self.confirm)
        except Exception:
            self.confirm()
            raise

    def __iter__(self) -> Iterator[int]:
        return (record_id for record_id, _ in self.items())

    def __len__(self) -> int:
        """Return how many records there are. Reads the table: O(ids)."""
        return sum(1 for _ in self.items())

    def __contains__(self, record_id: object) -> bool:
        try:
            return bool(self.locate(self.store.check_id(record_id)))
        except (TypeError, IdOutOfRange):
            return False

    def close(self) -> None:
        """Let go of the state; checkpoints may go on. Closing twice does nothing."""
        if self._is_open:
            self._is_open = False
            self.store.snapshots.discard(self._reference)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.store.folder!r}{'' if self._is_open else ', closed'}>"
