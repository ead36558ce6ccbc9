"""OurDB: a small keyed store in pure Python that keeps the history of every record.

>>> import ourdb, tempfile
>>> db = ourdb.new(path=tempfile.mkdtemp())
>>> record_id = db.set(data=b"one")
>>> db.set(id=record_id, data=b"two")
1
>>> db.get(record_id), db.get_history(record_id, 5)
(b'two', [b'two', b'one'])
>>> db.destroy()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ourdb.config import Config
from ourdb.db import OurDB, joined, new, open_recovered, repair
from ourdb.errors import (
    CorruptRecord,
    DatabaseClosed,
    DatabaseFull,
    DatabaseLocked,
    IdOutOfRange,
    OurDBError,
    ReadOnly,
    RecordNotFound,
    RecordTooLarge,
    SnapshotOvertaken,
    UnsupportedFormat,
)
from ourdb.location import Location
from ourdb.snapshot import Snapshot

if TYPE_CHECKING:
    from ourdb.check import Problem
    from ourdb.rebuilding import Report

__all__ = [
    "Config",
    "CorruptRecord",
    "DatabaseClosed",
    "DatabaseFull",
    "DatabaseLocked",
    "IdOutOfRange",
    "Location",
    "OurDB",
    "OurDBError",
    "Problem",
    "ReadOnly",
    "RecordNotFound",
    "RecordTooLarge",
    "Report",
    "Snapshot",
    "SnapshotOvertaken",
    "UnsupportedFormat",
    "joined",
    "new",
    "open_recovered",
    "repair",
]


def __dir__() -> list[str]:
    return sorted(__all__)


_LATER = {"Problem": "ourdb.check", "Report": "ourdb.rebuilding"}
"""Where the names are that most programs never use: importing them takes as long as opening a database."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
