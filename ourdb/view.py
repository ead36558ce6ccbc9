"""What a handle reads through: its own commits, or (`ourdb.shared`) those of the process that writes."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Final, Protocol, TypeVar

from ourdb.commits import Commits
from ourdb.errors import OurDBError
from ourdb.snapshot import Snapshot
from ourdb.store import Store

__all__ = ["OwnView", "View"]

_T = TypeVar("_T")

_SWITCH_SECONDS: Final = 0.001


class View(Protocol):
    """One committed state at a time, of one store or two joined ones."""

    def locate(self, store: Store, record_id: int) -> int:
        """Return where a record of *store* is, 0 if it is not there."""
        ...

    def stable(self, current: Callable[[], Store], read: Callable[[Store], _T]) -> _T:
        """Return what *read* gives of the *current* store, again where its files were replaced meanwhile."""
        ...

    def snapshot(self, store: Store) -> Snapshot:
        """Return the state of *store* as it is now."""
        ...

    def refresh(self) -> None:
        """See the newest commits from now on."""
        ...


class OwnView:
    """What the process that writes sees: every commit, and this thread's open transaction."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def locate(self, store: Store, record_id: int) -> int:
        """Return where a record is for this thread."""
        transaction = self._commits.my_transaction()
        return store.locate(record_id) if transaction is None else transaction.locate(store, record_id)

    def stable(self, current: Callable[[], Store], read: Callable[[Store], _T]) -> _T:
        """Return what *read* gives of one store; a compaction may put another in place meanwhile."""
        while True:
            store = current()
            try:
                result = read(store)
                if not store.files.is_replaced:
                    return result
            except OurDBError:
                if store is current() and not store.files.is_replaced:
                    raise
            while store is current() and store.files.is_replaced:
                if self._commits.refusal is not None:
                    raise self._commits.refusal()
                sleep(_SWITCH_SECONDS)

    def snapshot(self, store: Store) -> Snapshot:
        """Return the committed state as it is now; the short path of `set` is closed, as it keeps nothing for it."""
        with self._commits.publishing:
            self._commits.plain = False
            return Snapshot(store)

    def refresh(self) -> None:
        """Nothing is to be done: it always sees its own commits."""
