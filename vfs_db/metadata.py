"""What an entry knows about itself, whatever its kind."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import attrs

__all__ = ["Extension", "FileType", "Metadata", "quick_metadata"]


class FileType(enum.IntEnum):
    """The kind of an entry; the value is its byte on disk."""

    file = 0
    directory = 1
    symlink = 2


class Extension(NamedTuple):
    """What only version 2 entries hold, and what is kept without being understood: feature bits, (tag, value) fields."""

    compatible: int = 0
    fields: tuple[tuple[int, bytes], ...] = ()


class _Fields:
    """What `quick_metadata` fills: the fields of `Metadata`, which can be set."""

    __slots__ = (
        "__weakref__", "accessed_at", "created_at", "extension", "file_type", "group", "id", "mode", "modified_at", "name", "owner", "size",
    )  # fmt: skip


@attrs.frozen
class Metadata(_Fields):
    """The attributes of an entry; *size* is bytes of content.

    Times are whole seconds since 1970, UTC; where nanoseconds are kept, each is a `Moment`, an int with the rest as `.ns`.
    """

    id: int
    name: str
    file_type: FileType
    size: int = 0
    created_at: int = 0
    modified_at: int = 0
    accessed_at: int = 0
    mode: int = attrs.field(default=0o644, repr=oct)
    owner: str = "user"
    group: str = "user"
    extension: Extension | None = None

    def named(self, name: str) -> Metadata:
        """Return a copy with another name."""
        return quick_metadata(
            self.id, name, self.file_type, self.size, self.created_at, self.modified_at, self.accessed_at,
            self.mode, self.owner, self.group, self.extension,
        )  # fmt: skip

    def modified(self, now: int, size: int) -> Metadata:
        """Return a copy with another size, modified *now*; itself when that is no change."""
        if self.modified_at == now and self.size == size:
            return self
        return quick_metadata(
            self.id, self.name, self.file_type, size, self.created_at, now, self.accessed_at,
            self.mode, self.owner, self.group, self.extension,
        )  # fmt: skip

    def is_dir(self) -> bool:
        return self.file_type == FileType.directory

    def is_file(self) -> bool:
        return self.file_type == FileType.file

    def is_symlink(self) -> bool:
        return self.file_type == FileType.symlink


def quick_metadata(
    id: int, name: str, file_type: FileType, size: int, created_at: int, modified_at: int, accessed_at: int, mode: int,
    owner: str = "user", group: str = "user", extension: Extension | None = None,
) -> Metadata:  # fmt: skip
    """Return the same as `Metadata`, in a third of the time: a frozen class sets each field by a call.

    So a class that is not frozen is filled, and made the frozen one, which has the same layout.
    """
    made: Any = _Fields()
    made.id = id
    made.name = name
    made.file_type = file_type
    made.size = size
    made.created_at = created_at
    made.modified_at = modified_at
    made.accessed_at = accessed_at
    made.mode = mode
    made.owner = owner
    made.group = group
    made.extension = extension
    made.__class__ = Metadata
    return made  # type: ignore[no-any-return]
