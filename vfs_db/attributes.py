"""An entry's attributes as `os.stat` gives them."""

from __future__ import annotations

import os
import stat
from typing import Final

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.metadata import FileType

__all__ = ["OVERFLOW_ID", "stat_of", "times_of"]

OVERFLOW_ID: Final = 65534
"""The uid or gid of an owner or group that is no number, as Linux shows one it can't map."""

_FORMATS: Final = {FileType.file: stat.S_IFREG, FileType.directory: stat.S_IFDIR, FileType.symlink: stat.S_IFLNK}
_BLOCK_SIZE: Final = 65535


def stat_of(entry: FSEntry) -> os.stat_result:
    """Return the attributes of *entry*. st_ino is its id; st_uid and st_gid are owner and group where they are numbers."""
    metadata = entry.metadata
    size = len(entry.target.encode("utf-8", "surrogateescape")) if type(entry) is Symlink else metadata.size
    accessed, modified = metadata.accessed_at, metadata.modified_at
    changed = max(modified, metadata.created_at)
    owner, group = metadata.owner, metadata.group
    return os.stat_result(
        (
            _FORMATS[metadata.file_type] | metadata.mode & 0o7777,
            metadata.id,
            0,
            2 if type(entry) is Directory else 1,
            int(owner) if owner.isdecimal() else OVERFLOW_ID,
            int(group) if group.isdecimal() else OVERFLOW_ID,
            size,
            accessed,
            modified,
            changed,
        ),
        {
            "st_atime": float(accessed),
            "st_mtime": float(modified),
            "st_ctime": float(changed),
            "st_atime_ns": accessed * 1_000_000_000,
            "st_mtime_ns": modified * 1_000_000_000,
            "st_ctime_ns": changed * 1_000_000_000,
            "st_blksize": _BLOCK_SIZE,
            "st_blocks": -(-size // 512),
        },
    )


def times_of(
    times: tuple[float, float] | None, ns: tuple[int, int] | None, now: int
) -> tuple[int, int]:
    """Return (accessed, modified) in whole seconds, from what `os.utime` takes. Raises ValueError, TypeError."""
    if times is not None and ns is not None:
        raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
    if times is None and ns is None:
        return now, now
    if ns is not None:
        accessed, modified = ns
        return accessed // 1_000_000_000, modified // 1_000_000_000
    assert times is not None
    accessed_s, modified_s = times
    return int(accessed_s // 1), int(modified_s // 1)
