"""Deleting, renaming and removing whole trees: what changes where entries are."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import islice
from typing import Final

from vfs_db.change import Change
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.id_set import IdSet
from vfs_db.metadata import FileType
from vfs_db.path import base, names_directory
from vfs_db.resolve import locate, locate_both
from vfs_db.state import damaged
from vfs_db.tree import is_empty, is_inside, place, remove

__all__ = ["delete", "remove_tree", "rename"]

_AT_ONCE: Final = 512


def delete(state: WritableState, path: str, kind: FileType | None) -> None:
    """Delete what is at *path*: a directory must be empty. *kind*: what it has to be; file includes links, as unlink(2)."""
    directory, _, entry = locate(state, path, follow=False)
    if entry is None:
        raise os_error(errno.ENOENT, path)
    if entry.metadata.id == state.root_id:
        raise os_error(errno.EPERM, path)
    code = _unfit(entry, kind)
    if code:
        raise os_error(code, path)
    if type(entry) is Directory and not is_empty(state, entry):
        raise os_error(errno.ENOTEMPTY, path)
    change = Change()
    remove(state, change, directory, entry, state.now())
    state.apply(change)


def _unfit(entry: FSEntry, kind: FileType | None) -> int:
    """Return the errno for an entry that is not of the *kind* asked for, else 0."""
    if kind is FileType.file and type(entry) is Directory:
        return errno.EISDIR
    if kind is FileType.directory and type(entry) is not Directory:
        return errno.ENOTDIR
    if kind is FileType.symlink and type(entry) is not Symlink:
        return errno.EINVAL
    return 0


def remove_tree(state: WritableState, path: str) -> None:
    """Delete what is at *path* with all that is in it."""
    directory, _, entry = locate(state, path, follow=False)
    if entry is None:
        raise os_error(errno.ENOENT, path)
    if entry.metadata.id == state.root_id:
        raise os_error(errno.EPERM, path)
    if type(entry) is not Directory and names_directory(path):
        raise os_error(errno.ENOTDIR, path)
    change = Change()
    remove(state, change, directory, entry, state.now())
    if type(entry) is Directory:
        for below in _below(state, entry):
            if isinstance(below, int):
                change.freed_entries.append(below)
            else:
                change.free(below)
    state.apply(change)


def _below(state: WritableState, top: Directory) -> Iterator[FSEntry | int]:
    """Yield all entries below *top*; of one that can't be read, its id."""
    seen = IdSet()
    stack = [top.metadata.id]
    while stack:
        directory = state.entry(stack.pop())
        assert type(directory) is Directory
        ids = iter(directory.children)
        while part := list(islice(ids, _AT_ONCE)):
            known = {entry.metadata.id: entry for entry in state.entries(part, [])}
            for entry_id in part:
                entry = known.get(entry_id) or _readable(state, entry_id)
                if entry is None:
                    yield entry_id
                    continue
                if entry.parent_id != directory.metadata.id:
                    continue
                if entry_id in seen or entry_id == top.metadata.id:
                    raise damaged(entry_id, "its directory lists it twice, or it contains itself")
                seen.add(entry_id)
                yield entry
                if type(entry) is Directory:
                    stack.append(entry_id)


def _readable(state: WritableState, entry_id: int) -> FSEntry | None:
    try:
        return state.entry(entry_id)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def rename(state: WritableState, old_path: str, new_path: str) -> FSEntry:
    """Give the entry at *old_path* the path *new_path*, replacing what POSIX says; return it."""
    (old, _, entry), (new, name, there) = locate_both(state, old_path, new_path)
    if ".." in (base(old_path), base(new_path)):
        raise os_error(errno.EBUSY, old_path, new_path)
    if entry is None:
        raise os_error(errno.ENOENT, old_path, new_path)
    if entry.metadata.id == state.root_id:
        raise os_error(errno.EPERM, old_path, new_path)
    if there is not None and there.metadata.id == entry.metadata.id:
        return entry
    if type(entry) is Directory and is_inside(state, new, entry.metadata.id):
        raise os_error(errno.EINVAL, old_path, new_path)
    if type(there) is Directory and is_inside(state, old, there.metadata.id):
        raise os_error(errno.ENOTEMPTY, old_path, new_path)
    change = Change()
    now = state.now()
    if there is not None:
        _check_replaceable(state, entry, there, old_path, new_path)
        remove(state, change, new, there, now)
    moved = place(state, change, old, new, entry, name, now)
    state.apply(change)
    return moved


def _check_replaceable(state: WritableState, entry: FSEntry, there: FSEntry, old_path: str, new_path: str) -> None:
    if type(there) is Directory:
        if type(entry) is not Directory:
            raise os_error(errno.EISDIR, old_path, new_path)
        if not is_empty(state, there):
            raise os_error(errno.ENOTEMPTY, old_path, new_path)
    elif type(entry) is Directory:
        raise os_error(errno.ENOTDIR, old_path, new_path)
