"""What an entry knows about itself, whatever its kind."""

from __future__ import annotations

import enum

import attrs

__all__ = ["Extension", "FileType", "Metadata"]


class FileType(enum.IntEnum):
    """The kind of an entry; the value is its byte on disk."""

    file = 0
    directory = 1
    symlink = 2


@attrs.frozen
class Extension:
    """What only version 2 entries hold, and what is kept without being understood: feature bits, (tag, value) fields."""

    compatible: int = 0
    fields: tuple[tuple[int, bytes], ...] = ()


@attrs.frozen
class Metadata:
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
    mode: int = 0o644
    owner: str = "user"
    group: str = "user"
    extension: Extension | None = None

    def named(self, name: str) -> Metadata:
        """Return a copy with another name."""
        return Metadata(
            self.id, name, self.file_type, self.size, self.created_at, self.modified_at, self.accessed_at,
            self.mode, self.owner, self.group, self.extension,
        )  # fmt: skip

    def modified(self, now: int, size: int) -> Metadata:
        """Return a copy with another size, modified *now*; itself when that is no change."""
        if self.modified_at == now and self.size == size:
            return self
        return Metadata(
            self.id, self.name, self.file_type, size, self.created_at, now, self.accessed_at,
            self.mode, self.owner, self.group, self.extension,
        )  # fmt: skip

    def is_dir(self) -> bool:
        return self.file_type == FileType.directory

    def is_file(self) -> bool:
        return self.file_type == FileType.file

    def is_symlink(self) -> bool:
        return self.file_type == FileType.symlink
