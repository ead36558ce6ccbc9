"""What an operation is about to change, and what an open transaction has changed so far."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol, TypeVar

from vfs_db.cache import Cache, Prefixes
from vfs_db.chunk_tree import ChunkIds
from vfs_db.entries import Directory, File, FSEntry, Symlink, is_at
from vfs_db.id_list import NO_IDS, IdList
from vfs_db.id_set import IdSet
from vfs_db.name_tree import Children, page_ids
from vfs_db.names import Names
from vfs_db.page import IdPage, NamePage, Page
from vfs_db.weight import page_weight

__all__ = ["Block", "Change", "OpenFile", "OpenTransaction"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_SHORT: Final = 4096
"""Bytes of a list that is not counted: no longer one is in what `WritableState.add_file` stages."""
_LOADED_MAX: Final = 8 << 20
"""Bytes of what an open transaction has read: pages, and entries that it had written early."""


class OpenFile(Protocol):
    """What holds a file open, and has to know when the file, or the transaction it was opened in, goes."""

    def on_deleted(self) -> None: ...
    def on_rolled_back(self) -> None: ...


class Change:
    """All that one operation does, before any of it is done.

    entries, and the pages of long lists among them, are in the order in which they must reach a database without
    transactions. A name whose id is 0 is gone.
    moves_paths: a path may lead elsewhere now, or nowhere (a directory or link was renamed or removed).
    """

    __slots__ = (
        "chunks",
        "created",
        "created_chunks",
        "entries",
        "freed_chunks",
        "freed_entries",
        "moves_paths",
        "names",
    )

    def __init__(self) -> None:
        self.entries: dict[int, FSEntry | Page] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.created: list[int] = []
        self.chunks: list[tuple[int, bytes | memoryview]] = []
        self.created_chunks: list[int] = []
        self.freed_entries: list[int] = []
        self.freed_chunks: list[int] = []
        self.moves_paths = False

    def name(self, directory_id: int, name: str, entry_id: int) -> None:
        """Note that *name* in a directory is *entry_id* now; 0: it is gone."""
        self.names.setdefault(directory_id, {})[name] = entry_id

    def is_gone(self, directory_id: int, entry_id: int, name: str) -> bool:
        """Say whether an entry that had *name* in a directory has it no more."""
        if entry_id in self._freed():
            return True
        entry = self.entries.get(entry_id)
        return entry is not None and not (
            isinstance(entry, (Directory, File, Symlink)) and is_at(entry, directory_id, name)
        )

    def _freed(self) -> Container[int]:
        return self.freed_entries

    def free(self, entry: FSEntry) -> None:
        """Note that *entry* and its content are gone."""
        entry_id = entry.metadata.id
        self.entries.pop(entry_id, None)
        self.freed_entries.append(entry_id)
        if type(entry) is File:
            self.freed_chunks += entry.chunk_ids
            if isinstance(entry.chunk_ids, ChunkIds):
                self.freed_entries += entry.chunk_ids.page_ids()
        else:
            self.moves_paths = True
        if type(entry) is Directory and isinstance(entry.children, Children):
            self.freed_entries += page_ids(entry.children)


class Block(NamedTuple):
    """A with-block of the open transaction: what leads back to its beginning, and the files opened in it.

    *touched*: the entries and pages that were changed in it, of which it is known how they were before.
    """

    database: AbstractContextManager[object] | None
    undo: int
    chunks: int
    marks: tuple[int, int]
    files: list[weakref.ref[OpenFile]]
    touched: set[int]
    weight: int


class OpenTransaction(Change):
    """What the operations of an open transaction have changed; only its thread sees it.

    Entries wait here, so that a directory that gets many names is written once. Those that were written early, to bound
    memory, are in *written*: the database has this thread's view of them, the shared caches do not. Undo entries
    lead back to where a nested block began.
    """

    __slots__ = (
        "blocks",
        "gone",
        "loaded",
        "maps",
        "maps_weight",
        "prefixes",
        "staged_chunks",
        "thread",
        "undo",
        "weight",
        "written",
    )

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.blocks: list[Block] = []
        self.gone = IdSet()
        self.written = IdSet()
        self.loaded: Cache[FSEntry | Page] = Cache(_LOADED_MAX)
        self.maps: dict[int, Names] = {}
        self.maps_weight = 0
        self.prefixes = Prefixes()
        self.staged_chunks: dict[int, bytes] = {}
        self.undo: list[Callable[[], object]] = []
        self.weight = 0
        """Bytes of the pages and the long lists that wait; of all else the number is what is bounded."""

    def join(self, change: Change) -> None:
        """Add *change* (without its chunks) to what the transaction has changed."""
        if len(self.blocks) > 1:
            self._remember(change)
        for entry_id in change.freed_entries:
            self.weight -= _long_weight(self.entries.pop(entry_id, None))
            self.names.pop(entry_id, None)
        self.gone.update(change.freed_entries)
        for entry_id, entry in change.entries.items():
            self.weight += _long_weight(entry) - _long_weight(self.entries.get(entry_id))
        self.entries.update(change.entries)
        for directory_id, names in change.names.items():
            self.names.setdefault(directory_id, {}).update(names)
        self.created += change.created
        self.created_chunks += change.created_chunks
        self.freed_entries += change.freed_entries
        self.freed_chunks += change.freed_chunks
        if change.moves_paths:
            self.moves_paths = True
            self.prefixes = Prefixes()

    def _freed(self) -> Container[int]:
        return self.gone

    def _remember(self, change: Change) -> None:
        """Note what leads back from *change* to where the innermost block began: of each entry the first state only."""
        touched = self.blocks[-1].touched
        if not touched:
            for items in (self.created, self.created_chunks, self.freed_entries, self.freed_chunks):
                self.undo.append(_cutter(items, len(items)))
        for entry_id in (*change.entries, *change.freed_entries):
            if entry_id not in touched:
                touched.add(entry_id)
                _undo_item(self.undo, self.entries, entry_id)
        for directory_id in change.freed_entries:
            _undo_item(self.undo, self.names, directory_id)
        for directory_id, changes in change.names.items():
            names = self.names.get(directory_id)
            if names is None:
                _undo_item(self.undo, self.names, directory_id)
            else:  # the names of this step alone: there may be many from steps before
                for name in changes:
                    _undo_item(self.undo, names, name)
        for entry_id in change.freed_entries:
            self.undo.append(_discarder(self.gone, entry_id))

    def keep_map(self, directory_id: int, names: Names, weight_max: int) -> None:
        """Keep the names of a directory, as they were stored when it was first asked for one."""
        if self.maps_weight + names.weight() > weight_max:
            self.drop_maps()
        self.maps_weight += names.weight()
        self.maps[directory_id] = names

    def drop_maps(self) -> None:
        """Forget the names of all directories."""
        self.maps = {}
        self.maps_weight = 0

    def stage_chunk(self, chunk_id: int, data: bytes) -> None:
        """Keep new content of an existing chunk until the commit: for databases that can't take it back."""
        if len(self.blocks) > 1:
            _undo_item(self.undo, self.staged_chunks, chunk_id)
        self.staged_chunks[chunk_id] = data

    def roll_back_to(self, block: Block) -> None:
        """Undo all steps since *block* began."""
        while len(self.undo) > block.undo:
            self.undo.pop()()
        self.weight = block.weight
        self.prefixes = Prefixes()
        self.loaded.clear()
        self.drop_maps()


def _long_weight(one: FSEntry | Page | None) -> int:
    if isinstance(one, (NamePage, IdPage)):
        return page_weight(one)
    ids = one.children if type(one) is Directory else one.chunk_ids if type(one) is File else NO_IDS
    return len(ids.packed) if type(ids) is IdList and len(ids.packed) > _SHORT else 0


def _undo_item(undo: list[Callable[[], object]], items: dict[_K, _V], key: _K) -> None:
    undo.append(_setter(items, key, items.get(key)))


def _setter(items: dict[_K, _V], key: _K, value: _V | None) -> Callable[[], object]:
    if value is None:
        return lambda: items.pop(key, None)
    return lambda: items.__setitem__(key, value)


def _discarder(items: IdSet, item: int) -> Callable[[], object]:
    return lambda: items.discard(item)


def _cutter(items: list[int], length: int) -> Callable[[], object]:
    def cut() -> None:
        del items[length:]

    return cut
