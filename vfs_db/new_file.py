"""A new file of one chunk or none: the usual case of `file_write` and `file_create`, written out.

The same as `chunks.place`, `tree.add` and `WritableState.apply`, in half of the time; what is not usual is left to them.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from vfs_db.chunks import CHUNK_SIZE
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, quick_directory, quick_file
from vfs_db.id_list import NO_IDS, IdList
from vfs_db.metadata import FileType, quick_metadata
from vfs_db.page import Page
from vfs_db.path import NAME_SIZE_MAX
from vfs_db.tree import LISTED_MAX, PERMISSIONS

__all__ = ["add_small_file", "new_small_file"]

_MODE: Final = 0o644
_FILE: Final = FileType.file
_pack: Final = Struct("<I").pack
_PACKED_MAX: Final = 4 * LISTED_MAX


def new_small_file(state: WritableState, path: str, data: bytes, mode: int = _MODE) -> File | None:
    """Make a file at *path* with content *data*; None, and nothing is done, where the general way has to see to it.

    Usual is: the directory's path, its entry and its names are known, and the name is not among them.
    """
    head, _, name = path.rpartition("/")
    if name in ("", ".", "..") or not name.isascii() or len(name) > NAME_SIZE_MAX or "\0" in name:
        return None
    transaction = state.transaction
    directory: FSEntry | Page | None
    if transaction is None:
        directory = state.cached(state.prefixes.get(head, 0))
    else:
        directory_id = transaction.prefixes.get(head, 0)
        directory = transaction.entries.get(directory_id)
        if name in transaction.names.get(directory_id, ()):
            return None
    if type(directory) is not Directory or type(directory.children) is not IdList:
        return None
    names = state.names(directory)
    if name in names or not (names.is_complete or (not names.damage and not names.ids_of(name))):
        return None
    now = state.now()
    return add_small_file(state, directory, name, data, mode & PERMISSIONS, now, now, now)


def add_small_file(
    state: WritableState, directory: Directory, name: str, data: bytes, mode: int, now: int, modified_at: int, accessed_at: int
) -> File | None:  # fmt: skip
    """Add a file called *name*, which is not in *directory*; None, and nothing is done, where the general way has to see to it."""
    directory_id, children, transaction = directory.metadata.id, directory.children, state.transaction
    if len(data) > CHUNK_SIZE or type(children) is not IdList or len(children.packed) >= _PACKED_MAX:
        return None
    changes: dict[str, int] | None = None
    if transaction is not None:
        changes = transaction.names.get(directory_id)
        if changes is None or len(transaction.blocks) > 1 or transaction.entries.get(directory_id) is not directory:
            return None
    if not state.store.is_transactional:
        return None
    entry_id, chunks, chunk_ids = state.store.entry_ids.allocate(), [], NO_IDS
    if data:
        chunk_id = state.store.chunk_ids.allocate()
        chunks, chunk_ids = [(chunk_id, data)], IdList(_pack(chunk_id))
    file = quick_file(
        quick_metadata(entry_id, name, _FILE, len(data), now, modified_at, accessed_at, mode),
        directory_id, chunk_ids, state,
    )  # fmt: skip
    metadata = directory.metadata
    directory = quick_directory(
        metadata.modified(now, metadata.size), directory.parent_id, children.added_one(entry_id), state
    )  # fmt: skip
    state.add_file(file, directory, changes, chunks)
    return file
