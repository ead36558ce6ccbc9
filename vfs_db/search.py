"""Going through a tree: walk, glob and find, over what any view of a filesystem can read."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import attrs

from vfs_db.attributes import stat_of
from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.metadata import FileType
from vfs_db.moment import seconds
from vfs_db.path import join, parts

__all__ = ["DirEntry", "Readable", "ScandirIterator", "find", "glob", "walk"]


class Readable(Protocol):
    """What these functions need of a filesystem."""

    def get(self, path: str, /) -> FSEntry: ...
    def get_followed(self, path: str, /) -> FSEntry: ...
    def each_of(self, directory: Directory, /) -> Iterator[FSEntry]: ...
    def each_by_name(self, directory: Directory, /) -> Iterator[FSEntry]: ...


@attrs.frozen
class DirEntry:
    """An entry met by `scandir`, with the methods of `os.DirEntry`."""

    name: str
    path: str
    entry: FSEntry
    _fs: Readable = attrs.field(repr=False, eq=False, alias="fs")

    def inode(self) -> int:
        return self.entry.metadata.id

    def is_symlink(self) -> bool:
        return type(self.entry) is Symlink

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._followed(follow_symlinks)
        return entry is not None and entry.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._followed(follow_symlinks)
        return entry is not None and entry.is_file()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the attributes. Raises FileNotFoundError for a link that leads nowhere."""
        entry = self._followed(follow_symlinks)
        if entry is None:
            raise os_error(errno.ENOENT, self.path)
        return stat_of(entry)

    def __fspath__(self) -> str:
        return self.path

    def _followed(self, follow_symlinks: bool) -> FSEntry | None:
        return _followed(self._fs, self.path, self.entry) if follow_symlinks else self.entry


class ScandirIterator(Iterator[DirEntry]):
    """What `scandir` returns: an iterator, and a context manager."""

    def __init__(self, entries: Iterator[DirEntry]) -> None:
        self._entries = entries

    def __next__(self) -> DirEntry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give nothing more."""
        self._entries = iter(())


def _followed(fs: Readable, path: str, entry: FSEntry) -> FSEntry | None:
    """Return what *entry*, found at *path*, leads to; None if that is nowhere."""
    if type(entry) is not Symlink:
        return entry
    try:
        return fs.get_followed(path)
    except OSError:
        return None


class _Visit(NamedTuple):
    """A directory that walk has still to show; *above*: the ids on the way to it."""

    path: str
    directory: Directory
    above: frozenset[int] = frozenset()


def walk(
    fs: Readable, top: str, *, topdown: bool, onerror: Callable[[OSError], object] | None, followlinks: bool
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (path, names of directories, names of others) for *top* and all directories below, as `os.walk` does."""
    try:
        start = fs.get_followed(top)
        if type(start) is not Directory:
            raise os_error(errno.ENOTDIR, top)
    except OSError as error:
        _report(onerror, error)
        return
    # An own stack instead of recursion: a tree may be deeper than Python recurses.
    stack: list[_Visit | tuple[str, list[str], list[str]]] = [_Visit(top, start)]
    while stack:
        visit = stack.pop()
        if not isinstance(visit, _Visit):
            yield visit
            continue
        path, directory = visit.path, visit.directory
        if directory.metadata.id in visit.above:
            if not followlinks:
                message = f"directory {directory.metadata.id} contains itself; see check()"
                _report(onerror, OSError(errno.EIO, message, path))
            continue
        try:
            directories, others = _sorted_out(fs, path, fs.each_of(directory), followlinks)
        except OSError as error:
            _report(onerror, error)
            continue
        names = list(directories)
        if topdown:
            yield path, names, others
        else:
            stack.append((path, names, others))
        inside = visit.above | {directory.metadata.id}
        for name in reversed(names):
            below = directories[name] if name in directories else _find_directory(fs, join(path, name), followlinks)
            if below is not None:
                stack.append(_Visit(join(path, name), below, inside))


def _report(onerror: Callable[[OSError], object] | None, error: OSError) -> None:
    if onerror is not None:
        onerror(error)


def _sorted_out(
    fs: Readable, path: str, entries: Iterator[FSEntry], followlinks: bool
) -> tuple[dict[str, Directory | None], list[str]]:
    """Return the directories by name (links to one as None, unless they are followed), and the names of the others."""
    directories: dict[str, Directory | None] = {}
    others = []
    for entry in entries:
        name = entry.metadata.name
        if type(entry) is Directory:
            directories[name] = entry
        elif type(entry) is Symlink and type(target := _followed(fs, join(path, name), entry)) is Directory:
            directories[name] = target if followlinks else None
        else:
            others.append(name)
    return directories, others


def _find_directory(fs: Readable, path: str, followlinks: bool) -> Directory | None:
    """Return the directory at *path*, which the caller of walk may have put into its list."""
    try:
        entry = fs.get_followed(path) if followlinks else fs.get(path)
    except OSError:
        return None
    return entry if type(entry) is Directory else None


