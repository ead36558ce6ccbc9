"""Directories and what is in them: finding a name, and the four steps that every change of the tree is made of.

`add`, `remove`, `place` and `save` put their part into a `Change`; `WritableState.apply` makes it happen. How a directory holds
its entries is known here and in `state` only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from vfs_db.change import Change
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink, is_at, quick_directory, quick_file
from vfs_db.errors import DamagedEntry
from vfs_db.id_list import NO_IDS, IdList, id_list
from vfs_db.metadata import FileType, Metadata, quick_metadata
from vfs_db.name_tree import Children, Edit, build, find_in, leaf_of, page_ids, scan
from vfs_db.name_tree import add as add_name
from vfs_db.name_tree import remove as remove_name
from vfs_db.page import NamePage, Page
from vfs_db.state import MissingEntry, State, damaged

__all__ = [
    "LISTED_MAX", "PERMISSIONS", "add", "all_children", "children", "find", "is_empty", "is_inside", "place", "put_in", "relist", "remove", "save",
    "scan_children", "with_place",
]  # fmt: skip

_MODES: Final = (0o644, 0o755, 0o777)
"""Permission bits of a new entry, by file type."""
PERMISSIONS: Final = 0o7777
LISTED_MAX: Final = 1024
"""Children of a version 1 directory; one more, and their names go into pages."""
_PAGED_MIN: Final = 512
"""Children in pages; as few as this, and the directory is version 1 again."""
_SCAN_SIZE: Final = 512
_NAME_MAX: Final = 255


def find(state: State, directory: Directory, name: str) -> FSEntry | None:
    """Return what *name* is in *directory*, None if it isn't there.

    Raises OSError (EIO) when it isn't among the readable entries of a directory that has damaged ones.
    """
    transaction = state.transaction
    if transaction is not None and transaction is state.mine():
        changes = transaction.names.get(directory.metadata.id)
        if changes is not None and name in changes:
            entry_id = changes[name]
            return state.entry(entry_id) if entry_id else None
    if isinstance(directory.children, Children):
        return _find_in_pages(state, directory, directory.children, name)
    version = state.version
    names = state.names(directory)
    known = names.get(name)
    if known is not None:
        return state.entry(known)
    ids = None if names.is_complete else names.ids_of(name)
    found = _find_among(state, directory, ids, name) if ids else None
    if found is not None:
        state.learn(directory.metadata.id, names, found.metadata, version)
        return found
    if names.damage:
        raise damaged(
            directory.metadata.id, f"no readable entry is called {name!r}, and not all can be read: {names.damage}"
        )
    return None


def _find_among(state: State, directory: Directory, ids: list[int], name: str) -> FSEntry | None:
    """Return the entry that has *name* in *directory*, if it is one of *ids*; of several (damage) the first that is listed."""
    directory_id = directory.metadata.id
    found = [entry for one_id in ids if is_at(entry := state.entry(one_id), directory_id, name)]
    if len(found) > 1:
        found.sort(key=lambda entry: directory.children.index(entry.metadata.id))
    return found[0] if found else None


def _find_in_pages(state: State, directory: Directory, ids: Children, name: str) -> FSEntry | None:
    try:
        key = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    if len(key) > _NAME_MAX:
        return None
    directory_id = directory.metadata.id
    leaf_id = leaf_of(ids, key)
    guess = state.peek_name(leaf_id, directory_id, key) if leaf_id else None
    if guess == 0:
        return None
    if guess is not None:
        with suppress(OSError):  # a guess, so nothing is wrong yet
            entry = state.entry(guess)
            if is_at(entry, directory_id, name):
                return entry
    found = find_in(ids, key)
    there = state.entry(found) if found else None
    is_there = there is not None and is_at(there, directory_id, name)
    return there if is_there else None


def scan_children(state: State, directory_id: int, after: str | None = None) -> tuple[list[FSEntry], bool]:
    """Return some of the entries in a directory as it is now, those after the name *after*, and whether there may be more.

    A directory in pages gives them in the order of their names' bytes, some hundreds at a time; others all at once.
    """
    directory = state.entry(directory_id)
    if type(directory) is not Directory:
        return [], False
    start = b"" if after is None else after.encode("utf-8", "surrogateescape")
    if not isinstance(directory.children, Children):
        found = children(state, directory)
        if after is not None:  # it has shrunk meanwhile
            found = [entry for entry in found if entry.metadata.name.encode("utf-8", "surrogateescape") > start]
        return found, False
    items = scan(directory.children, start)
    found = []
    while not found and (part := dict(islice(items, _SCAN_SIZE))):
        found = _paged_entries(state, directory, part)
    return found, bool(found)


def _paged_entries(state: State, directory: Directory, items: dict[bytes, int]) -> list[FSEntry]:
    damage: list[str] = []
    directory_id = directory.metadata.id
    entries = {entry.metadata.id: entry for entry in state.entries(list(items.values()), damage)}
    if damage:
        warnings.warn(f"{state.path_of(directory_id)}: {damage[0]}", DamagedEntry, stacklevel=4)
    found = []
    for name, one_id in items.items():
        entry = entries.get(one_id)
        if entry is not None and is_at(entry, directory_id, name.decode("utf-8", "surrogateescape")):
            found.append(entry)
    return found


def all_children(state: State, directory: Directory) -> Iterator[FSEntry]:
    """Return an iterator over the entries in *directory*; each part is read as one committed state, the first one now."""
    return _all_children(state, directory.metadata.id, *state.read(scan_children, state, directory.metadata.id))


def _all_children(state: State, directory_id: int, part: list[FSEntry], has_more: bool) -> Iterator[FSEntry]:
    yield from part
    while has_more:
        try:
            part, has_more = state.read(scan_children, state, directory_id, part[-1].metadata.name)
        except MissingEntry:  # the directory was deleted meanwhile
            return
        yield from part


def children(state: State, directory: Directory) -> list[FSEntry]:
    """Return the entries in *directory*, in the order in which they came. Warns (DamagedEntry) of what it can't read."""
    if isinstance(directory.children, Children):
        items = scan(directory.children)
        parts = iter(lambda: dict(islice(items, _SCAN_SIZE)), {})
        return [entry for part in parts for entry in _paged_entries(state, directory, part)]
    damage: list[str] = []
    directory_id = directory.metadata.id
    found = [entry for entry in state.entries(directory.children, damage) if entry.parent_id == directory_id]
    if damage:
        warnings.warn(f"{state.path_of(directory_id)}: {damage[0]}", DamagedEntry, stacklevel=2)
    return found


