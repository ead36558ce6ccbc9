"""A filesystem in two key-value databases.

`open` takes a folder, `new` two databases (OurDB, or anything with get, set and delete); both give a `DatabaseVFS`.

>>> import tempfile, vfs_db
>>> fs = vfs_db.open(tempfile.mkdtemp())
>>> folder = fs.makedirs("documents/reports")
>>> with fs.open("documents/reports/q1.txt", "w") as file:
...     _ = file.write("Q1 Report Content")
>>> fs.read_text("documents/reports/q1.txt")
'Q1 Report Content'
>>> with fs.transaction():                       # all or nothing, for other threads and after a crash
...     _ = fs.rename("documents/reports", "reports")
...     fs.delete("documents")
>>> [path for path, entry in fs.find("/") if entry.is_file()]
['/reports/q1.txt']
>>> fs.close()

Its methods do what those of `os` and `shutil` do with files on a disk, and raise the same errors with the same errno:
FileNotFoundError, IsADirectoryError, OSError (ENOTEMPTY, ELOOP, ...). A damaged entry is `DamagedEntry`, an OSError (EIO).
Any thread may call anything; every call is atomic, and `transaction` makes one of many. Paths are text with `/`,
from the root, with a leading slash or without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs_db import codec
from vfs_db.chunks import CHUNK_SIZE
from vfs_db.codec import CorruptEntry
from vfs_db.database import Database, MemoryDatabase
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import DamagedEntry, InvalidName
from vfs_db.metadata import FileType, Metadata
from vfs_db.opening import new
from vfs_db.opening import open_path as open  # noqa: A004 - vfs_db.open is the documented name
from vfs_db.reading import ReadableFS
from vfs_db.vfs import DatabaseVFS

if TYPE_CHECKING:
    from vfs_db.check import Problem
    from vfs_db.converting import convert
    from vfs_db.maintenance import Version
    from vfs_db.search import DirEntry

__all__ = [
    "CHUNK_SIZE",
    "CorruptEntry",
    "DamagedEntry",
    "Database",
    "DatabaseVFS",
    "DirEntry",
    "Directory",
    "FSEntry",
    "File",
    "FileType",
    "InvalidName",
    "MemoryDatabase",
    "Metadata",
    "Problem",
    "ReadableFS",
    "Symlink",
    "Version",
    "codec",
    "convert",
    "new",
    "open",
]


def __dir__() -> list[str]:
    return sorted(__all__)


_LATER = {
    "DirEntry": "vfs_db.search",
    "Problem": "vfs_db.check",
    "Version": "vfs_db.maintenance",
    "convert": "vfs_db.converting",
}
"""Where the names are that most programs never use: importing them takes as long as opening a filesystem."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
