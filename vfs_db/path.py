"""Paths as text: splitting, joining, and what a name may be. Knows no entries."""

from __future__ import annotations

import errno
import os
from typing import Final, TypeAlias

from vfs_db.errors import InvalidName, os_error

__all__ = [
    "NAME_SIZE_MAX", "PathLike", "as_text", "base", "check_name", "join", "names_directory", "parts", "split",
]  # fmt: skip

NAME_SIZE_MAX: Final = 255

PathLike: TypeAlias = str | os.PathLike[str]


def as_text(path: PathLike) -> str:
    """Return *path* as str. Raises TypeError for what is no path; bytes are none, as their encoding is unknown."""
    if type(path) is str:
        return path
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path is a str or os.PathLike[str], not {type(path).__name__}")
    return text


def parts(path: str) -> list[str]:
    """Return the names in *path*, without empty ones and '.'; '..' stays, as only a walk knows where it leads."""
    return [part for part in path.split("/") if part and part != "."]


def names_directory(path: str) -> bool:
    """Say whether *path* ends so that, to POSIX, only a directory can be there: with a slash, or with '.'."""
    return path.endswith(("/", "/."))


def split(path: str) -> tuple[str, str]:
    """Return (what is before the last name, the last name); the root gives ('', '')."""
    names = parts(path)
    return ("/" + "/".join(names[:-1]), names[-1]) if names else ("", "")


def base(path: str) -> str:
    """Return the last name of *path*, '' for the root."""
    return split(path)[1]


def join(directory: str, name: str) -> str:
    """Return the path of *name* in *directory*."""
    return f"{directory.rstrip('/')}/{name}"


def check_name(name: str, path: str) -> None:
    """Raise the error that *path* gives when its part *name* can be no entry's name."""
    if name.isascii() and len(name) <= NAME_SIZE_MAX and "\0" not in name:
        return
    if "\0" in name:
        raise InvalidName(errno.EINVAL, "a name holds no NUL character", path)
    try:
        size = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise InvalidName(errno.EINVAL, f"a name is UTF-8, which cannot hold {name[error.start]!r}", path) from None
    if size > NAME_SIZE_MAX:
        raise os_error(errno.ENAMETOOLONG, path)
