"""Entries as bytes: version 2, for what version 1 has no room for. No I/O.

Long lists in pages, times to the nanosecond, fields and features yet to come. Little endian; a string is its length in bytes
(u16) and its bytes (UTF-8, foreign bytes escaped).

| field | type | meaning |
|---|---|---|
| version | u8 | 2 |
| type | u8 | 0 file, 1 directory, 2 symlink |
| magic | 2 bytes | "vf" |
| id | u32 | the entry's own id, its key in the metadata database |
| incompatible | u32 | features that a reader must know, else the entry is refused; bit 0: the list is in pages |
| compatible | u32 | features that a reader need not know; kept |
| parent id | u32 | id of the directory that holds the entry; 0 for the root |
| size | u64 | bytes of content |
| created at | i64, u32 | seconds since 1970, UTC; nanoseconds, below 10^9 |
| modified at | i64, u32 | |
| accessed at | i64, u32 | |
| mode | u32 | permission bits |
| name | string | empty for the root only |
| owner | string | |
| group | string | |
| list | u32 n, n x u32 | without bit 0: ids of children or chunks |
| pages | u32, u32 | with bit 0: id of the root page, count of children or chunks |
| target | string | symlink, in place of a list |
| fields | u16 n, n x (u16 tag, u16 length, bytes) | tags ascend; those that a reader does not know are kept |

Nothing follows the last field.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from vfs_db.chunk_tree import ChunkIds
from vfs_db.entries import Directory, File, FSEntry, PathFinder, Symlink
from vfs_db.id_list import IdList
from vfs_db.metadata import Extension, FileType, Metadata
from vfs_db.moment import moment
from vfs_db.name_tree import Children

__all__ = ["FIELDS_V2", "HEAD_SIZE_V2", "MalformedV2", "UnknownFeature", "decode_v2", "encode_v2", "name_of_v2"]

FIELDS_V2: Final = (
    ("version", "u8"), ("type", "u8"), ("magic", "2 bytes"), ("id", "u32"), ("incompatible", "u32"), ("compatible", "u32"),
    ("parent id", "u32"), ("size", "u64"), ("created at", "i64, u32"), ("modified at", "i64, u32"),
    ("accessed at", "i64, u32"), ("mode", "u32"), ("name", "string"), ("owner", "string"), ("group", "string"),
)  # fmt: skip

_VERSION: Final = 2
_MAGIC: Final = b"vf"
_PAGED: Final = 1
_HEAD: Final = struct.Struct("<BB2sIIIIQqIqIqII")
_LENGTH: Final = struct.Struct("<H")
_COUNT: Final = struct.Struct("<I")
_PAGES: Final = struct.Struct("<II")
_FIELD: Final = struct.Struct("<HH")
_NS_END: Final = 1_000_000_000
HEAD_SIZE_V2: Final = _HEAD.size
assert _HEAD.size == 68


class MalformedV2(ValueError):
    """The bytes are no version 2 entry; the message says why."""


class UnknownFeature(MalformedV2):
    """The entry uses a feature that this program does not know."""


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return _LENGTH.pack(len(raw)) + raw


def encode_v2(entry: FSEntry) -> bytes:
    """Return *entry* as bytes. Raises struct.error or UnicodeEncodeError for a value that its field can't hold."""
    metadata = entry.metadata
    extension = metadata.extension or Extension()
    incompatible = 0
    if type(entry) is Symlink:
        body = _string(entry.target)
    else:
        ids = entry.chunk_ids if type(entry) is File else entry.children  # type: ignore[union-attr]
        if isinstance(ids, (ChunkIds, Children)):
            incompatible = _PAGED
            body = _PAGES.pack(ids.root, ids.length)
        else:
            body = _COUNT.pack(len(ids)) + ids.packed
    times = [
        part
        for time in (metadata.created_at, metadata.modified_at, metadata.accessed_at)
        for part in (int(time), getattr(time, "ns", 0))
    ]
    head = _HEAD.pack(
        _VERSION, metadata.file_type, _MAGIC, metadata.id, incompatible, extension.compatible, entry.parent_id, metadata.size,
        *times, metadata.mode,
    )  # fmt: skip
    fields = [_FIELD.pack(tag, len(value)) + value for tag, value in extension.fields]
    strings = [_string(metadata.name), _string(metadata.owner), _string(metadata.group)]
    return b"".join((head, *strings, body, _LENGTH.pack(len(fields)), *fields))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        self.at += layout.size
        if self.at > len(self.data):
            raise MalformedV2(f"a version 2 entry ends within a field, at byte {len(self.data)}")
        return layout.unpack_from(self.data, self.at - layout.size)

    def bytes(self, size: int) -> bytes:
        left = len(self.data) - self.at
        if size > left:
            raise MalformedV2(f"a field of {size} bytes exceeds the remaining {left}")
        self.at += size
        return self.data[self.at - size : self.at]

    def string(self) -> str:
        return self.bytes(*self.unpack(_LENGTH)).decode("utf-8", "surrogateescape")


