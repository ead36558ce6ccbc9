"""The record: a 12-byte header and the data. Bytes only, no I/O.

======  ====  ==================  ==========================================================
offset  size  field               encoding
======  ====  ==================  ==========================================================
0       2     data size           u16 little endian
2       4     CRC-32 of the data  u32 little endian, zlib's polynomial
6       6     previous location   u48 big endian (`ourdb.location`); 0 = no earlier version
12      n     data
======  ====  ==================  ==========================================================
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = ["EMPTY_HEADER", "HEADER", "HEADER_SIZE", "Header", "decode_header", "encode"]

HEADER: Final = struct.Struct("<HI6s")
PACK_HEADER: Final = HEADER.pack
HEADER_SIZE: Final = 12
assert HEADER.size == HEADER_SIZE, "docs/format.md says 12"

EMPTY_HEADER: Final = bytes(HEADER_SIZE)
"""Header of an empty record without history; also what a deleted record's header looks like."""


class Header(NamedTuple):
    """A record's header, decoded."""

    data_size: int
    crc: int
    previous: int


def encode(data: bytes, previous: int) -> bytes:
    """Return the record of *data* whose earlier version lies at *previous* (0: none)."""
    return PACK_HEADER(len(data), crc32(data), previous.to_bytes(6, "big")) + data


def decode_header(raw: bytes) -> Header:
    """Return the header in the first 12 bytes of *raw*."""
    data_size, crc, previous = HEADER.unpack_from(raw)
    return Header(data_size, crc, int.from_bytes(previous, "big"))
