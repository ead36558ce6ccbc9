"""A filesystem in two key-value databases.

`open` takes a folder, `new` two databases (OurDB, or anything with get, set and delete); both give a `DatabaseVFS`.
"""

from vfs_db import codec
from vfs_db.check import Problem
from vfs_db.chunks import CHUNK_SIZE
from vfs_db.codec import CorruptEntry
from vfs_db.converting import convert
from vfs_db.database import Database, MemoryDatabase
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import DamagedEntry, InvalidName
from vfs_db.maintenance import Version
from vfs_db.metadata import FileType, Metadata
from vfs_db.opening import new
from vfs_db.opening import open_path as open  # noqa: A004 - vfs_db.open is the documented name
from vfs_db.reading import ReadableFS
from vfs_db.search import DirEntry
from vfs_db.vfs import DatabaseVFS

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
