"""Files and whole trees from the host's disk.

Each file is whole or not there at all: its content and its attributes are in one transaction, and `import_entries` stops
between files only, where its caller may commit.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import attrs

from vfs_db import chunks
from vfs_db.attributes import kept
from vfs_db.change import Change
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.metadata import FileType, Metadata, quick_metadata
from vfs_db.new_file import add_small_file
from vfs_db.path import check_name
from vfs_db.tree import add, find, remove, save

__all__ = ["Options", "Progress", "import_entries", "import_one"]

Progress: TypeAlias = Callable[[str, int], object]
"""Called with (path, bytes) after each piece of content, and with (path, 0) after each entry."""

_ENTRY_COST: Final = 16384
"""Bytes that an entry counts for besides its content, where trees come in by batches of a size."""
_PIECE_SIZE: Final = 16 * chunks.CHUNK_SIZE
_O_READ: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without waiting: what was a file may be a pipe by now."""
_O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


def _silent(_path: str, _size: int) -> None:
    """Report to nobody."""


@attrs.frozen
class Options:
    """What to do with each entry of a tree, in either direction.

    *may_replace*: whether a file or link that is there already is replaced; a function is asked with its path, and False
    from it leaves the file as it is; the value False raises FileExistsError. *update*: leave a file as it is that has the
    same size and time of modification, and a link of the same target.
    """

    progress: Progress = _silent
    may_replace: bool | Callable[[str], bool] = True
    update: bool = False
    follow_symlinks: bool = False

    def replaces(self, path: str) -> bool:
        """Say whether what is at *path* is to be replaced. Raises FileExistsError."""
        if callable(self.may_replace):
            return self.may_replace(path)
        if not self.may_replace:
            raise os_error(errno.EEXIST, path)
        return True


def import_entries(state: WritableState, host_dir: str, target: Directory, options: Options) -> Iterator[int]:
    """Copy what is in *host_dir* into *target*, yielding what an entry has cost, in bytes, after each.

    To be advanced within a transaction, which may be another one after each step. The host's tree may change meanwhile: what
    was a folder or a file and is a link when its turn comes is not followed, unless links are.
    """
    look = os.stat if options.follow_symlinks else os.lstat
    stack = [(host_dir, target.metadata.id, frozenset[tuple[int, int]]())]
    while stack:
        folder, target_id, above = stack.pop()
        status = os.stat(folder) if folder == host_dir else look(folder)
        if not stat.S_ISDIR(status.st_mode):
            raise os_error(errno.ENOTDIR, folder)
        key = (status.st_dev, status.st_ino)
        if key in above:
            raise OSError(errno.ELOOP, f"{os.strerror(errno.ELOOP)}: the folder contains itself through a link", folder)
        for found in _sorted(folder):
            made, cost = _import_found(state, found, target_id, options)
            if type(made) is Directory:
                stack.append((found.path, made.metadata.id, above | {key}))
            yield cost
        entry = state.entry(target_id)
        if target_id != state.root_id:
            _set(state, entry, status)
        options.progress(folder, 0)


def _sorted(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda one: one.name)


@attrs.frozen
class _Found:
    """A host entry: its name in the filesystem, its path on the host, and whether a link there is followed."""

    name: str
    path: str
    may_be_link: bool


def import_one(state: WritableState, host_path: str, parent: Directory, name: str, options: Options) -> None:
    """Copy the host's file, or what a link there leads to, into *parent* as *name*. Called within a transaction."""
    status = os.stat(host_path)
    if stat.S_ISDIR(status.st_mode):
        raise os_error(errno.EISDIR, host_path)
    _import_entry(state, _Found(name, host_path, True), status, parent.metadata.id, options)


def _import_found(
    state: WritableState, found: os.DirEntry[str], target_id: int, options: Options
) -> tuple[FSEntry, int]:
    """Copy one host entry, but not what is in it; returns it, and what that has cost in bytes."""
    status = found.stat(follow_symlinks=options.follow_symlinks)
    made = _import_entry(state, _Found(found.name, found.path, options.follow_symlinks), status, target_id, options)
    return made, _ENTRY_COST + (status.st_size if type(made) is File else 0)


def _import_entry(
    state: WritableState, found: _Found, status: os.stat_result, target_id: int, options: Options
) -> FSEntry:
    """Copy one host entry, but not what is in it, into the directory with id *target_id*."""
    parent = state.entry(target_id)
    assert type(parent) is Directory
    check_name(found.name, found.path)
    there = find(state, parent, found.name)
    if stat.S_ISDIR(status.st_mode):
        if type(there) is Directory:
            return there
        if there is not None and not options.replaces(state.path_of(there.metadata.id)):
            raise os_error(errno.EEXIST, state.path_of(there.metadata.id))
        return _make(state, parent, there, found, FileType.directory, status)
    if type(there) is Directory:
        raise os_error(errno.EISDIR, state.path_of(there.metadata.id))
    if there is not None and not _is_wanted(state, there, found, status, options):
        options.progress(found.path, 0)
        return there
    if stat.S_ISLNK(status.st_mode):
        made = _make(state, parent, there, found, FileType.symlink, status, target=os.readlink(found.path))
    elif stat.S_ISREG(status.st_mode):
        made = _import_file(state, parent, there, found, options.progress)
    else:
        raise _special(found.path)
    options.progress(found.path, 0)
    return made


