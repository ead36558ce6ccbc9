"""How a change is written and becomes what readers see.

`version` is odd while it happens, so that a reader who looked meanwhile looks again (see `state`).
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from vfs_db import codec
from vfs_db.cache import Prefixes
from vfs_db.change import Change, OpenFile
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.errors import database_error, os_error
from vfs_db.id_list import IdList
from vfs_db.names import KNOWN_WEIGHT, Names
from vfs_db.page import IdPage, NamePage, Page, encode_page
from vfs_db.state import State
from vfs_db.store import Store
from vfs_db.weight import ENTRY_WEIGHT, page_weight, weight_of

__all__ = ["PACKED_SURE", "Publisher", "change_names", "encoded"]

PACKED_SURE: Final = 64000
"""Bytes of ids that an entry holds whatever its name, owner and group."""


class Publisher(State):
    """The state, and how one commit changes it: the databases, the caches, the files that are open."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.open_files: dict[int, weakref.WeakSet[OpenFile]] = {}

    def write(
        self,
        entries: list[tuple[int, bytes]],
        chunks: Sequence[tuple[int, bytes | memoryview]],
        freed_entries: Sequence[int],
        freed_chunks: Sequence[int],
        publish: Callable[[], None],
    ) -> None:
        with self.publishing:
            self.version += 1
            try:
                self.store.write(entries, chunks, freed_entries, freed_chunks)
                publish()
            except BaseException as error:
                self.forget()
                if isinstance(error, Exception):
                    raise database_error(error) from error
                raise
            finally:
                self.version += 1

    def publish(self, change: Change) -> None:
        self.store.committed(change.freed_entries, change.freed_chunks)
        entries = self._entries
        for entry_id, entry in change.entries.items():
            if isinstance(entry, (NamePage, IdPage)):
                self._pages.put(entry_id, entry, page_weight(entry))
                continue
            entries.put(entry_id, entry, weight_of(entry))
            if type(entry) is Directory and type(entry.children) is not IdList:
                self._names.pop(entry_id)  # they would grow without bound
        for entry_id in change.created:
            if entry_id in change.entries and type(change.entries[entry_id]) is Directory:
                self._names.put(entry_id, names := Names(), names.weight())
        if change.names:
            self._publish_names(change)
        for entry_id in change.freed_entries:
            entries.pop(entry_id)
            self._names.pop(entry_id)
            self._pages.pop(entry_id)
            for file in self.open_files.pop(entry_id, ()):
                file.on_deleted()
        if change.moves_paths:
            self.prefixes = Prefixes()

    def _publish_names(self, change: Change) -> None:
        for directory_id, changes in change.names.items():
            names = self._names.get(directory_id)
            if names is not None:
                change_names(names, directory_id, changes, change)
                self._names.put(directory_id, names, names.weight())

    def publish_file(self, file: File, directory: Directory) -> None:
        self.store.committed((), ())
        metadata, directory_id = file.metadata, directory.metadata.id
        self._entries.put(metadata.id, file, ENTRY_WEIGHT + len(metadata.name))
        self._entries.put(directory_id, directory, ENTRY_WEIGHT + len(directory.children.packed))
        names = self._names.grown(directory_id, KNOWN_WEIGHT)
        if names is not None:
            names[metadata.name] = metadata.id

    def check_size(self, entry: Directory | File) -> None:
        if len(codec.encode(entry)) > codec.ENTRY_SIZE_MAX:
            code = errno.EFBIG if type(entry) is File else errno.EMLINK
            raise os_error(code, self.path_or_name(entry))

    def path_or_name(self, entry: Directory | File) -> str:
        """Return the path of *entry*, of one that is about to be made its name."""
        try:
            return self.path_of(entry.metadata.id)
        except FileNotFoundError:
            return entry.metadata.name

    def forget(self) -> None:
        """Empty all caches: what is asked for next is read again."""
        with self.publishing:
            self._entries.clear()
            self._names.clear()
            self._pages.clear()
            self.prefixes = Prefixes()


def change_names(names: Names, directory_id: int, changes: dict[str, int], change: Change) -> None:
    """Bring *names*, those of a directory, up to what *change* did to them."""
    is_gone = None if names.is_complete else partial(change.is_gone, directory_id)
    for name, entry_id in changes.items():
        if entry_id:
            names[name] = entry_id
        else:
            names.pop(name, None)
        if is_gone is not None:
            names.forget_hashes(name, is_gone)


def encoded(items: Iterable[tuple[int, FSEntry | Page]]) -> list[tuple[int, bytes]]:
    """Return entries and pages as the records that hold them."""
    return [
        (one_id, encode_page(one) if isinstance(one, (NamePage, IdPage)) else codec.encode(one))
        for one_id, one in items
    ]
