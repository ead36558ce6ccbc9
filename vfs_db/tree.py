"""Directories and what is in them: finding a name, and the four steps that every change of the tree is made of.

`add`, `remove`, `place` and `save` put their part into a `Change`; `Commits.apply` makes it happen. How a directory holds
its entries is known here and in `state` only.
"""

from __future__ import annotations

import warnings
from typing import Final

from vfs_db.change import Change, Names
from vfs_db.commit import Commits
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import DamagedEntry
from vfs_db.id_list import NO_IDS, IdList
from vfs_db.metadata import FileType, Metadata
from vfs_db.state import State, damaged

__all__ = ["add", "children", "find", "is_empty", "is_inside", "place", "remove", "save"]

_MODES: Final = (0o644, 0o755, 0o777)
"""Permission bits of a new entry, by file type."""


def find(state: State, directory: Directory, name: str) -> FSEntry | None:
    """Return what *name* is in *directory*, None if it isn't there.

    Raises OSError (EIO) when it isn't among the readable entries of a directory that has damaged ones.
    """
    transaction = state.transaction
    if transaction is not None and transaction is state.mine():
        changes = transaction.names.get(directory.metadata.id)
        if changes is not None and name in changes:
            entry_id = changes[name]
            return state.entry(entry_id) if entry_id else None
    names = state.names(directory)
    found = names.get(name)
    if found is not None:
        return state.entry(found)
    if names.damage:
        raise damaged(
            directory.metadata.id, f"no readable entry is called {name!r}, and not all can be read: {names.damage}"
        )
    return None


def children(state: State, directory: Directory) -> list[FSEntry]:
    """Return the entries in *directory*, in the order in which they came. Warns (DamagedEntry) of what it can't read."""
    names = Names()
    directory_id = directory.metadata.id
    found = [entry for entry in state.entries(directory.children, names) if entry.parent_id == directory_id]
    if names.damage:
        warnings.warn(f"{state.path_of(directory_id)}: {names.damage}", DamagedEntry, stacklevel=2)
    return found


def is_empty(state: State, directory: Directory) -> bool:
    """Say whether nothing is in *directory*."""
    if not directory.children:
        return True
    names = Names()
    directory_id = directory.metadata.id
    is_bare = not any(entry.parent_id == directory_id for entry in state.entries(directory.children, names))
    return is_bare and not names.damage


def is_inside(state: State, directory: Directory, ancestor_id: int) -> bool:
    """Say whether *directory* is the one with *ancestor_id*, or somewhere below it. Raises OSError (EIO) for a circle."""
    seen = set()
    current: FSEntry = directory
    while current.metadata.id != ancestor_id:
        if current.metadata.id == state.root_id:
            return False
        if current.metadata.id in seen:
            raise damaged(directory.metadata.id, "its parents lead in a circle")
        seen.add(current.metadata.id)
        current = state.entry(current.parent_id)
    return True


def _present(change: Change, directory: Directory) -> Directory:
    """Return *directory* as *change* has left it so far."""
    entry = change.entries.get(directory.metadata.id)
    return entry if type(entry) is Directory else directory


def add(
    state: Commits, change: Change, directory: Directory, name: str, kind: FileType, now: int, *, mode: int | None = None,
    target: str = "", like: Metadata | None = None, size: int = 0, chunk_ids: IdList = NO_IDS,
) -> FSEntry:  # fmt: skip
    """Make a new entry called *name* in *directory*; owner, group and mode as in *like*, where that is given."""
    entry_id = state.store.entry_ids.allocate()
    if mode is None:
        mode = _MODES[kind] if like is None else like.mode
    if like is None:
        metadata = Metadata(entry_id, name, kind, size, now, now, now, mode)
    else:
        metadata = Metadata(
            entry_id, name, kind, size, now, like.modified_at, like.accessed_at, mode, like.owner, like.group
        )  # fmt: skip
    directory_id = directory.metadata.id
    entry: FSEntry
    if kind is FileType.file:
        entry = File(metadata, directory_id, chunk_ids, finder=state)
    elif kind is FileType.directory:
        entry = Directory(metadata, directory_id, finder=state)
    else:
        entry = Symlink(metadata, directory_id, target, finder=state)
    change.created.append(entry_id)
    change.entries[entry_id] = entry
    _list(state, change, directory, entry, now)
    return entry


def _list(state: Commits, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    """Note *entry* in *directory*."""
    directory = _present(change, directory)
    metadata = directory.metadata
    change.entries[metadata.id] = Directory(
        metadata.modified(now, metadata.size), directory.parent_id, directory.children.added_one(entry.metadata.id),
        finder=state,
    )  # fmt: skip
    change.name(metadata.id, entry.metadata.name, entry.metadata.id)


def _unlist(state: Commits, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    directory = _present(change, directory)
    metadata = directory.metadata
    change.entries[metadata.id] = Directory(
        metadata.modified(now, metadata.size), directory.parent_id, directory.children.without(entry.metadata.id),
        finder=state,
    )  # fmt: skip
    change.name(metadata.id, entry.metadata.name, 0)


def remove(state: Commits, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    """Take *entry* out of *directory*, and free it and its content."""
    _unlist(state, change, directory, entry, now)
    change.free(entry)


def place(
    state: Commits, change: Change, old: Directory, new: Directory, entry: FSEntry, name: str, now: int
) -> FSEntry:
    """Give *entry*, which is in *old*, the name *name* in *new*."""
    if type(entry) is not File:
        change.moves_paths = True
    entry_id = entry.metadata.id
    if old.metadata.id == new.metadata.id:
        moved = save(state, change, entry, entry.metadata.named(name))
        change.name(old.metadata.id, entry.metadata.name, 0)
        change.name(new.metadata.id, name, entry_id)
        directory = _present(change, old)
        metadata = directory.metadata
        save(state, change, directory, metadata.modified(now, metadata.size))
        return moved
    # A reader believes an entry that names its directory; so the new one lists it first, and the old one drops it last.
    moved = _with(state, entry, entry.metadata.named(name), new.metadata.id)
    _list(state, change, new, moved, now)
    change.entries[entry_id] = moved
    _unlist(state, change, old, entry, now)
    return moved


def save(state: Commits, change: Change, entry: FSEntry, metadata: Metadata) -> FSEntry:
    """Give *entry* other metadata."""
    saved = _with(state, entry, metadata, entry.parent_id)
    change.entries[metadata.id] = saved
    return saved


def _with(state: State, entry: FSEntry, metadata: Metadata, parent_id: int) -> FSEntry:
    if type(entry) is Directory:
        return Directory(metadata, parent_id, entry.children, finder=state)
    if type(entry) is File:
        return File(metadata, parent_id, entry.chunk_ids, finder=state)
    assert type(entry) is Symlink
    return Symlink(metadata, parent_id, entry.target, finder=state)
