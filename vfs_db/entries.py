"""The three kinds of entry: what a filesystem is made of. Values, which never change once made."""

from __future__ import annotations

from collections.abc import Iterable  # noqa: F401 - in the types that attrs takes from converters
from typing import Final, Protocol, TypeAlias

import attrs

from vfs_db.id_list import NO_IDS, IdList, id_list
from vfs_db.metadata import FileType, Metadata
from vfs_db.page import Page

__all__ = ["Directory", "FSEntry", "File", "PathFinder", "Symlink", "is_at", "quick_directory", "quick_file"]


class PathFinder(Protocol):
    """What knows the present path of an entry, and its pages: the tree it was read from."""

    def path_of(self, entry_id: int, /) -> str: ...
    def page(self, page_id: int, owner_id: int, /) -> Page: ...


@attrs.define(eq=False)
class _Entry:
    metadata: Metadata
    parent_id: int
    _finder: PathFinder | None = attrs.field(default=None, eq=False, repr=False, kw_only=True, alias="finder")

    def get_metadata(self) -> Metadata:
        return self.metadata

    def get_path(self) -> str:
        """Return the entry's absolute path as it is now, wherever it was moved since it was read.

        Raises FileNotFoundError when the entry is gone, ValueError when it was never part of a filesystem (an entry
        made by hand or decoded from bytes). Costs one entry per level.
        """
        if self._finder is None:
            raise ValueError(
                f"entry {self.metadata.id} {self.metadata.name!r} belongs to no filesystem, so it has no path"
            )
        return self._finder.path_of(self.metadata.id)

    def is_dir(self) -> bool:
        return self.metadata.file_type == FileType.directory

    def is_file(self) -> bool:
        return self.metadata.file_type == FileType.file

    def is_symlink(self) -> bool:
        return self.metadata.file_type == FileType.symlink


class _DirectoryFields(_Entry):
    __slots__ = ("children",)
    children: IdList


@attrs.frozen
class Directory(_DirectoryFields):
    """A directory: the ids of its entries, in the order in which they came."""

    children: IdList = attrs.field(default=NO_IDS, converter=id_list)


class _FileFields(_Entry):
    __slots__ = ("chunk_ids",)
    chunk_ids: IdList


@attrs.frozen
class File(_FileFields):
    """A file: the ids of its chunks in the data database, in order."""

    chunk_ids: IdList = attrs.field(default=NO_IDS, converter=id_list)


@attrs.frozen
class Symlink(_Entry):
    """A symbolic link: its target, as it was given."""

    target: str = ""


_new: Final = object.__new__


def quick_directory(metadata: Metadata, parent_id: int, children: IdList, finder: PathFinder | None) -> Directory:
    """Return the same as `Directory`, in half of the time; see `quick_metadata`."""
    made = _new(_DirectoryFields)
    made.metadata = metadata
    made.parent_id = parent_id
    made._finder = finder  # noqa: SLF001 - this module's own
    made.children = children
    made.__class__ = Directory
    return made  # type: ignore[return-value]


def quick_file(metadata: Metadata, parent_id: int, chunk_ids: IdList, finder: PathFinder | None) -> File:
    """Return the same as `File`, in half of the time; see `quick_metadata`."""
    made = _new(_FileFields)
    made.metadata = metadata
    made.parent_id = parent_id
    made._finder = finder  # noqa: SLF001 - this module's own
    made.chunk_ids = chunk_ids
    made.__class__ = File
    return made  # type: ignore[return-value]


FSEntry: TypeAlias = Directory | File | Symlink


def is_at(entry: FSEntry, directory_id: int, name: str) -> bool:
    """Say whether *entry* has that name in that directory; what lists it may be older, or damaged."""
    return entry.parent_id == directory_id and entry.metadata.name == name
