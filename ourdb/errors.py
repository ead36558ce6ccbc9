"""What can go wrong, one class per kind.

Every error is an `OurDBError`; where Python has a builtin that says the same, it is the second base, so that
``except KeyError`` around a `get` keeps working.
"""

from __future__ import annotations

__all__ = [
    "CorruptRecord",
    "DatabaseClosed",
    "DatabaseFull",
    "DatabaseLocked",
    "IdOutOfRange",
    "OurDBError",
    "ReadOnly",
    "RecordNotFound",
    "RecordTooLarge",
    "SnapshotOvertaken",
    "UnsupportedFormat",
]


class OurDBError(Exception):
    """Base of all errors of this package; raised itself for misuse (an id where none may be, a wrong config)."""


class RecordNotFound(OurDBError, KeyError):
    """The id was never set, or was deleted."""

    def __str__(self) -> str:
        # KeyError shows its argument's repr; a message should read as a sentence.
        return Exception.__str__(self)


class RecordTooLarge(OurDBError, ValueError):
    """The data is longer than a record can be (65535 bytes)."""


class IdOutOfRange(OurDBError, ValueError):
    """The id is negative or not below `record_nr_max`."""


class CorruptRecord(OurDBError):
    """Bytes on disk are not what was written: *path* and *position* (bytes from its start) say where."""

    def __init__(self, path: str, position: int, reason: str) -> None:
        super().__init__(path, position, reason)
        self.path = path
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}, position {self.position}: {self.reason}"


class DatabaseFull(OurDBError):
    """No id, record file or position is left; nothing was written."""


class DatabaseLocked(OurDBError):
    """Another process writes to the folder, or another thread's transaction lasted longer than `timeout`."""


class DatabaseClosed(OurDBError, ValueError):
    """The handle was closed, or belongs to the process that this one was forked from."""


class ReadOnly(OurDBError):
    """The handle was opened with `read_only=True`."""


class SnapshotOvertaken(OurDBError):
    """The writing process went on so far that this snapshot's state is no longer on disk."""


class UnsupportedFormat(OurDBError):
    """The folder is no database, or is one of a format or config that this version cannot read."""
