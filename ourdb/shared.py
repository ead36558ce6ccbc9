"""Reading beside a writer in another process: what a read-only handle sees, and how it moves on.

A read-only handle holds no lock and writes nothing. Its overlay is the journal replayed in memory. While the epoch in
`lookup/.ourdb` stays the same, the table stays as it is, so overlay and table together are one committed state. When
the epoch has moved (a checkpoint started or ended), the handle replays anew before it answers.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from ourdb.compaction import SwitchingFiles, is_switching, switching_path
from ourdb.config import Config
from ourdb.disk import Disk
from ourdb.errors import OurDBError, SnapshotOvertaken
from ourdb.folder import lookup_path
from ourdb.identity import Identity, identity_path
from ourdb.joining import read_pointer
from ourdb.journal import Journal, journal_path
from ourdb.lookup import LookupTable
from ourdb.record_files import RecordFiles
from ourdb.recovery import members_of, replay
from ourdb.snapshot import Snapshot
from ourdb.store import Inlined, Store

__all__ = ["AbsentIdentity", "SharedSnapshot", "Viewer"]

_TRIES: Final = 1000
_SWITCH_SECONDS: Final = 0.005
_SWITCH_TRIES: Final = 100
"""Looks, half a second in all, after which a compaction that puts its files in place counts as killed: it takes a few ms."""

_T = TypeVar("_T")

_viewers: weakref.WeakSet[Viewer] = weakref.WeakSet()


class AbsentIdentity(Identity):
    """Stands for the missing `lookup/.ourdb` of a folder that only the original has written."""

    def __init__(self, disk: Disk, folder: str, config: Config) -> None:
        self._disk = disk
        self.path = identity_path(folder)
        self.config = config
        self.identity = bytes(16)

    @property
    def epoch(self) -> bytes:
        """Changes once: when a writer makes the file."""
        return b"present" if self._disk.exists(self.path) else b""

    @property
    def holder(self) -> int:
        """Nobody holds what has no identity."""
        return 0

    def close(self) -> None:
        """There is nothing to close."""


class Viewer:
    """What one read-only database, or two joined ones, see: one committed state at a time."""

    def __init__(self, disk: Disk, store: Store) -> None:
        self._disk = disk
        self.stores = [store]
        self._lock = threading.RLock()
        self._epochs: list[bytes] = []
        _viewers.add(self)

    def after_fork(self) -> None:
        """Begin anew in a forked child: another thread, which is not there, may have held the lock, amid a replay."""
        self._lock = threading.RLock()
        self._epochs = []

    def add(self, store: Store) -> None:
        """View another database together with this one."""
        with self._lock:
            if store not in self.stores:
                self.stores.append(store)
                self.refresh()

    def remove(self, store: Store) -> None:
        """View a database no longer, which is going to be closed; the other one stays on view as it is."""
        with self._lock:
            kept = [number for number, one in enumerate(self.stores) if one is not store]
            epochs = [self._epochs[number] for number in kept]
            self.stores, self._epochs = [self.stores[number] for number in kept], epochs

    def _current(self) -> list[bytes]:
        while True:
            stores = self.stores
            try:
                return [store.identity.epoch for store in stores]
            except ValueError:  # one was closed meanwhile
                if stores is self.stores:
                    raise

    def refresh(self) -> None:
        """Move on to the newest committed state."""
        with self._lock:
            is_second_look = False
            for attempt in range(_TRIES):
                epochs = self._current()
                if attempt < _SWITCH_TRIES and any(is_switching(self._disk, store.folder) for store in self.stores):
                    time.sleep(_SWITCH_SECONDS)
                    continue
                if b"present" in epochs:
                    raise OurDBError(
                        f"{self.stores[0].folder}: a writer has taken over the folder; open it again to read"
                    )
                # A checkpoint may take the journal away, or write it anew, under our eyes: then the epoch has moved.
                problem: OurDBError | None = None
                try:
                    self._replay()
                except OurDBError as error:
                    problem = error
                except FileNotFoundError:
                    continue
                if epochs == self._current():
                    if problem is not None:
                        if is_second_look:
                            raise problem
                        is_second_look = True  # a journal that is just being begun looks damaged for a moment
                        continue
                    self._epochs = epochs
                    for store in self.stores:
                        store.version += 1
                    return
            raise OurDBError(
                f"{self.stores[0].folder}: the writer checkpoints faster than this process can read; try again"
            )

    def _replay(self) -> None:
        for store in self.stores:
            self._reopen_if_replaced(store)
            store.load()
        folders = {self._journal_folder(store) for store in self.stores}
        inlined: dict[Store, Inlined] = {}
        for folder in folders:
            with suppress(FileNotFoundError):
                journal = Journal(self._disk, journal_path(folder), read_only=True)
                try:
                    members = members_of(journal.read_header(), self.stores)
                    if members or journal.header is None:
                        inlined |= replay(journal, members, restore=False)
                finally:
                    journal.close()
        for store in self.stores:
            # All at once: a snapshot of the same generation, in another thread, reads by them. And of this replay only:
            # where the journal is gone, a compaction may have put other records at those locations.
            store.inlined = inlined.get(store, {})

    def _reopen_if_replaced(self, store: Store) -> None:
        """Open the table and the record files anew if a compaction has put others in their place, or was killed meanwhile."""
        disk, config, folder = self._disk, store.config, store.folder
        path = lookup_path(folder)
        files: RecordFiles
        if is_switching(disk, folder):
            path, files = switching_path(disk, path), SwitchingFiles(disk, folder)
        elif type(store.files) is RecordFiles and store.table.is_in_place():
            return
        else:
            files = RecordFiles(disk, folder, read_only=True)
        store.table = LookupTable(disk, path, config.keysize, config.record_nr_max, read_only=True)
        store.files = files

    def _journal_folder(self, store: Store) -> str:
        pointer = read_pointer(self._disk, store.folder)
        return pointer.folder if pointer is not None and pointer.has_journal else store.folder

    def locate(self, store: Store, record_id: int) -> int:
        """Return a record's location in the state on view, moving on if the writer has."""
        with self._lock:
            while True:
                if self._current() != self._epochs:
                    self.refresh()
                location = store.locate(record_id)
                if self._current() == self._epochs:
                    return location

    def stable(self, current: Callable[[], Store], read: Callable[[Store], _T]) -> _T:
        """Return what *read* gives, again if the writer went on meanwhile: other files may be in place by then."""
        while True:
            with self._lock:
                if self._current() != self._epochs:
                    self.refresh()
                epochs = self._epochs
            try:
                result = read(current())
            except (OurDBError, FileNotFoundError):
                if epochs == self._current():
                    raise
                continue
            if epochs == self._current():
                return result

    def snapshot(self, store: Store) -> SharedSnapshot:
        """Hold the state on view for as long as the writer leaves it in place."""
        with self._lock:
            if self._current() != self._epochs:
                self.refresh()
            return SharedSnapshot(store, self._epochs[self.stores.index(store)])


def _after_fork() -> None:
    for viewer in tuple(_viewers):
        viewer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class SharedSnapshot(Snapshot):
    """A snapshot of another process's database: it can't hold the writer back, so it may be overtaken."""

    def __init__(self, store: Store, epoch: bytes) -> None:
        super().__init__(store)
        self._overlay = store.overlay
        self._epoch = epoch

    def confirm(self) -> None:
        """Raise SnapshotOvertaken if the writer has gone on, DatabaseClosed after closing."""
        super().confirm()
        try:
            epoch = self.store.identity.epoch
        except ValueError:  # the map of a handle that was closed meanwhile
            super().confirm()
            raise
        if epoch != self._epoch:
            raise SnapshotOvertaken(f"{self.store.folder}: the writer has gone on; take a new snapshot")

    def changes(self) -> dict[int, int]:
        """Return where the state differs from the table: id -> location."""
        self.confirm()
        return self._overlay

    def _locate(self, record_id: int) -> int:
        location = self._overlay.get(record_id)
        return self.store.table.slot(record_id) if location is None else location
