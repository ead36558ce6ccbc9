"""Mending what `check` finds. Called within a transaction, so that it is one commit.

What a directory lists wrongly is no longer listed; a name that can't be reached becomes `#id`; a size becomes that of the
chunks; chunks that two files share are copied. A file with a lost chunk stays as it is: nobody knows what was there.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from vfs_db import chunks
from vfs_db.change import Change
from vfs_db.check import Problem, Survey
from vfs_db.chunk_tree import ChunkIds
from vfs_db.commit import WritableState
from vfs_db.counter import Counter
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.id_list import IdList, id_list
from vfs_db.metadata import FileType
from vfs_db.tree import add, find, put_in, relist, save, with_place

__all__ = ["repair"]

_LOST: Final = "lost+found"
_PASSES_MAX: Final = 4
"""What comes out of /lost+found may need mending itself."""


def repair(state: WritableState, orphans: str) -> list[Problem]:
    """Mend what a survey finds, and return what it found."""
    if orphans not in (_LOST, "free"):
        raise ValueError(f"orphans must be 'lost+found' or 'free', not {orphans!r}")
    first: list[Problem] | None = None
    for _ in range(_PASSES_MAX):
        survey = Survey(state)
        problems = list(survey.run())
        first = problems if first is None else first
        if not survey.can_be_mended():
            break
        _mend(state, survey, orphans)
    return first or []


def _mend(state: WritableState, survey: Survey, orphans: str) -> None:
    _raise_counters(state, survey)
    for directory_id, keep in survey.keep.items():
        directory = state.entry(directory_id)
        assert type(directory) is Directory
        change = Change()
        relist(state, change, directory, id_list(keep), survey.pages.get(directory_id, ()))
        state.apply(change)
    for entry_id, name in survey.rename.items():
        change = Change()
        entry = state.entry(entry_id)
        save(state, change, entry, entry.metadata.named(name))
        change.name(entry.parent_id, name, entry_id)
        state.apply(change)
    for file_id, size in survey.resize.items():
        change = Change()
        entry = state.entry(file_id)
        save(state, change, entry, entry.metadata.modified(entry.metadata.modified_at, size))
        state.apply(change)
    for file_id in dict.fromkeys(survey.shared):
        _unshare(state, file_id)
    if orphans == _LOST:
        _adopt(state, survey)
    else:
        _free(state, survey, survey.orphans)
    change = Change()
    change.freed_chunks += survey.orphan_chunks
    state.apply(change)


def _raise_counters(state: WritableState, survey: Survey) -> None:
    store = state.store
    for source, used in (
        (store.entry_ids, chain((survey.entries.highest(),), survey.orphans, *survey.pages.values())),
        (store.chunk_ids, chain((survey.chunk_owner.highest(),), survey.orphan_chunks)),
    ):
        highest = max(used)
        if isinstance(source, Counter) and highest >= source.next_id:
            source.start_at(highest + 1)


def _unshare(state: WritableState, file_id: int) -> None:
    """Give a file chunks of its own."""
    file = state.entry(file_id)
    assert type(file) is File
    try:
        data = chunks.read(state, file)
    except OSError:
        return  # with a chunk that is lost, or a wrong size, it stays as it is
    change = Change()
    if isinstance(file.chunk_ids, ChunkIds):
        change.freed_entries += file.chunk_ids.page_ids()
    bare = File(file.metadata, file.parent_id, IdList(), finder=state)
    change.entries[file_id] = chunks.write(state, change, bare, data, file.metadata.modified_at)
    state.apply(change)


def _adopt(state: WritableState, survey: Survey) -> None:
    """Put the orphans into /lost+found; what can't be read, or shares its content with others, is freed instead."""
    readable = {}
    for orphan_id in survey.orphans:
        try:
            readable[orphan_id] = state.entry(orphan_id)
        except OSError:
            continue
    owned = survey.chunk_owner
    for orphan_id, entry in list(readable.items()):
        try:
            chunk_ids = list(entry.chunk_ids) if type(entry) is File else []
        except OSError:  # a page of its list can't be read
            del readable[orphan_id]
            continue
        if any(owned.setdefault(one, orphan_id) != orphan_id for one in chunk_ids):
            del readable[orphan_id]
    tops = _tops(readable)
    if tops:
        lost = _lost_and_found(state)
        for entry in tops:
            _adopt_one(state, lost, entry)
    _free(state, survey, [orphan_id for orphan_id in survey.orphans if orphan_id not in readable])


def _tops(readable: dict[int, FSEntry]) -> list[FSEntry]:
    """Return the fewest entries from which all the others can be reached; of a circle, one."""
    below = {
        orphan_id: [one for one in entry.children if one in readable and readable[one].parent_id == orphan_id]
        for orphan_id, entry in readable.items()
        if type(entry) is Directory
    }
    listed = {one for children in below.values() for one in children}
    tops = []
    reached: set[int] = set()
    for orphan_id in sorted(readable, key=lambda one: one in listed):
        if orphan_id not in reached:
            tops.append(readable[orphan_id])
            stack = [orphan_id]
            while stack:
                current = stack.pop()
                if current not in reached:
                    reached.add(current)
                    stack += below.get(current, ())
    return tops


def _lost_and_found(state: WritableState) -> int:
    root = state.entry(state.root_id)
    assert type(root) is Directory
    there = find(state, root, _LOST)
    if there is None:
        change = Change()
        there = add(state, change, root, _LOST, FileType.directory, state.now(), mode=0o700)
        state.apply(change)
    return there.metadata.id if type(there) is Directory else state.root_id


def _adopt_one(state: WritableState, lost_id: int, entry: FSEntry) -> None:
    lost = state.entry(lost_id)
    assert type(lost) is Directory
    entry_id = entry.metadata.id
    name = f"#{entry_id}"
    while find(state, lost, name) is not None:
        name += "_"
    change = Change()
    change.entries[entry_id] = adopted = with_place(state, entry, entry.metadata.named(name), lost_id)
    put_in(state, change, lost, adopted, lost.metadata.modified_at)
    change.moves_paths = True
    state.apply(change)


def _free(state: WritableState, survey: Survey, ids: list[int]) -> None:
    """Free entries, and those of their chunks that no file has."""
    change = Change()
    for entry_id in ids:
        change.freed_entries.append(entry_id)
        change.freed_entries += survey.pages_of(entry_id)
        change.freed_chunks += [one for one in survey.chunks_of(entry_id) if one not in survey.chunk_owner]
    state.apply(change)
