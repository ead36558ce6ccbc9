"""Making a filesystem of what can only be read: an image of the reference, or any other filesystem."""

from __future__ import annotations

import errno
import os

import attrs

from vfs_db import chunks
from vfs_db.change import Change
from vfs_db.check import Problem
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.maintenance import new_folder
from vfs_db.opening import open_path
from vfs_db.path import NAME_SIZE_MAX, PathLike, join
from vfs_db.tree import add, all_children, find, save

__all__ = ["convert"]


def convert(source: PathLike, destination: PathLike) -> list[Problem]:
    """Copy the filesystem in folder *source*, of whatever kind, into one in the new folder *destination*.

    Names, contents, modes, owners and times are kept; ids are not. What can't be read is left out, and returned; a name that
    is there twice, or can be none, becomes `#id`. All or nothing: what fails leaves *destination* as it was. Reads and writes
    everything once. Raises FileNotFoundError (no source), FileExistsError (*destination* is there, and not an empty folder),
    OSError (ESTALE: another process writes to *source*; a full disk).
    """
    folder = os.fspath(destination)
    with new_folder(folder), open_path(source, read_only=True) as old, open_path(folder) as new:
        problems = list(old.check())
        with new.transaction():
            _copy(old._state, new._state, problems)  # noqa: SLF001 - the package's own
    return problems


def _copy(old: WritableState, new: WritableState, problems: list[Problem]) -> None:
    stack: list[tuple[FSEntry, int, str]] = [(old.entry(old.root_id), new.root_id, "/")]
    while stack:
        source, made_id, path = stack.pop()
        if isinstance(source, Directory):
            for entry in all_children(old, source):
                at = join(path, entry.metadata.name)
                parent = new.entry(made_id)
                assert type(parent) is Directory
                try:
                    stack.append((entry, _copy_one(old, new, entry, parent), at))
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    problems.append(Problem("unreadable", at, entry.metadata.id, str(error.strerror)))
        _keep_attributes(new, source, made_id)


def _copy_one(old: WritableState, new: WritableState, entry: FSEntry, parent: Directory) -> int:
    change = Change()
    target = entry.target if type(entry) is Symlink else ""
    metadata = entry.metadata
    content = chunks.iterate(old, entry) if type(entry) is File else iter(())
    first = next(content, b"")
    made = add(
        new,
        change,
        parent,
        _free_name(new, parent, entry),
        metadata.file_type,
        metadata.modified_at,
        like=metadata,
        target=target,
    )
    if type(made) is File and first:
        made = chunks.write(new, change, made, first, metadata.modified_at)
        change.entries[made.metadata.id] = made
    new.apply(change)
    for data in content:
        assert type(made) is File
        piece = Change()
        made = chunks.write_range(new, piece, made, made.metadata.size, data, metadata.modified_at)
        piece.entries[made.metadata.id] = made
        new.apply(piece)
    return made.metadata.id


def _free_name(new: WritableState, parent: Directory, entry: FSEntry) -> str:
    """Return the entry's name, or `#id` for one that can be no name or is there already: an image may hold both."""
    name = entry.metadata.name
    is_valid = name not in ("", ".", "..") and "/" not in name and "\0" not in name
    if is_valid and len(name.encode("utf-8", "surrogateescape")) <= NAME_SIZE_MAX and find(new, parent, name) is None:
        return name
    name = f"#{entry.metadata.id}"
    while find(new, parent, name) is not None:
        name += "_"
    return name


def _keep_attributes(new: WritableState, source: FSEntry, made_id: int) -> None:
    made = new.entry(made_id)
    change = Change()
    save(
        new, change, made,
        attrs.evolve(source.metadata, id=made_id, name=made.metadata.name, size=made.metadata.size),
    )  # fmt: skip
    new.apply(change)
