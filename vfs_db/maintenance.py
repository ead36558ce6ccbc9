"""What concerns the databases as a whole: figures, versions, space, copies."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import attrs

from vfs_db import codec
from vfs_db.commit import WritableState
from vfs_db.entries import FSEntry
from vfs_db.errors import Overtaken, database_error
from vfs_db.path import NAME_SIZE_MAX
from vfs_db.store import Store

__all__ = ["Version", "backup", "compact", "history", "new_folder", "stats", "statvfs"]

_TRIES: Final = 100


@attrs.frozen
class Version:
    """A kept version of an entry. *number* counts back from 0, the present one; *changed* names the fields that the
    version before it had otherwise (all of them for the oldest).
    """

    number: int
    entry: FSEntry
    changed: tuple[str, ...]


def history(state: WritableState, entry: FSEntry, limit: int) -> list[Version]:
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


def statvfs(state: WritableState) -> os.statvfs_result:
    """Return the figures of the disk under the metadata database, else zeros, with our longest name."""
    folder = getattr(state.databases.metadata, "path", None)
    if folder is not None and hasattr(os, "statvfs"):
        found = tuple(os.statvfs(folder))
        return os.statvfs_result((*found[:9], NAME_SIZE_MAX))
    return os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, NAME_SIZE_MAX))


def stats(state: WritableState) -> dict[str, dict[str, int | str | bool]]:
    """Return what the databases' own `stats` say, or their number of records."""
    found: dict[str, dict[str, int | str | bool]] = {}
    for name, database in (("data", state.databases.data), ("metadata", state.databases.metadata)):
        if hasattr(database, "stats"):
            found[name] = database.stats()
        elif isinstance(database, Sized):
            found[name] = {"records": len(database)}
        else:
            found[name] = {}
    return found


def compact(state: WritableState, keep_history: bool) -> None:
    """Compact both databases, where they can."""
    for database in (state.databases.data, state.databases.metadata):
        if hasattr(database, "compact"):
            database.compact(keep_history=keep_history)


def backup(state: WritableState, dest: str, snapshots: Callable[[], AbstractContextManager[Store]]) -> None:
    """Back both databases up to `data` and `metadata` in the new or empty folder *dest*: as one of *snapshots* has them.

    Raises Overtaken if a writing process has gone on during each of many tries.
    """
    data, metadata = (_copier(database) for database in (state.databases.data, state.databases.metadata))
    with new_folder(dest), data(os.path.join(dest, "data")) as one, metadata(os.path.join(dest, "metadata")) as other:
        for left in reversed(range(_TRIES)):
            try:
                with snapshots() as then:
                    one.take(then.data)
                    other.take(then.metadata)
                return
            except Exception as error:
                problem = database_error(error)
                if not (left and isinstance(problem, Overtaken)):
                    raise problem from error


def _copier(database: Any) -> Callable[[str], AbstractContextManager[Any]]:  # noqa: ANN401 - what can more than three methods
    """Return what begins a copy of a database, whose `take` makes it one of a snapshot."""
    try:
        return database.backing_up  # type: ignore[no-any-return]
    except AttributeError:
        raise io.UnsupportedOperation("a backup needs databases that make them; these do not") from None


@contextmanager
def new_folder(path: str) -> Iterator[None]:
    """Make folder *path* for what the with-block puts there; if the block fails, all is as it was before.

    The folder may be there already, empty. Raises FileExistsError.
    """
    if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise FileExistsError(errno.EEXIST, "it is there and not an empty folder; give a new one", path)
    made, above = [], os.path.abspath(path)
    while not os.path.lexists(above):
        made.append(above)
        above = os.path.dirname(above)
    try:
        os.makedirs(path, exist_ok=True)
        yield
    except BaseException as error:
        try:
            for one in os.scandir(path) if os.path.lexists(path) else ():
                if one.is_dir(follow_symlinks=False):
                    shutil.rmtree(one.path)
                else:
                    os.unlink(one.path)
            for folder in filter(os.path.lexists, made):
                os.rmdir(folder)
        except OSError as problem:
            error.add_note(f"{path}: not all that was made there could be removed ({problem})")
        raise
