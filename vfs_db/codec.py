"""Entries as bytes: version 1, the format of the reference, here; version 2 in `codec_v2`. No I/O.

All integers are little endian; a string is its length in bytes (u16) and its bytes (UTF-8, foreign bytes escaped).

| field | type | meaning |
|---|---|---|
| version | u8 | 1 |
| type | u8 | 0 file, 1 directory, 2 symlink |
| id | u32 | the entry's own id, its key in the metadata database |
| name | string | empty for the root only |
| file type | u8 | the same as type |
| size | u64 | bytes of content |
| created at | i64 | seconds since 1970, UTC |
| modified at | i64 | seconds since 1970, UTC |
| accessed at | i64 | seconds since 1970, UTC |
| mode | u32 | permission bits |
| owner | string | |
| group | string | |
| parent id | u32 | id of the directory that holds the entry; 0 for the root |
| children | u16 n, n x u32 | directory: ids of its entries |
| chunk ids | u16 n, n x u32 | file: ids of its chunks, in order; none when size is 0 |
| target | string | symlink |

Bytes after the last field are ignored.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from vfs_db.codec_v2 import HEAD_SIZE_V2, MalformedV2, UnknownFeature, decode_v2, encode_v2, name_of_v2
from vfs_db.entries import Directory, File, FSEntry, PathFinder, Symlink, quick_directory, quick_file
from vfs_db.id_list import IdList
from vfs_db.metadata import FileType, quick_metadata

__all__ = [
    "ENTRY_SIZE_MAX", "FIELDS", "VERSION", "CorruptEntry", "UnsupportedEntry", "decode", "encode", "head_of",
    "is_version_1", "name_of",
]  # fmt: skip

VERSION: Final = 1
ENTRY_SIZE_MAX: Final = 65535

FIELDS: Final = (
    ("version", "u8"),
    ("type", "u8"),
    ("id", "u32"),
    ("name", "string"),
    ("file type", "u8"),
    ("size", "u64"),
    ("created at", "i64"),
    ("modified at", "i64"),
    ("accessed at", "i64"),
    ("mode", "u32"),
    ("owner", "string"),
    ("group", "string"),
    ("parent id", "u32"),
)

# The fields between the strings, each run of integers as one Struct.
_HEAD: Final = struct.Struct("<BBIH")
_MIDDLE: Final = struct.Struct("<BQqqqIH")
_LENGTH: Final = struct.Struct("<H")
_TAIL: Final = struct.Struct("<IH")
assert (_HEAD.size, _MIDDLE.size, _TAIL.size) == (8, 39, 6)

_SIZES: Final = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8}
_FILE: Final = FileType.file
_DIRECTORY: Final = FileType.directory
_SYMLINK: Final = FileType.symlink
_TYPES: Final = (_FILE, _DIRECTORY, _SYMLINK)


class CorruptEntry(ValueError):
    """The bytes are no entry; the message says which field, and what was found."""


class UnsupportedEntry(CorruptEntry):
    """The entry is sound, but uses features that this program does not know; the message says which."""


def is_version_1(entry: FSEntry) -> bool:
    """Say whether version 1 has a field for all that *entry* holds."""
    metadata = entry.metadata
    if metadata.extension is not None or not (
        type(metadata.modified_at) is int and type(metadata.accessed_at) is int and type(metadata.created_at) is int
    ):
        return False
    if type(entry) is File:
        return type(entry.chunk_ids) is IdList
    return type(entry) is not Directory or type(entry.children) is IdList


@lru_cache(maxsize=1024)
def _owners(owner: str, group: str) -> tuple[int, bytes]:
    """Return the length of *owner*, and what follows it up to the parent's id."""
    raw, raw_group = (text.encode("utf-8", "surrogateescape") for text in (owner, group))
    return len(raw), raw + _LENGTH.pack(len(raw_group)) + raw_group


