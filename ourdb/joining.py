"""How two databases that commit together find each other again after a crash.

While there is something to replay, each folder holds a small file `joined`:

======  ====  ==============================================================
offset  size  field (little endian)
======  ====  ==============================================================
0       8     magic ``OurDBjnd``
8       1     1 = the journal is in the partner's folder, 0 = in this one
9       1     zero
10      2     length n of the path
12      16    identity of the partner
28      n     path of the partner's folder, relative to this one, UTF-8
28+n    4     CRC-32 of the bytes before
======  ====  ==============================================================
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import Final, NamedTuple
from zlib import crc32

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord
from ourdb.journal import journal_path
from ourdb.store import Store

__all__ = ["Pointer", "pointer_path", "read_pointer", "remove_journal", "write_pointers"]

MAGIC: Final = b"OurDBjnd"
_FIXED: Final = struct.Struct("<8sBxH16s")
_CHECKSUM: Final = struct.Struct("<I")
_SIZE_MAX: Final = 1 << 16


class Pointer(NamedTuple):
    """The partner of a database: *folder* is its path, *has_journal* says whether the journal is there."""

    folder: str
    identity: bytes
    has_journal: bool


def pointer_path(folder: str) -> str:
    """Return the path of the pointer in database folder *folder*."""
    return os.path.join(folder, "joined")


def write_pointers(disk: Disk, owner: Store, other: Store) -> None:
    """Let both folders point at each other, durably; *owner* has the journal."""
    for here, there, has_journal in ((other, owner, True), (owner, other, False)):
        path = os.fsencode(os.path.relpath(os.path.realpath(there.folder), os.path.realpath(here.folder)))
        raw = _FIXED.pack(MAGIC, has_journal, len(path), there.identity.identity) + path
        disk.replace_file(pointer_path(here.folder), raw + _CHECKSUM.pack(crc32(raw)), sync=True)


def read_pointer(disk: Disk, folder: str) -> Pointer | None:
    """Return the pointer in *folder*, None if there is none. Raises CorruptRecord."""
    path = pointer_path(folder)
    try:
        raw = disk.read_file(path, _SIZE_MAX)
    except FileNotFoundError:
        return None
    if len(raw) < _FIXED.size + _CHECKSUM.size or _CHECKSUM.unpack_from(raw, len(raw) - 4)[0] != crc32(raw[:-4]):
        raise CorruptRecord(path, 0, "checksum of the pointer to the joined database is wrong")
    magic, has_journal, length, identity = _FIXED.unpack_from(raw)
    if (
        magic != MAGIC
        or _FIXED.size + length + _CHECKSUM.size != len(raw)
        or b"\0" in raw[_FIXED.size : -_CHECKSUM.size]
    ):
        raise CorruptRecord(path, 0, f"expected a pointer to the joined database, found {raw[:8]!r}")
    relative = os.fsdecode(raw[_FIXED.size : _FIXED.size + length])
    return Pointer(os.path.normpath(os.path.join(os.path.realpath(folder), relative)), identity, bool(has_journal))


def remove_journal(disk: Disk, folders: list[str]) -> None:
    """Remove the journal, which has nothing to replay, from the first of *folders*, then the pointers from all."""
    disk.unlink(journal_path(folders[0]))
    disk.sync_folder(folders[0])
    if len(folders) > 1:
        for folder in folders:
            with suppress(FileNotFoundError):
                disk.unlink(pointer_path(folder))
            disk.sync_folder(folder)