def glob(fs: Readable, pattern: str, *, include_hidden: bool) -> Iterator[str]:
    """Yield the paths that match *pattern*: `*`, `?`, `[...]` within a name, `**` for any number of directories.

    A pattern that ends with a slash matches directories only, and links to one; so do its paths end.
    """
    prefix = "/" if pattern.startswith("/") else ""
    names = [name for before, name in pairwise(["", *parts(pattern)]) if before != "**" or name != "**"]
    if not names:
        yield from _glob_found(fs, "/", [], include_hidden)
        return
    found = _glob(fs, "", names, include_hidden)
    if names.count("**") > 1:  # only then a path may be met twice
        found = iter(dict.fromkeys(found))
    for path in found:
        if not pattern.endswith("/"):
            yield prefix + path
        elif _find_directory(fs, path, followlinks=True) is not None:
            yield f"{prefix}{path}/"


def _glob(fs: Readable, base: str, names: list[str], hidden: bool) -> Iterator[str]:
    name, rest = names[0], names[1:]
    if name == "**":
        yield from _glob_below(fs, base, rest, hidden)
        return
    if not re.search(r"[*?[]", name):
        path = f"{base}/{name}" if base else name
        yield from _glob_found(fs, path, rest, hidden)
        return
    matches = re.compile(fnmatch.translate(name)).match
    for entry in _entries(fs, base):
        found = entry.metadata.name
        if matches(found) and (hidden or name.startswith(".") or not found.startswith(".")):
            yield from _glob_found(fs, f"{base}/{found}" if base else found, rest, hidden)


def _glob_found(fs: Readable, path: str, rest: list[str], hidden: bool) -> Iterator[str]:
    if rest:
        yield from _glob(fs, path, rest, hidden)
        return
    try:
        fs.get(path)
    except OSError:  # a ValueError that is none is the closed filesystem's
        return
    yield path


def _glob_below(fs: Readable, base: str, rest: list[str], hidden: bool) -> Iterator[str]:
    yield from _glob(fs, base, rest, hidden) if rest else [base] if base else []
    # An own stack instead of recursion: a tree may be deeper than Python recurses, or, damaged, contain itself.
    # Iterators, not lists, so that a directory of a million entries is not held in memory.
    stack: list[tuple[str, Iterator[FSEntry], frozenset[int]]] = [(base, _entries(fs, base), frozenset())]
    while stack:
        inside, entries, above = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        name = entry.metadata.name
        path = f"{inside}/{name}" if inside else name
        if name.startswith(".") and not hidden:
            continue
        if type(entry) is not Directory:
            if not rest:
                yield path
        elif entry.metadata.id not in above:
            yield from _glob(fs, path, rest, hidden) if rest else [path]
            stack.append((path, _entries(fs, path), above | {entry.metadata.id}))


def _entries(fs: Readable, path: str) -> Iterator[FSEntry]:
    """Yield what is in the directory at *path*, by name; nothing where that is none."""
    try:
        directory = fs.get_followed(path or "/")
        if type(directory) is Directory:
            yield from fs.each_by_name(directory)
    except OSError:
        return


def find(
    fs: Readable,
    path: str,
    *,
    name: str | None,
    type: FileType | None,
    size_min: int | None,
    size_max: int | None,
    newer_than: float | None,
    depth_max: int | None,
) -> Iterator[tuple[str, FSEntry]]:
    """Yield (path, entry) of all at and below *path* that passes every test given; a directory before what is in it."""
    is_named = re.compile(fnmatch.translate(name)).match if name is not None else None

    def passes(entry: FSEntry) -> bool:
        metadata = entry.metadata
        return (
            (is_named is None or is_named(metadata.name) is not None)
            and (type is None or metadata.file_type is type)
            and (size_min is None or metadata.size >= size_min)
            and (size_max is None or metadata.size <= size_max)
            and (newer_than is None or seconds(metadata.modified_at) > newer_than)
        )

    top = fs.get(path)
    if passes(top):
        yield path, top
    # Iterators, not lists, so that a directory of a million entries is not held in memory.
    stack: list[tuple[str, Iterator[FSEntry], frozenset[int]]] = []

    def enter(at: str, entry: FSEntry, above: frozenset[int]) -> None:
        if isinstance(entry, Directory) and (depth_max is None or len(above) < depth_max):
            if entry.metadata.id in above:
                raise OSError(errno.EIO, f"directory {entry.metadata.id} contains itself; see check()", at)
            stack.append((at, fs.each_of(entry), above | {entry.metadata.id}))

    enter(path, top, frozenset())
    while stack:
        inside, entries, above = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        at = join(inside, entry.metadata.name)
        if passes(entry):
            yield at, entry
        enter(at, entry, above)
