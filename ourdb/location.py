"""Where a record lies: record file and position, as one whole number.

A location is ``file_number << 32 | position``. That number, written big endian, is at once the slot of the lookup
table (in as many bytes as the key size) and the previous location in a record's header (always 6 bytes).
0 means none, since byte 0 of a record file belongs to no record.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["NONE", "POSITION_MASK", "Location", "join", "split"]

NONE: Final = 0
POSITION_MASK: Final = 0xFFFFFFFF


class Location(NamedTuple):
    """A location in its two parts, for people."""

    file_number: int
    position: int


def join(file_number: int, position: int) -> int:
    """Return the location of *position* (bytes from the start) in record file *file_number*."""
    return file_number << 32 | position


def split(location: int) -> Location:
    """Return *location* in its two parts."""
    return Location(location >> 32, location & POSITION_MASK)
