"""What concerns the databases as a whole: figures, versions, space, copies."""

from __future__ import annotations

import io
import os
from collections.abc import Sized
from typing import Any

import attrs

from vfs_db import codec
from vfs_db.commit import Commits
from vfs_db.entries import FSEntry
from vfs_db.path import NAME_SIZE_MAX

__all__ = ["Version", "backup", "compact", "history", "stats", "statvfs"]


@attrs.frozen
class Version:
    """A kept version of an entry. *number* counts back from 0, the present one; *changed* names the fields that the
    version before it had otherwise (all of them for the oldest).
    """

    number: int
    entry: FSEntry
    changed: tuple[str, ...]


def history(state: Commits, entry: FSEntry, limit: int) -> list[Version]:
    """Return the kept versions of *entry*, newest first, at most *limit*."""
    database: Any = state.databases.metadata
    if not hasattr(database, "get_history"):
        raise io.UnsupportedOperation("versions need a database that keeps them; this one does not")
    entries: list[FSEntry] = []
    for data in database.get_history(entry.metadata.id, limit + 1):
        try:
            version = codec.decode(data, state)
        except codec.CorruptEntry:
            break
        if version.metadata.created_at != entry.metadata.created_at or type(version) is not type(entry):
            break  # an earlier owner of the id
        entries.append(version)
    older = [*entries[1:], None]
    return [
        Version(number, version, _changed(version, before))
        for number, (version, before) in enumerate(zip(entries[:limit], older, strict=False))
    ]


def _changed(version: FSEntry, before: FSEntry | None) -> tuple[str, ...]:
    new = _fields(version)
    if before is None:
        return tuple(new)
    old = _fields(before)
    return tuple(name for name in new if new[name] != old[name])


def _fields(entry: FSEntry) -> dict[str, object]:
    metadata = entry.metadata
    fields: dict[str, object] = {
        name: getattr(metadata, name)
        for name in ("name", "size", "modified_at", "accessed_at", "mode", "owner", "group")
    }
    fields["parent_id"] = entry.parent_id
    for name in ("children", "chunk_ids", "target"):
        if hasattr(entry, name):
            fields[name] = getattr(entry, name)
    return fields


def statvfs(state: Commits) -> os.statvfs_result:
    """Return the figures of the disk under the metadata database, else zeros, with our longest name."""
    folder = getattr(state.databases.metadata, "path", None)
    if folder is not None and hasattr(os, "statvfs"):
        found = tuple(os.statvfs(folder))
        return os.statvfs_result((*found[:9], NAME_SIZE_MAX))
    return os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, NAME_SIZE_MAX))


def stats(state: Commits) -> dict[str, object]:
    """Return what the databases' own `stats` say, or their number of records."""
    found: dict[str, object] = {}
    for name, database in (("data", state.databases.data), ("metadata", state.databases.metadata)):
        if hasattr(database, "stats"):
            found[name] = database.stats()
        elif isinstance(database, Sized):
            found[name] = {"records": len(database)}
        else:
            found[name] = {}
    return found


def compact(state: Commits, keep_history: bool) -> None:
    """Compact both databases, where they can."""
    for database in (state.databases.data, state.databases.metadata):
        if hasattr(database, "compact"):
            database.compact(keep_history=keep_history)


def backup(state: Commits, dest: str) -> None:
    """Back both databases up to `data` and `metadata` in the new folder *dest*."""
    data, metadata = state.databases.data, state.databases.metadata
    if not (hasattr(data, "backup") and hasattr(metadata, "backup")):
        raise io.UnsupportedOperation("a backup needs databases that make them; these do not")
    os.makedirs(dest)
    data.backup(os.path.join(dest, "data"))
    metadata.backup(os.path.join(dest, "metadata"))
