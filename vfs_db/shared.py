"""Reading beside a writer in another process: one committed state at a time, and on to the next when it is overtaken.

Both databases are read through snapshots, taken together, so that content and entries fit. When the writer has gone on
so far that a snapshot can't be read any more, both are taken anew, what was cached is forgotten, and the call begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from vfs_db.commit import WritableState
from vfs_db.entries import FSEntry
from vfs_db.errors import Overtaken, database_error
from vfs_db.store import Store

__all__ = ["SharedState"]

_T = TypeVar("_T")

_TRIES: Final = 100


class SharedState(WritableState):
    """The state of databases that this process only reads."""

    def __init__(self, store: Store, *, timeout: float = 0.0) -> None:
        super().__init__(store, timeout=timeout)
        self._take_snapshots()

    def _take_snapshots(self) -> None:
        data: Any = self.databases.data
        metadata: Any = self.databases.metadata
        with self.publishing:
            self.store = Store.of_snapshots(data.snapshot(), metadata.snapshot())
            self.forget()
            self.version += 2

    def _check_current(self) -> None:
        """Raise Overtaken when the writer has gone on: answers from the caches would be of the past for ever."""
        self.check_open()
        try:
            0 in self.store.metadata  # type: ignore[operator]  # noqa: B015 - looking is what tells
        except Exception as error:
            raise database_error(error) from error

    def peek(self, path: str, follow: bool) -> None:  # noqa: ARG002
        """Return None: what is cached counts only after a look at whether the writer has gone on."""
        return

    def cached(self, entry_id: int) -> FSEntry | None:  # noqa: ARG002
        """Return None, as `peek`."""
        return None

    def read(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Return what *function* gives of one committed state."""
        for _ in range(_TRIES):
            try:
                self._check_current()
                return super().read(function, *arguments)
            except Overtaken:
                self._take_snapshots()
        return super().read(function, *arguments)

    def refresh(self) -> None:
        """Move on to the newest committed state."""
        with self.publishing:  # another thread's two snapshots are to be of one state
            self.databases.each("refresh")
            self._take_snapshots()
