"""The errors of a filesystem: what `os` raises, with errno and path.

`OSError` picks the subclass by errno itself (ENOENT gives FileNotFoundError), so one function makes them all.
"""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["DamagedEntry", "InvalidName", "Overtaken", "database_error", "os_error"]

_ERRNO_OF: Final = {
    "CorruptRecord": errno.EIO,
    "DatabaseFull": errno.ENOSPC,
    "IdOutOfRange": errno.ENOSPC,
    "ReadOnly": errno.EROFS,
    "RecordNotFound": errno.EIO,
    "RecordTooLarge": errno.EFBIG,
    "UnsupportedFormat": errno.EINVAL,
    "DatabaseLocked": errno.EAGAIN,
}


class InvalidName(OSError, ValueError):
    """A name that no entry can have: with NUL or '/', or with characters that UTF-8 cannot hold (EINVAL)."""


class DamagedEntry(UserWarning):
    """A directory holds an entry that cannot be read; the others are still shown. `check` says more."""


class Overtaken(OSError):
    """ESTALE: the writing process has gone on so far that the state being read is no longer on disk."""


def os_error(code: int, path: str | None, path2: str | None = None) -> OSError:
    """Return the error that `os` raises for *code*, about *path* (and *path2* for operations on two)."""
    if path2 is None:
        return OSError(code, os.strerror(code), path)
    return OSError(code, os.strerror(code), path, None, path2)


def database_error(error: Exception, path: str | None = None) -> Exception:
    """Return what the filesystem raises for *error* from a database.

    Known by the name of the error's class (the core imports no database): damage is EIO, a full database ENOSPC, one
    opened for reading EROFS, and so on. Errors that are the system's already, and unknown ones, come back as they are.
    """
    if isinstance(error, OSError):
        return error
    for kind in type(error).__mro__:
        if kind.__name__ == "SnapshotOvertaken":
            return Overtaken(errno.ESTALE, f"{os.strerror(errno.ESTALE)}: {error}", path)
        code = _ERRNO_OF.get(kind.__name__)
        if code is not None:
            return OSError(code, f"{os.strerror(code)}: {error}", path)
    return error
