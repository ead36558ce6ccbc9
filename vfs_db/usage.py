"""How much is in a tree: the sums that `du` prints."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import attrs

from vfs_db.entries import Directory, FSEntry
from vfs_db.path import join
from vfs_db.search import Readable

__all__ = ["usage"]


@attrs.define
class _Open:
    """A directory on the way to the present entry, and what was added up in it so far."""

    path: str
    directory: Directory
    rest: Iterator[FSEntry]
    size: int = 0


def usage(fs: Readable, path: str) -> Iterator[tuple[str, FSEntry, int]]:
    """Yield (path, entry, bytes of content) for all at and below *path*, a directory after what is in it, with its sum.

    Links are not followed and count nothing. Raises OSError (EIO) for a directory that contains itself.
    """
    top = fs.get(path)
    if not isinstance(top, Directory):
        yield path, top, top.metadata.size
        return
    stack = [_Open(path, top, fs.each_by_name(top))]
    ids = {top.metadata.id}
    while stack:
        now = stack[-1]
        entry = next(now.rest, None)
        if entry is None:
            stack.pop()
            ids.discard(now.directory.metadata.id)
            yield now.path, now.directory, now.size
            if stack:
                stack[-1].size += now.size
            continue
        at = join(now.path, entry.metadata.name)
        if isinstance(entry, Directory):
            if entry.metadata.id in ids:
                raise OSError(errno.EIO, f"directory {entry.metadata.id} contains itself; see check()", at)
            ids.add(entry.metadata.id)
            stack.append(_Open(at, entry, fs.each_by_name(entry)))
        else:
            now.size += entry.metadata.size
            yield at, entry, entry.metadata.size
