"""Whole trees from the host's disk and to it.

Nothing is written outside the folder named: a name has to be one name, and a link that is in the way is not followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from vfs_db import chunks
from vfs_db.attributes import kept
from vfs_db.change import Change
from vfs_db.commit import Commits
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.metadata import FileType, Metadata
from vfs_db.moment import nanoseconds
from vfs_db.path import check_name, join
from vfs_db.resolve import directory
from vfs_db.state import State, damaged
from vfs_db.tree import add, all_children, find, remove, save

__all__ = ["Progress", "export_tree", "import_tree"]

Progress: TypeAlias = Callable[[str, int], object]
"""Called with (path, bytes) after each piece of content, and with (path, 0) after each entry."""

_PIECE_SIZE: Final = 16 * chunks.CHUNK_SIZE
_PERMISSIONS: Final = 0o777
"""Set-id and sticky bits of an image are not given to the host's files."""

_O_BINARY: Final = getattr(os, "O_BINARY", 0)
_O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


def _silent(_path: str, _size: int) -> None:
    """Report to nobody."""


# Host to filesystem


def import_tree(
    state: Commits, host_dir: str, target: Directory, progress: Progress | None, *, follow_symlinks: bool
) -> None:
    """Copy what is in *host_dir* into *target*. Called within a transaction."""
    report = progress or _silent
    stack = [(host_dir, target.metadata.id, frozenset[tuple[int, int]]())]
    while stack:
        folder, target_id, above = stack.pop()
        status = os.stat(folder)
        key = (status.st_dev, status.st_ino)
        if key in above:
            raise OSError(errno.ELOOP, f"{os.strerror(errno.ELOOP)}: the folder contains itself through a link", folder)
        for found in _sorted(folder):
            made = _import_one(state, found, target_id, report, follow_symlinks)
            if type(made) is Directory:
                stack.append((found.path, made.metadata.id, above | {key}))
        entry = state.entry(target_id)
        if target_id != state.root_id:
            _set(state, entry, status)
        report(folder, 0)


def _sorted(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda one: one.name)


def _import_one(
    state: Commits, found: os.DirEntry[str], target_id: int, report: Progress, follow_symlinks: bool
) -> FSEntry:
    """Copy one host entry, but not what is in it, into the directory with id *target_id*."""
    status = found.stat(follow_symlinks=follow_symlinks)
    parent = state.entry(target_id)
    assert type(parent) is Directory
    check_name(found.name, found.path)
    there = find(state, parent, found.name)
    if stat.S_ISDIR(status.st_mode):
        if type(there) is Directory:
            return there
        return _make(state, parent, there, found, FileType.directory, status)
    if type(there) is Directory:
        raise os_error(errno.EISDIR, state.path_of(there.metadata.id))
    if stat.S_ISLNK(status.st_mode):
        made = _make(state, parent, there, found, FileType.symlink, status, target=os.readlink(found.path))
    elif stat.S_ISREG(status.st_mode):
        made = _import_file(state, parent, there, found, status, report)
    else:
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: neither a file, a folder nor a link", found.path)
    report(found.path, 0)
    return made


def _like(name: str, kind: FileType, status: os.stat_result, keeps_ns: bool) -> Metadata:
    """Return metadata with the mode and the times of a host entry."""
    modified_at, accessed_at = kept(status.st_mtime_ns, keeps_ns), kept(status.st_atime_ns, keeps_ns)
    return Metadata(0, name, kind, 0, 0, modified_at, accessed_at, stat.S_IMODE(status.st_mode))


