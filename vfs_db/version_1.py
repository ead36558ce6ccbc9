"""Making a tree version 1 again, as far as it fits."""

from __future__ import annotations

from vfs_db import codec
from vfs_db.change import Change
from vfs_db.chunk_tree import ChunkIds
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.id_list import IdList
from vfs_db.metadata import Metadata
from vfs_db.name_tree import Children, page_ids
from vfs_db.tree import all_children

__all__ = ["to_version_1"]


def to_version_1(state: WritableState) -> None:
    """Make all entries version 1 that fit it. Called within a transaction."""
    seen: set[int] = set()
    stack = [state.entry(state.root_id)]
    while stack:
        entry = stack.pop()
        if entry.metadata.id in seen:
            continue
        seen.add(entry.metadata.id)
        if type(entry) is Directory:
            stack += all_children(state, entry)
        _convert(state, entry)


def _convert(state: WritableState, entry: FSEntry) -> None:
    if codec.is_version_1(entry) or entry.metadata.extension is not None:
        return
    count = len(entry.chunk_ids if type(entry) is File else entry.children if type(entry) is Directory else ())
    if 4 * count > codec.ENTRY_SIZE_MAX:
        return
    plain = _plain(state, entry)
    if len(codec.encode(plain)) > codec.ENTRY_SIZE_MAX:
        return
    change = Change()
    change.entries[entry.metadata.id] = plain
    if type(entry) is Directory and isinstance(entry.children, Children):
        change.freed_entries += page_ids(entry.children)
    elif type(entry) is File and isinstance(entry.chunk_ids, ChunkIds):
        change.freed_entries += entry.chunk_ids.page_ids()
    state.apply(change)


def _plain(state: WritableState, entry: FSEntry) -> FSEntry:
    """Return *entry* with whole seconds and a plain list."""
    old = entry.metadata
    metadata = Metadata(
        old.id, old.name, old.file_type, old.size, int(old.created_at), int(old.modified_at), int(old.accessed_at),
        old.mode, old.owner, old.group,
    )  # fmt: skip
    if type(entry) is Directory:
        return Directory(metadata, entry.parent_id, IdList(entry.children.packed), finder=state)
    if type(entry) is File:
        return File(metadata, entry.parent_id, IdList(entry.chunk_ids.packed), finder=state)
    assert type(entry) is Symlink
    return Symlink(metadata, entry.parent_id, entry.target, finder=state)
