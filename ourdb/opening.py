"""From a path to an open store: locked, made if it is missing, and as a clean close would have left it."""

from __future__ import annotations

import errno
import os
from typing import Any

from ourdb.compaction import finish_compaction
from ourdb.disk import Disk
from ourdb.errors import DatabaseLocked
from ourdb.folder import prepare
from ourdb.identity import Identity, identity_path
from ourdb.joining import Pointer
from ourdb.record_files import RecordFiles
from ourdb.recovery import recover
from ourdb.shared import AbsentIdentity
from ourdb.store import Store

__all__ = ["open_for_reading", "open_for_writing", "open_store"]


def open_for_reading(disk: Disk, folder: str, given: dict[str, Any]) -> Store:
    """Return the store of the database in *folder* for a read-only handle; nothing is locked, made or mended.

    *given*: the options that the user gave. Raises UnsupportedFormat, OurDBError (they contradict the folder).
    """
    config = prepare(disk, folder, given, read_only=True)
    identity = (
        Identity(disk, folder, read_only=True)
        if disk.exists(identity_path(folder))
        else AbsentIdentity(disk, folder, config)
    )
    return Store(disk, folder, identity, read_only=True)


def open_for_writing(disk: Disk, folder: str, given: dict[str, Any], *, reset: bool, timeout: float) -> Store:
    """Return the store of the database in *folder*, recovered, and locked for up to *timeout* seconds' wait.

    Raises DatabaseLocked, UnsupportedFormat, OurDBError (the options *given* contradict the folder), OSError.
    """
    if not os.path.exists(folder):
        disk.makedirs(folder)
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, "a database is a folder, this is a file", folder)
    lock_fd = _lock(disk, folder, timeout)
    try:
        if reset:
            _remove_contents(disk, folder)
        finish_compaction(disk, folder)
        prepare(disk, folder, given, read_only=False, may_hold_other_files=reset)
        store = open_store(disk, folder)
    except BaseException:
        disk.close(lock_fd)
        raise
    store.folder_lock = lock_fd
    try:
        recover(disk, store, lambda pointer: _open_partner(disk, pointer))
    except BaseException:
        store.close()
        raise
    return store


def open_store(disk: Disk, folder: str) -> Store:
    """Return the store of the database in *folder*, which is locked, as the last checkpoint left it."""
    identity = Identity(disk, folder, read_only=False)
    try:
        store = Store(disk, folder, identity, read_only=False)
    except BaseException:
        identity.close()
        raise
    identity.hold()
    store.load()
    return store


def _open_partner(disk: Disk, pointer: Pointer) -> Store:
    lock_fd = _lock(disk, pointer.folder, 0.0)
    try:
        partner = open_store(disk, pointer.folder)
    except BaseException:
        disk.close(lock_fd)
        raise
    partner.folder_lock = lock_fd
    return partner


def _lock(disk: Disk, folder: str, timeout: float) -> int:
    try:
        return disk.lock(folder, timeout)
    except DatabaseLocked:
        holder = "another process"
        if disk.exists(identity_path(folder)):
            identity = Identity(disk, folder, read_only=True)
            holder = f"process {identity.holder}"
            identity.close()
        raise DatabaseLocked(
            f"{folder} is being written by {holder}; wait for it (timeout=seconds), or open with read_only=True"
        ) from None


def _remove_contents(disk: Disk, folder: str) -> None:
    """Remove what a database keeps in its folder, and nothing else; first what would be replayed, or carried on."""
    for name in ("journal", "joined", "compact"):
        if disk.exists(os.path.join(folder, name)):
            disk.unlink(os.path.join(folder, name))
    for name in ("lookup", "lookup_dump.db"):
        disk.remove_tree(os.path.join(folder, name))
    files = RecordFiles(disk, folder, read_only=True)
    for number in files.numbers():
        disk.unlink(files.path(number))