def encode(entry: FSEntry) -> bytes:
    """Return *entry* as bytes: version 1 where that has room for all of it, else version 2.

    Raises ValueError for a value that its field can't hold, naming both.
    """
    metadata = entry.metadata
    try:
        if not is_version_1(entry):
            return encode_v2(entry)
        name = metadata.name.encode("utf-8", "surrogateescape")
        owner_size, owners = _owners(metadata.owner, metadata.group)
        head = _HEAD.pack(VERSION, metadata.file_type, metadata.id, len(name))
        middle = _MIDDLE.pack(
            metadata.file_type, metadata.size, metadata.created_at, metadata.modified_at, metadata.accessed_at,
            metadata.mode, owner_size,
        )  # fmt: skip
        if type(entry) is Symlink:
            target = entry.target.encode("utf-8", "surrogateescape")
            tail = _TAIL.pack(entry.parent_id, len(target)) + target
        else:
            packed = entry.chunk_ids.packed if type(entry) is File else entry.children.packed  # type: ignore[union-attr]
            tail = _TAIL.pack(entry.parent_id, len(packed) // 4) + packed
    except (struct.error, UnicodeEncodeError) as error:
        raise ValueError(
            f"entry {metadata.id} {metadata.name!r:.80} does not fit version {1 if is_version_1(entry) else 2}: {error}"
        ) from error
    return b"".join((head, name, middle, owners, tail))


def head_of(data: bytes) -> tuple[int, str]:
    """Return id and name of an encoded version 1 entry without decoding the rest. Raises CorruptEntry."""
    if len(data) < _HEAD.size:
        raise _fault(data)
    version, kind, entry_id, name_size = _HEAD.unpack_from(data)
    end = _HEAD.size + name_size
    if version != VERSION or kind > 2 or len(data) < end:
        raise _fault(data)
    return entry_id, data[_HEAD.size : end].decode("utf-8", "surrogateescape")


def name_of(data: bytes, entry_id: int) -> bytes:
    """Return the name of the encoded entry *entry_id*, of either version, without decoding the rest. Raises CorruptEntry.

    Costs a tenth of decoding it.
    """
    try:
        version, kind, found, size = _HEAD.unpack_from(data)
        end = 8 + size
        if version == VERSION:
            if found == entry_id and kind <= 2 and len(data) >= end:
                return data[8:end]
        elif version == 2:
            return name_of_v2(data, entry_id)
    except (struct.error, MalformedV2):
        pass
    found = decode(data).metadata.id
    raise CorruptEntry(f"the record holds entry {found}")


def decode(data: bytes, finder: PathFinder | None = None) -> FSEntry:
    """Return the entry in *data*; *finder* is what will know its path. Raises CorruptEntry."""
    if data[:1] == b"\2":
        return _decode_v2(data, finder)
    try:
        version, kind, entry_id, size = _HEAD.unpack_from(data)
        at = 8 + size
        name = data[8:at].decode("utf-8", "surrogateescape")
        type_again, content_size, created_at, modified_at, accessed_at, mode, size = _MIDDLE.unpack_from(data, at)
        at += 39
        owner = data[at : at + size].decode("utf-8", "surrogateescape")
        at += size
        (size,) = _LENGTH.unpack_from(data, at)
        at += 2
        group = data[at : at + size].decode("utf-8", "surrogateescape")
        at += size
        parent_id, count = _TAIL.unpack_from(data, at)
        at += 6
    except struct.error:
        raise _fault(data) from None
    end = at + (count if kind == 2 else 4 * count)
    if version != VERSION or kind > 2 or type_again != kind or end > len(data):
        raise _fault(data)
    metadata = quick_metadata(
        entry_id, name, _TYPES[kind], content_size, created_at, modified_at, accessed_at,
        mode, sys.intern(owner), sys.intern(group),
    )  # fmt: skip
    if kind == 0:
        if count and not content_size:
            raise _fault(data)
        return quick_file(metadata, parent_id, IdList(data[at:end]), finder)
    if kind == 1:
        return quick_directory(metadata, parent_id, IdList(data[at:end]), finder)
    return Symlink(metadata, parent_id, data[at:end].decode("utf-8", "surrogateescape"), finder=finder)


def _decode_v2(data: bytes, finder: PathFinder | None) -> FSEntry:
    if len(data) < HEAD_SIZE_V2:
        raise _fault(data)
    try:
        return decode_v2(data, finder)
    except UnknownFeature as error:
        raise UnsupportedEntry(str(error)) from None
    except MalformedV2 as error:
        raise CorruptEntry(str(error)) from None


class _Cursor:
    """Reads field by field, to say exactly which one is wrong."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, kind: str) -> int:
        size = _SIZES[kind]
        if len(self.data) - self.at < size:
            raise CorruptEntry(f"not enough data for {kind}")
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def string(self) -> None:
        size, left = self.number("u16"), len(self.data) - self.at
        if left < size:
            raise CorruptEntry(f"string length {size} exceeds remaining data length {left}")
        self.at += size

    def field(self, kind: str) -> int:
        if kind == "string":
            self.string()
            return 0
        return self.number(kind)


def _fault(data: bytes) -> CorruptEntry:
    """Return the error that says what is wrong with *data*, in the words of the reference."""
    try:
        if len(data) < 2:
            raise CorruptEntry("Corrupt metadata bytes")
        cursor = _Cursor(data)
        values: dict[str, int] = {}
        for name, kind in FIELDS:
            values[name] = cursor.field(kind)
            _check_field(name, values)
        _TAILS[values["type"]](cursor, values["size"])
    except CorruptEntry as error:
        return error
    raise AssertionError("an entry was refused that reads well field by field")


def _check_field(name: str, values: dict[str, int]) -> None:
    if name == "version" and values[name] != VERSION:
        raise CorruptEntry(f"Unsupported version {values[name]}")
    if name == "type" and values[name] > 2:
        raise CorruptEntry(f"Invalid type byte for entry: {values[name]}, expected 0 file, 1 directory or 2 symlink")
    if name == "file type" and values[name] != values["type"]:
        kind = FileType(values["type"]).name
        raise CorruptEntry(f"Invalid type byte for {kind}: {values[name]}, expected {values['type']}")


def _directory_tail(cursor: _Cursor, _size: int) -> None:
    for _ in range(cursor.number("u16")):
        cursor.number("u32")


def _file_tail(cursor: _Cursor, size: int) -> None:
    try:
        count = cursor.number("u16")
    except CorruptEntry as error:
        raise CorruptEntry(f"Failed to get block size {error}") from None
    if count and not size:
        raise CorruptEntry("File data is empty, expected zero block size")
    for _ in range(count):
        cursor.number("u32")


def _symlink_tail(cursor: _Cursor, _size: int) -> None:
    cursor.string()


_TAILS: Final[tuple[Callable[[_Cursor, int], None], ...]] = (_file_tail, _directory_tail, _symlink_tail)