def _make(
    state: Commits, parent: Directory, there: FSEntry | None, found: os.DirEntry[str], kind: FileType,
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


def _import_file(
    state: Commits, parent: Directory, there: FSEntry | None, found: os.DirEntry[str], status: os.stat_result,
    report: Progress,
) -> FSEntry:  # fmt: skip
    """Copy a file piece by piece; a small one is a single change. A file that is there keeps its id."""
    change = Change()
    like = _like(found.name, FileType.file, status, state.ns_times)
    now = state.now()
    if there is not None and type(there) is not File:
        remove(state, change, parent, there, now)
        there = None
    if there is None:
        there = add(state, change, parent, found.name, FileType.file, now, like=like)
    assert type(there) is File
    file = there
    with open(found.path, "rb", buffering=0) as source:
        data = source.read(_PIECE_SIZE)
        file = chunks.write(state, change, file, data, like.modified_at)
        report(found.path, len(data))
        while data := source.read(_PIECE_SIZE):
            change.entries[file.metadata.id] = file
            state.apply(change)
            change = Change()
            file = chunks.write_range(state, change, file, file.metadata.size, data, like.modified_at)
            report(found.path, len(data))
    metadata = file.metadata
    saved = save(state, change, file, _with_status(metadata, status, state.ns_times))
    state.apply(change)
    return saved


def _with_status(metadata: Metadata, status: os.stat_result, keeps_ns: bool) -> Metadata:
    like = _like(metadata.name, metadata.file_type, status, keeps_ns)
    return Metadata(
        metadata.id, metadata.name, metadata.file_type, metadata.size, metadata.created_at,
        like.modified_at, like.accessed_at, like.mode, metadata.owner, metadata.group, metadata.extension,
    )  # fmt: skip


def _set(state: Commits, entry: FSEntry, status: os.stat_result) -> None:
    change = Change()
    save(state, change, entry, _with_status(entry.metadata, status, state.ns_times))
    state.apply(change)


# Filesystem to host


def export_tree(state: State, path: str, host_dir: str, progress: Progress | None) -> None:
    """Copy what is in the directory at *path* into *host_dir*."""
    top = state.read(lambda: directory(state, path, second_try=True))
    done: list[tuple[str, Directory]] = []
    if not os.path.isdir(host_dir):
        os.makedirs(host_dir)
        done.append((host_dir, top))
    report = progress or _silent
    stack = [(path.rstrip("/"), host_dir, top, frozenset[int]())]
    while stack:
        at, folder, present, above = stack.pop()
        if present.metadata.id in above:
            raise damaged(present.metadata.id, f"directory {at} contains itself")
        for entry in all_children(state, present):
            host_path = os.path.join(folder, _host_name(entry, at))
            below = join(at, entry.metadata.name)
            if type(entry) is Directory:
                _make_folder(host_path)
                done.append((host_path, entry))
                stack.append((below, host_path, entry, above | {present.metadata.id}))
            elif type(entry) is Symlink:
                _export_link(entry, host_path)
            elif type(entry) is File:
                _export_file(state, entry, host_path, below, report)
            report(below, 0)
    for host_path, entry in reversed(done):  # times and modes of folders last: writing into them changes or needs them
        os.chmod(host_path, entry.metadata.mode & _PERMISSIONS)
        os.utime(host_path, ns=_times(entry))


def _host_name(entry: FSEntry, path: str) -> str:
    """Return the entry's name if it is one name on this host. Raises OSError (EINVAL)."""
    name = entry.metadata.name
    separators = {"/", "\0", os.sep, os.altsep or os.sep}
    if name in ("", ".", "..") or any(one in name for one in separators) or os.path.splitdrive(name)[0]:
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {name!r} can be no file's name", join(path, name))
    return name


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _remove_other(path: str) -> None:
    """Remove the file or link at *path*; a folder is refused."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise os_error(errno.EISDIR, path)
    os.unlink(path)


def _export_link(entry: Symlink, host_path: str) -> None:
    _remove_other(host_path)
    os.symlink(entry.target, host_path)
    if os.utime in os.supports_follow_symlinks:
        os.utime(host_path, ns=_times(entry), follow_symlinks=False)


def _export_file(state: State, entry: File, host_path: str, path: str, report: Progress) -> None:
    _remove_other(host_path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_NOFOLLOW | _O_BINARY
    descriptor = os.open(host_path, flags, 0o600)
    try:
        for data in _pieces(state, entry):
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            report(path, len(data))
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, entry.metadata.mode & _PERMISSIONS)
    finally:
        os.close(descriptor)
    os.utime(host_path, ns=_times(entry))


def _pieces(state: State, file: File) -> Iterator[bytes]:
    if file.metadata.size <= _PIECE_SIZE:
        yield state.read(chunks.read, state, file)
    else:
        yield from chunks.iterate(state, file)


def _times(entry: FSEntry) -> tuple[int, int]:
    return nanoseconds(entry.metadata.accessed_at), nanoseconds(entry.metadata.modified_at)
