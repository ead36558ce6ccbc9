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
from ourdb.maintenance import Problem
from ourdb.repair import Report
from ourdb.store import Snapshot

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