def name_of_v2(data: bytes, entry_id: int) -> bytes:
    """Return the name of the encoded entry *entry_id*, without decoding the rest. Raises struct.error, MalformedV2."""
    version, kind, magic, found = _HEAD.unpack_from(data)[:4]
    (size,) = _LENGTH.unpack_from(data, _HEAD.size)
    end = _HEAD.size + 2 + size
    if (version, magic, found) != (_VERSION, _MAGIC, entry_id) or kind > 2 or len(data) < end:
        raise MalformedV2("its head is damaged")
    return data[_HEAD.size + 2 : end]


def decode_v2(data: bytes, finder: PathFinder | None) -> FSEntry:
    """Return the version 2 entry in *data*. Raises MalformedV2; UnknownFeature is one."""
    reader = _Reader(data)
    version, kind, magic, entry_id, incompatible, compatible, parent_id, size, *rest = reader.unpack(_HEAD)
    if version != _VERSION or magic != _MAGIC:
        raise MalformedV2(f"Unsupported version {version}")
    if kind > 2:
        raise MalformedV2(f"Invalid type byte for entry: {kind}, expected 0 file, 1 directory or 2 symlink")
    unknown = incompatible & ~_PAGED
    if unknown:
        raise UnknownFeature(
            f"entry {entry_id} uses features 0x{unknown:x} that this version does not know; a newer one reads it"
        )
    created, created_ns, modified, modified_ns, accessed, accessed_ns, mode = rest
    if max(created_ns, modified_ns, accessed_ns) >= _NS_END:
        raise MalformedV2(f"entry {entry_id} has a time of {max(created_ns, modified_ns, accessed_ns)} nanoseconds")
    name, owner, group = reader.string(), reader.string(), reader.string()
    ids: IdList = IdList()
    target = ""
    if kind == FileType.symlink:
        target = reader.string()
    elif incompatible & _PAGED:
        root, count = reader.unpack(_PAGES)
        ids = (Children if kind == FileType.directory else ChunkIds)(root, count, entry_id, finder)
    else:
        ids = IdList(reader.bytes(4 * reader.unpack(_COUNT)[0]))
    if kind == FileType.file and len(ids) and not size:
        raise MalformedV2("File data is empty, expected zero block size")
    extension = _extension(reader, compatible)
    metadata = Metadata(
        entry_id, name, FileType(kind), size, moment(created * _NS_END + created_ns),
        moment(modified * _NS_END + modified_ns), moment(accessed * _NS_END + accessed_ns), mode, owner, group, extension,
    )  # fmt: skip
    if kind == FileType.file:
        return File(metadata, parent_id, ids, finder=finder)
    if kind == FileType.directory:
        return Directory(metadata, parent_id, ids, finder=finder)
    return Symlink(metadata, parent_id, target, finder=finder)


def _extension(reader: _Reader, compatible: int) -> Extension | None:
    fields = []
    last = -1
    for _ in range(*reader.unpack(_LENGTH)):
        tag, size = reader.unpack(_FIELD)
        if tag <= last:
            raise MalformedV2(f"tag {tag} follows tag {last}; tags ascend")
        last = tag
        fields.append((tag, reader.bytes(size)))
    if reader.at != len(reader.data):
        raise MalformedV2(f"{len(reader.data) - reader.at} bytes follow the last field")
    return Extension(compatible, tuple(fields)) if compatible or fields else None
