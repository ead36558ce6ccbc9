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

_FORMATS: Final = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
assert (FileType.file, FileType.directory, FileType.symlink) == (0, 1, 2)
_BLOCK_SIZE: Final = 65535

_NAMES: Final = (
    "st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blksize", "st_blocks", "st_rdev",
)  # fmt: skip
_IS_USUAL: Final = os.stat_result.n_fields == 19 and tuple(os.stat_result(range(19)).__reduce__()[1][1]) == _NAMES
"""The fields after the first ten stand in this order, so that a sequence can give them; else they are given by name."""


def stat_of(entry: FSEntry) -> os.stat_result:
    """Return the attributes of *entry*. st_ino is its id; st_uid and st_gid are owner and group where they are numbers."""
    metadata = entry.metadata
    size = len(entry.target.encode("utf-8", "surrogateescape")) if type(entry) is Symlink else metadata.size
    accessed, modified = metadata.accessed_at, metadata.modified_at
    changed = max(modified, metadata.created_at)
    owner, group = metadata.owner, metadata.group
    first = (
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
    )
    rest = (
        float(accessed), float(modified), float(changed),
        accessed * 1_000_000_000, modified * 1_000_000_000, changed * 1_000_000_000,
        _BLOCK_SIZE, -(-size // 512), 0,
    )  # fmt: skip
    if _IS_USUAL:
        return os.stat_result(first + rest)
    return os.stat_result(first, dict(zip(_NAMES, rest, strict=True)))


def times_of(times: tuple[float, float] | None, ns: tuple[int, int] | None, now: int) -> tuple[int, int]:
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