def is_empty(state: State, directory: Directory) -> bool:
    """Say whether nothing is in *directory*."""
    if not directory.children and type(directory.children) is IdList:
        return True
    if isinstance(directory.children, Children):
        return not scan_children(state, directory.metadata.id)[0] and not any(state.entries(directory.children))
    damage: list[str] = []
    directory_id = directory.metadata.id
    is_bare = not any(entry.parent_id == directory_id for entry in state.entries(directory.children, damage))
    return is_bare and not damage


def is_inside(state: State, directory: Directory, ancestor_id: int) -> bool:
    """Say whether *directory* is the one with *ancestor_id*, or somewhere below it. Raises OSError (EIO) for a circle."""
    return ancestor_id == state.root_id or any(
        entry.metadata.id == ancestor_id for entry in state.upwards(directory.metadata.id)
    )


def _present(change: Change, directory: Directory) -> Directory:
    """Return *directory* as *change* has left it so far."""
    entry = change.entries.get(directory.metadata.id)
    return entry if type(entry) is Directory else directory


def add(
    state: WritableState, change: Change, directory: Directory, name: str, kind: FileType, now: int, *, mode: int | None = None,
    target: str = "", like: Metadata | None = None, size: int = 0, chunk_ids: IdList = NO_IDS,
) -> FSEntry:  # fmt: skip
    """Make a new entry called *name* in *directory*; owner, group and mode as in *like*, where that is given."""
    entry_id = state.store.entry_ids.allocate()
    if mode is None:
        mode = _MODES[kind] if like is None else like.mode
    else:
        mode &= PERMISSIONS
    if like is None:
        metadata = quick_metadata(entry_id, name, kind, size, now, now, now, mode)
    else:
        metadata = quick_metadata(
            entry_id, name, kind, size, now, like.modified_at, like.accessed_at, mode, like.owner, like.group
        )  # fmt: skip
    directory_id = directory.metadata.id
    entry: FSEntry
    if kind is FileType.file:
        entry = quick_file(metadata, directory_id, chunk_ids, state)
    elif kind is FileType.directory:
        entry = Directory(metadata, directory_id, finder=state)
    else:
        entry = Symlink(metadata, directory_id, target, finder=state)
    change.created.append(entry_id)
    change.entries[entry_id] = entry
    put_in(state, change, directory, entry, now)
    return entry


