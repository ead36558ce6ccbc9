"""An entry's attributes as `os.stat` gives them."""

from __future__ import annotations

import os
import stat
from math import floor
from operator import index
from typing import Final

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.metadata import FileType
from vfs_db.moment import moment, nanoseconds, seconds

__all__ = ["OVERFLOW_ID", "kept", "stat_of", "times_of"]

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
    accessed, modified, changed = metadata.accessed_at, metadata.modified_at, metadata.created_at
    changed = max(changed, modified)
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
    if type(accessed) is int and type(modified) is int and type(changed) is int:
        rest = (
            float(accessed), float(modified), float(changed),
            accessed * 1_000_000_000, modified * 1_000_000_000, changed * 1_000_000_000,
            _BLOCK_SIZE, -(-size // 512), 0,
        )  # fmt: skip
    else:
        changed = max(metadata.created_at, modified, key=nanoseconds)
        rest = (
            seconds(accessed), seconds(modified), seconds(changed),
            nanoseconds(accessed), nanoseconds(modified), nanoseconds(changed),
            _BLOCK_SIZE, -(-size // 512), 0,
        )  # fmt: skip
    if _IS_USUAL:
        return os.stat_result(first + rest)
    return os.stat_result(first, dict(zip(_NAMES, rest, strict=True)))


def times_of(
    times: tuple[float, float] | None, ns: tuple[int, int] | None, now: int, *, keeps_ns: bool = False
) -> tuple[int, int]:
    """Return (accessed, modified) as entries keep them, cut to whole seconds unless *keeps_ns*, from what `os.utime` takes. Raises ValueError, TypeError."""
    if times is not None and ns is not None:
        raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
    if times is None and ns is None:
        return now, now
    if ns is not None:
        accessed, modified = ns
        return kept(index(accessed), keeps_ns), kept(index(modified), keeps_ns)
    assert times is not None
    accessed_s, modified_s = times
    return kept(_floor_ns(accessed_s), keeps_ns), kept(_floor_ns(modified_s), keeps_ns)


def kept(ns: int, keeps_ns: bool) -> int:
    """Return a time in nanoseconds as an entry keeps it."""
    return moment(ns) if keeps_ns else ns // 1_000_000_000


def _floor_ns(seconds: float) -> int:
    whole = floor(seconds)
    return whole * 1_000_000_000 + int((seconds - whole) * 1e9)
