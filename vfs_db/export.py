"""Files and whole trees to the host's disk.

Nothing is written outside the folder named: a name has to be one name, and a link that is in the way is not followed. A file
is written under another name and renamed: an interrupted export leaves whole files only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Final

from vfs_db import chunks
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.moment import nanoseconds
from vfs_db.path import join
from vfs_db.resolve import directory, locate
from vfs_db.state import State, damaged
from vfs_db.transfer import Options
from vfs_db.tree import all_children

__all__ = ["export_file", "export_tree"]

_PIECE_SIZE: Final = 16 * chunks.CHUNK_SIZE
_PERMISSIONS: Final = 0o777
"""Set-id and sticky bits of an image are not given to the host's files."""

_SEPARATORS: Final = frozenset({"/", "\0", os.sep, os.altsep or os.sep})
_RUN: Final = os.urandom(8).hex()
_numbers: Final = count()
"""With the process, for it may be a copy of another, they make a name that nobody else writes under."""

_O_BINARY: Final = getattr(os, "O_BINARY", 0)
_O_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


def export_file(state: State, path: str, host_path: str, options: Options) -> None:
    """Copy the file that *path* leads to, to *host_path* itself. A link there is replaced, not followed."""
    entry = state.read(lambda: locate(state, path, follow=True, second_try=True, posix=True)[2])
    if type(entry) is not File:
        raise os_error(errno.ENOENT if entry is None else errno.EISDIR, path)
    _export_file(state, entry, host_path, path, options)
    options.progress(path, 0)


def export_tree(state: State, path: str, host_dir: str, options: Options) -> None:
    """Copy what is in the directory at *path* into *host_dir*."""
    top = state.read(lambda: directory(state, path, second_try=True))
    done: list[tuple[str, Directory]] = []
    if not os.path.isdir(host_dir):
        os.makedirs(host_dir)
        done.append((host_dir, top))
    stack = [(path.rstrip("/"), host_dir, top, frozenset[int]())]
    while stack:
        at, folder, present, above = stack.pop()
        if present.metadata.id in above:
            raise damaged(present.metadata.id, f"directory {at} contains itself")
        if above:
            _check_folder(folder)
        base = os.path.join(folder, "")
        for entry in all_children(state, present):
            host_path = base + _host_name(entry, at)
            below = join(at, entry.metadata.name)
            if type(entry) is Directory:
                _make_folder(host_path)
                done.append((host_path, entry))
                stack.append((below, host_path, entry, above | {present.metadata.id}))
            elif type(entry) is Symlink:
                _export_link(entry, host_path, options)
            elif type(entry) is File:
                _export_file(state, entry, host_path, below, options)
            options.progress(below, 0)
    for host_path, entry in reversed(done):  # times and modes of folders last: writing into them changes or needs them
        if host_path != host_dir:
            _check_folder(host_path)
        os.chmod(host_path, entry.metadata.mode & _PERMISSIONS)
        os.utime(host_path, ns=_times(entry))


def _host_name(entry: FSEntry, path: str) -> str:
    """Return the entry's name if it is one name on this host. Raises OSError (EINVAL)."""
    name = entry.metadata.name
    if name in ("", ".", "..") or not _SEPARATORS.isdisjoint(name) or os.path.splitdrive(name)[0]:
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {name!r} can be no file's name", join(path, name))
    return name


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _check_folder(path: str) -> None:
    """Raise NotADirectoryError if *path*, which was made a folder, is a link by now: it is not to be followed."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise os_error(errno.ENOTDIR, path)


def _is_wanted(entry: FSEntry, host_path: str, options: Options) -> bool:
    """Say whether *entry* is to be written to *host_path*. Raises FileExistsError, IsADirectoryError."""
    try:
        there = os.lstat(host_path)
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(there.st_mode):
        raise os_error(errno.EISDIR, host_path)
    if options.update and _is_same(entry, there, host_path):
        return False
    return options.replaces(host_path)


def _is_same(entry: FSEntry, there: os.stat_result, host_path: str) -> bool:
    if type(entry) is Symlink:
        return stat.S_ISLNK(there.st_mode) and os.readlink(host_path) == entry.target
    metadata = entry.metadata
    # The entry's time may be in whole seconds, and is what the host's file was given.
    return (
        stat.S_ISREG(there.st_mode)
        and there.st_size == metadata.size
        and there.st_mtime_ns == nanoseconds(metadata.modified_at)
    )


def _partial(host_path: str) -> str:
    """Return the path to write under, in the same folder, so that the rename to *host_path* is one step."""
    folder = host_path[: len(host_path) - len(os.path.basename(host_path))]
    return f"{folder}.vfs-part-{_RUN}-{os.getpid():x}-{next(_numbers):x}"


def _export_link(entry: Symlink, host_path: str, options: Options) -> None:
    if not _is_wanted(entry, host_path, options):
        return
    if "\0" in entry.target:
        raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {entry.target!r} can be no link's target", host_path)
    partial = _partial(host_path)
    try:
        os.symlink(entry.target, partial)
        if os.utime in os.supports_follow_symlinks:
            os.utime(partial, ns=_times(entry), follow_symlinks=False)
        os.replace(partial, host_path)
    except BaseException as error:
        _give_up(partial, host_path, error)
        raise


def _export_file(state: State, entry: File, host_path: str, path: str, options: Options) -> None:
    if not _is_wanted(entry, host_path, options):
        return
    partial = _partial(host_path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_NOFOLLOW | _O_BINARY
    try:
        descriptor = os.open(partial, flags, 0o600)
        try:
            for data in _pieces(state, entry):
                _write(descriptor, data, host_path)
                if data:
                    options.progress(path, len(data))
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, entry.metadata.mode & _PERMISSIONS)
            if os.utime in os.supports_fd:
                os.utime(descriptor, ns=_times(entry))
        finally:
            os.close(descriptor)
        if os.utime not in os.supports_fd:
            os.utime(partial, ns=_times(entry))
        os.replace(partial, host_path)
    except BaseException as error:
        _give_up(partial, host_path, error)
        raise


def _give_up(partial: str, host_path: str, error: BaseException) -> None:
    """Remove *partial*, and let *error* name *host_path*, which is what its reader knows."""
    with suppress(OSError):  # it was not made, or is renamed already
        os.unlink(partial)
    if isinstance(error, OSError) and partial in (error.filename, error.filename2):
        error.filename = host_path
        del error.filename2  # None would be shown


def _write(descriptor: int, data: bytes, host_path: str) -> None:
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            left = memoryview(data)[written:]
            while left:
                left = left[os.write(descriptor, left) :]
    except OSError as error:
        error.filename = host_path
        raise


def _pieces(state: State, file: File) -> Iterator[bytes]:
    if file.metadata.size <= _PIECE_SIZE:
        yield state.read(chunks.read, state, file)
    else:
        yield from chunks.iterate(state, file)


def _times(entry: FSEntry) -> tuple[int, int]:
    return nanoseconds(entry.metadata.accessed_at), nanoseconds(entry.metadata.modified_at)