def put_in(state: WritableState, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    """Note *entry* in *directory*."""
    directory = _present(change, directory)
    metadata = directory.metadata
    entry_id = entry.metadata.id
    ids = directory.children
    if isinstance(ids, Children) and not state.strict_v1:
        ids = _edited(state, change, ids, entry.metadata.name, entry_id)
    elif isinstance(ids, Children):
        ids = _listed(state, change, ids).added_one(entry_id)
    elif len(ids) < LISTED_MAX or state.strict_v1:
        ids = ids.added_one(entry_id)
    else:
        ids = _paged(state, change, directory, ids.added_one(entry_id), entry)
    _keep(state, change, directory, ids, now)
    change.name(metadata.id, entry.metadata.name, entry_id)


def _unlist(state: WritableState, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    directory = _present(change, directory)
    metadata = directory.metadata
    ids = directory.children
    if isinstance(ids, Children):
        ids = _edited(state, change, ids, entry.metadata.name, 0)
        if ids.length <= _PAGED_MIN:
            ids = _listed(state, change, ids)
    else:
        ids = ids.without(entry.metadata.id)
    _keep(state, change, directory, ids, now)
    change.name(metadata.id, entry.metadata.name, 0)


def _keep(state: WritableState, change: Change, directory: Directory, ids: IdList, now: int) -> None:
    metadata = directory.metadata
    change.entries.pop(metadata.id, None)  # behind its pages
    change.entries[metadata.id] = quick_directory(
        metadata.modified(now, metadata.size), directory.parent_id, ids, state
    )


class _Pages:
    """The pages as *change* has left them so far."""

    def __init__(self, state: WritableState, change: Change) -> None:
        self._state = state
        self._change = change

    def page(self, page_id: int, owner_id: int) -> Page:
        found = self._change.entries.get(page_id)
        return found if isinstance(found, NamePage) else self._state.page(page_id, owner_id)


def _edit(state: WritableState, change: Change, directory_id: int) -> Edit:
    allocate = state.store.entry_ids.allocate
    return Edit(_Pages(state, change), directory_id, allocate, may_merge=state.store.is_transactional)


def _collect(change: Change, edit: Edit) -> None:
    for page in edit.pages():
        change.entries[page.id] = page
    change.created += edit.made
    for page_id in edit.freed:
        change.entries.pop(page_id, None)
    change.freed_entries += edit.freed


def _edited(state: WritableState, change: Change, ids: Children, name: str, entry_id: int) -> Children:
    """Put *name* into the pages, or, without an id, take it out."""
    edit = _edit(state, change, ids.owner_id)
    key = name.encode("utf-8", "surrogateescape")
    if entry_id:
        count = ids.length + add_name(edit, ids.root, key, entry_id)
    else:
        count = ids.length - remove_name(edit, ids.root, key)
    _collect(change, edit)
    return Children(ids.root, max(0, count), ids.owner_id, state)


def relist(state: WritableState, change: Change, directory: Directory, ids: IdList, freed_pages: Iterable[int]) -> None:
    """Make *ids* the children of *directory*, in new pages where they are many."""
    change.freed_entries += freed_pages
    if len(ids) > LISTED_MAX and not state.strict_v1:
        ids = _paged(state, change, directory, ids)
    _keep(state, change, directory, ids, directory.metadata.modified_at)


def _paged(
    state: WritableState, change: Change, directory: Directory, ids: IdList, added: FSEntry | None = None
) -> IdList:
    """Return the children of *directory*, *ids*, in pages; as they are if not every name is known or they collide.

    *added*: the entry that comes in, as it will be: one that is moved is not among the changes yet.
    """
    directory_id = directory.metadata.id
    items: dict[bytes, int] = {}
    damage: list[str] = []
    changes = change.entries if added is None else change.entries | {added.metadata.id: added}
    kept = [one_id for one_id in ids if one_id not in changes]
    changed = [one for one_id in ids if (one := changes.get(one_id)) is not None]
    for one in (*state.entries(kept, damage), *changed):
        if isinstance(one, (Directory, File, Symlink)) and one.parent_id == directory_id and one.metadata.name:
            items[one.metadata.name.encode("utf-8", "surrogateescape")] = one.metadata.id
    if len(items) != len(ids) or damage or any(len(name) > 255 for name in items):
        return ids
    edit = _edit(state, change, directory_id)
    root = build(edit, sorted(items.items()))
    _collect(change, edit)
    return Children(root, len(items), directory_id, state)


def _listed(state: WritableState, change: Change, ids: Children) -> IdList:
    """Return the children in a list, and free the pages."""
    pages = Children(ids.root, ids.length, ids.owner_id, _Pages(state, change))
    items = list(scan(pages))
    if len(items) > LISTED_MAX and not state.strict_v1:  # the count was wrong
        return Children(ids.root, len(items), ids.owner_id, state)
    freed = list(page_ids(pages))
    for page_id in freed:
        change.entries.pop(page_id, None)
    change.freed_entries += freed
    return id_list([one_id for _, one_id in items])


def remove(state: WritableState, change: Change, directory: Directory, entry: FSEntry, now: int) -> None:
    """Take *entry* out of *directory*, and free it and its content."""
    _unlist(state, change, directory, entry, now)
    change.free(entry)


def place(
    state: WritableState, change: Change, old: Directory, new: Directory, entry: FSEntry, name: str, now: int
) -> FSEntry:
    """Give *entry*, which is in *old*, the name *name* in *new*."""
    if type(entry) is not File:
        change.moves_paths = True
    entry_id = entry.metadata.id
    if old.metadata.id == new.metadata.id:
        moved = save(state, change, entry, entry.metadata.named(name))
        change.name(old.metadata.id, entry.metadata.name, 0)
        change.name(new.metadata.id, name, entry_id)
        directory = _present(change, old)
        ids = directory.children
        if isinstance(ids, Children):
            ids = _edited(state, change, ids, name, entry_id)
            ids = _edited(state, change, ids, entry.metadata.name, 0)
        _keep(state, change, directory, ids, now)
        return moved
    # A reader believes an entry that names its directory; so the new one lists it first, and the old one drops it last.
    moved = with_place(state, entry, entry.metadata.named(name), new.metadata.id)
    put_in(state, change, new, moved, now)
    change.entries[entry_id] = moved
    _unlist(state, change, old, entry, now)
    return moved


def save(state: WritableState, change: Change, entry: FSEntry, metadata: Metadata) -> FSEntry:
    """Give *entry* other metadata."""
    saved = with_place(state, entry, metadata, entry.parent_id)
    change.entries[metadata.id] = saved
    return saved


def with_place(state: State, entry: FSEntry, metadata: Metadata, parent_id: int) -> FSEntry:
    """Return *entry* with other metadata, in another directory."""
    if type(entry) is Directory:
        return quick_directory(metadata, parent_id, entry.children, state)
    if type(entry) is File:
        return quick_file(metadata, parent_id, entry.chunk_ids, state)
    assert type(entry) is Symlink
    return Symlink(metadata, parent_id, entry.target, finder=state)
