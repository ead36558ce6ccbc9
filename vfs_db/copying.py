"""Copies of files, links and trees: new entries, new chunks. Called within a transaction."""

from __future__ import annotations

import errno

from vfs_db import chunks
from vfs_db.change import Change
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.metadata import FileType
from vfs_db.resolve import locate_both
from vfs_db.tree import add, all_children, find, is_inside, remove, save

__all__ = ["copy", "copy_into"]

_CHUNKS_AT_ONCE = 16


def copy(state: WritableState, src: str, dst: str) -> FSEntry:
    """Copy what is at *src* to the path *dst* and return the copy."""
    (_, _, entry), (directory, name, there) = locate_both(state, src, dst, must_exist=True)
    assert entry is not None
    if there is not None:
        _check_replaceable(entry, there, src, dst)
    if type(entry) is Directory and is_inside(state, directory, entry.metadata.id):
        raise os_error(errno.EINVAL, src, dst)
    change = Change()
    if there is not None:
        remove(state, change, directory, there, state.now())
    return _copy_tree(state, change, entry, directory, name)


def copy_into(state: WritableState, src: str, dst: str) -> None:
    """Copy what is in the directory *src* into the directory *dst*; directories of one name are merged."""
    (_, _, source), (_, _, target) = locate_both(state, src, dst, must_exist=True, posix=True)
    if type(source) is not Directory or type(target) is not Directory:
        raise os_error(errno.ENOTDIR, src if type(source) is not Directory else dst)
    if is_inside(state, target, source.metadata.id):
        raise os_error(errno.EINVAL, src, dst)
    stack = [(source, target)]
    while stack:
        folder, merged = stack.pop()
        for entry in all_children(state, folder):
            parent = state.entry(merged.metadata.id)
            assert isinstance(parent, Directory)
            there = find(state, parent, entry.metadata.name)
            if type(entry) is Directory and type(there) is Directory:
                if entry.metadata.id == source.metadata.id or is_inside(state, source, there.metadata.id):
                    raise os_error(errno.EINVAL, src, dst)
                stack.append((entry, there))
                continue
            change = Change()
            if there is not None:
                _check_replaceable(entry, there, src, state.path_of(there.metadata.id))
                remove(state, change, parent, there, state.now())
            _copy_tree(state, change, entry, parent, entry.metadata.name)


def _check_replaceable(entry: FSEntry, there: FSEntry, src: str, dst: str) -> None:
    if there.metadata.id == entry.metadata.id:
        raise os_error(errno.EINVAL, src, dst)
    if type(there) is Directory and type(entry) is not Directory:
        raise os_error(errno.EISDIR, src, dst)
    if type(there) is Directory or type(entry) is Directory:
        raise os_error(errno.EEXIST, src, dst)


def _copy_tree(state: WritableState, change: Change, entry: FSEntry, directory: Directory, name: str) -> FSEntry:
    top = _copy_one(state, change, entry, directory, name)
    stack = [(entry, top)] if type(entry) is Directory else []
    while stack:
        source, made = stack.pop()
        for below in all_children(state, source):
            parent = state.entry(made.metadata.id)
            assert isinstance(parent, Directory)
            copied = _copy_one(state, Change(), below, parent, below.metadata.name)
            if type(below) is Directory:
                stack.append((below, copied))
        _restore_time(state, source, made)
    return state.entry(top.metadata.id)


def _copy_one(state: WritableState, change: Change, entry: FSEntry, directory: Directory, name: str) -> FSEntry:
    """Apply *change* and the copy of *entry* itself, with its content, as *name* in *directory*."""
    now = state.now()
    target = entry.target if type(entry) is Symlink else ""
    made = add(state, change, directory, name, entry.metadata.file_type, now, like=entry.metadata, target=target)
    if type(entry) is not File:
        state.apply(change)
        return made
    assert type(made) is File
    return _copy_content(state, change, entry, made)


def _copy_content(state: WritableState, change: Change, source: File, made: File) -> FSEntry:
    modified_at = source.metadata.modified_at
    if len(source.chunk_ids) <= _CHUNKS_AT_ONCE:
        change.entries[made.metadata.id] = copied = chunks.write(
            state, change, made, chunks.read(state, source), modified_at
        )
        state.apply(change)
        return copied
    state.apply(change)
    for data in chunks.iterate(state, source):
        piece = Change()
        made = chunks.write_range(state, piece, made, made.metadata.size, data, modified_at)
        piece.entries[made.metadata.id] = made
        state.apply(piece)
    return made


def _restore_time(state: WritableState, source: FSEntry, made: FSEntry) -> None:
    """Give a copied directory the time of modification that putting entries into it has moved."""
    present = state.entry(made.metadata.id)
    wanted = present.metadata.modified(source.metadata.modified_at, present.metadata.size)
    if source.metadata.file_type is FileType.directory and wanted is not present.metadata:
        change = Change()
        save(state, change, present, wanted)
        state.apply(change)