def _is_wanted(state: WritableState, there: FSEntry, found: _Found, status: os.stat_result, options: Options) -> bool:
    """Say whether *there*, which is there already, is to be replaced."""
    return not (options.update and _is_same(state, there, found, status)) and options.replaces(
        state.path_of(there.metadata.id)
    )


def _is_same(state: WritableState, there: FSEntry, found: _Found, status: os.stat_result) -> bool:
    if type(there) is Symlink:
        return stat.S_ISLNK(status.st_mode) and os.readlink(found.path) == there.target
    metadata = there.metadata
    return (
        stat.S_ISREG(status.st_mode)
        and metadata.size == status.st_size
        and metadata.modified_at == kept(status.st_mtime_ns, state.ns_times)
    )


def _like(name: str, kind: FileType, status: os.stat_result, keeps_ns: bool) -> Metadata:
    """Return metadata with the mode and the times of a host entry."""
    modified_at, accessed_at = kept(status.st_mtime_ns, keeps_ns), kept(status.st_atime_ns, keeps_ns)
    return quick_metadata(0, name, kind, 0, 0, modified_at, accessed_at, stat.S_IMODE(status.st_mode))


def _make(
    state: WritableState, parent: Directory, there: FSEntry | None, found: _Found, kind: FileType,
    status: os.stat_result, target: str = "",
) -> FSEntry:  # fmt: skip
    change = Change()
    now = state.now()
    if there is not None:
        remove(state, change, parent, there, now)
    made = add(
        state,
        change,
        parent,
        found.name,
        kind,
        now,
        like=_like(found.name, kind, status, state.ns_times),
        target=target,
    )
    state.apply(change)
    return made


def _special(path: str) -> OSError:
    return OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: neither a file, a folder nor a link", path)


def _import_file(
    state: WritableState, parent: Directory, there: FSEntry | None, found: _Found, report: Progress
) -> FSEntry:  # fmt: skip
    """Copy a file piece by piece; a small one is a single change. A file that is there keeps its id."""
    now = state.now()
    source = os.open(found.path, _O_READ | (0 if found.may_be_link else _O_NOFOLLOW))
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise _special(found.path)
        data = os.read(source, min(status.st_size + 1, _PIECE_SIZE))
        # A whole small file is read at once: that there is no more of it need not be asked.
        is_whole = len(data) == status.st_size < _PIECE_SIZE
        made = None
        if there is None and is_whole:
            modified_at, accessed_at = (
                kept(status.st_mtime_ns, state.ns_times),
                kept(status.st_atime_ns, state.ns_times),
            )
            made = add_small_file(
                state, parent, found.name, data, stat.S_IMODE(status.st_mode), now, modified_at, accessed_at
            )  # fmt: skip
        if made is not None:
            if data:
                report(found.path, len(data))
            return made
        like = _like(found.name, FileType.file, status, state.ns_times)
        change = Change()
        if there is not None and type(there) is not File:
            remove(state, change, parent, there, now)
            there = None
        if there is None:
            there = add(state, change, parent, found.name, FileType.file, now, like=like)
        assert type(there) is File
        file = chunks.write(state, change, there, data, like.modified_at)
        if data:
            report(found.path, len(data))
        while not is_whole and (data := os.read(source, _PIECE_SIZE)):
            change.entries[file.metadata.id] = file
            state.apply(change)
            change = Change()
            file = chunks.write_range(state, change, file, file.metadata.size, data, like.modified_at)
            report(found.path, len(data))
    finally:
        os.close(source)
    metadata = file.metadata
    saved = save(state, change, file, _with_status(metadata, status, state.ns_times))
    state.apply(change)
    return saved


def _with_status(metadata: Metadata, status: os.stat_result, keeps_ns: bool) -> Metadata:
    like = _like(metadata.name, metadata.file_type, status, keeps_ns)
    return quick_metadata(
        metadata.id, metadata.name, metadata.file_type, metadata.size, metadata.created_at,
        like.modified_at, like.accessed_at, like.mode, metadata.owner, metadata.group, metadata.extension,
    )  # fmt: skip


def _set(state: WritableState, entry: FSEntry, status: os.stat_result) -> None:
    change = Change()
    save(state, change, entry, _with_status(entry.metadata, status, state.ns_times))
    state.apply(change)
