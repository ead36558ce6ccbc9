"""All that reads a filesystem: the half of `DatabaseVFS` that a snapshot has too."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, TYPE_CHECKING, TextIO, overload

from vfs_db import chunks
from vfs_db.attributes import stat_of
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.metadata import FileType
from vfs_db.name_tree import Children
from vfs_db.path import PathLike, as_text, join
from vfs_db.resolve import Place, directory, locate
from vfs_db.state import State
from vfs_db.tree import all_children, children

if TYPE_CHECKING:
    from vfs_db.file import BinaryMode, TextMode
    from vfs_db.search import ScandirIterator

__all__ = ["ReadableFS"]


class ReadableFS:
    """A filesystem as far as it can be read.

    Every path starts at the root, with a leading slash or without. Links are followed within a path always, at its end
    where content, a listing or `stat` is asked for. A slash at its end is passed over by the methods that the reference
    has; to all others it asks for a directory, as it does in `os`. Errors are those of `os`. Any thread may call anything; a call sees
    one committed state, or, within a transaction, that of its own thread.
    """

    block_size = 4096

    def __init__(self, state: State) -> None:
        self._state = state
        self.root_id = state.root_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._state.store.metadata!r}>"

    def _locate(self, path: PathLike, follow: bool, posix: bool = False) -> Place:
        """Return the place of *path* for reading."""
        text = path if type(path) is str else as_text(path)
        return self._state.read(self._locate_now, text, follow, posix)

    def _locate_now(self, path: str, follow: bool, posix: bool) -> Place:
        return locate(self._state, path, follow=follow, second_try=True, posix=posix)

    def _entry(self, path: PathLike, follow: bool, posix: bool = False) -> FSEntry:
        if type(path) is str and (entry := self._state.peek(path, follow)) is not None:
            return entry
        found = self._locate(path, follow, posix)[2]
        if found is None:
            raise os_error(errno.ENOENT, as_text(path))
        return found

    # Entries

    def root_get(self) -> Directory:
        """Return the root directory."""
        return self._state.read(directory, self._state, "/")

    def get(self, path: PathLike) -> FSEntry:
        """Return the entry at *path*; a link at its end is what is returned. Raises FileNotFoundError."""
        return self._entry(path, False)

    def get_followed(self, path: PathLike) -> FSEntry:
        """Return the entry at *path*, or, for a link, what it leads to. Raises FileNotFoundError."""
        return self._entry(path, True, True)

    def get_path(self, entry: FSEntry) -> str:
        """Return the present absolute path of *entry*. Raises FileNotFoundError when it is gone."""
        return self._state.path_of(entry.metadata.id)

    def exists(self, path: PathLike) -> bool:
        """Say whether there is something at *path*; a link is there whether or not it leads anywhere."""
        return self._answer(lambda: self._locate(path, False)[2] is not None)

    def lexists(self, path: PathLike) -> bool:
        """The same as `exists`, as `os.path` has it: what ends with a slash is a directory, or a link to one."""
        return self._answer(lambda: self._locate(path, False, True)[2] is not None)

    def is_dir(self, path: PathLike) -> bool:
        """Say whether *path* is a directory, or a link to one."""
        return self._is(path, Directory)

    def is_file(self, path: PathLike) -> bool:
        """Say whether *path* is a file, or a link to one."""
        return self._is(path, File)

    def is_symlink(self, path: PathLike) -> bool:
        """Say whether *path* is a link."""
        return self._answer(lambda: type(self._entry(path, False, True)) is Symlink)

    def _is(self, path: PathLike, kind: type) -> bool:
        return self._answer(lambda: type(self._entry(path, True, True)) is kind)

    @staticmethod
    def _answer(question: Callable[[], bool]) -> bool:
        """Return what *question* gives; False for a path that leads nowhere, whatever the reason, as in `os.path`."""
        try:
            return question()
        except OSError as error:  # InvalidName is one; a ValueError that is none is the closed filesystem's
            if error.errno in (errno.EIO, errno.ESTALE):
                raise
            return False

    def link_read(self, path: PathLike) -> str:
        """Return the target of the link at *path*, as it was given. Raises OSError (EINVAL) when it is no link."""
        found = self.get(path)
        if type(found) is not Symlink:
            raise os_error(errno.EINVAL, as_text(path))
        return found.target

    def stat(self, path: PathLike) -> os.stat_result:
        """Return the attributes of what *path* leads to, see `attributes.stat_of`."""
        return stat_of(self._entry(path, True, True))

    def lstat(self, path: PathLike) -> os.stat_result:
        """Return the attributes of *path* itself, a link's too. st_size of a link is its target's length in bytes."""
        return stat_of(self._entry(path, False, True))

    # Directories

    def dir_list(self, path: PathLike = "/") -> list[FSEntry]:
        """Return the entries in the directory at *path*, in the order in which they came.

        Warns (DamagedEntry) of those that cannot be read, and leaves them out. Raises NotADirectoryError.
        """
        text = path if type(path) is str else as_text(path)
        return self._state.read(self._dir_list, text)

    def _dir_list(self, path: str) -> list[FSEntry]:
        return children(self._state, directory(self._state, path, second_try=True))

    def list_of(self, directory: Directory) -> list[FSEntry]:
        """Return the entries in *directory* as it is now, by its id. Raises OSError when it is gone."""
        return self._state.read(self._list_of, directory)

    def _list_of(self, directory: Directory) -> list[FSEntry]:
        found = self._state.entry(directory.metadata.id)
        return children(self._state, found) if type(found) is Directory else []

    def scandir(self, path: PathLike = "/") -> ScandirIterator:
        """Return an iterator over the entries in *path*, each with the methods of `os.DirEntry`, and `.entry`.

        A directory of more than 1024 is read some hundreds at a time; each part is of one committed state.
        """
        from vfs_db.search import DirEntry, ScandirIterator

        text = as_text(path)
        found = self._state.read(self._scan, text)
        return ScandirIterator(
            DirEntry(one.metadata.name, join(text, one.metadata.name), one, fs=self) for one in found
        )

    def _scan(self, path: str) -> Iterator[FSEntry]:
        return all_children(self._state, directory(self._state, path, second_try=True))

    def each_of(self, directory: Directory) -> Iterator[FSEntry]:
        """Yield the entries in *directory* as it is now; a large one is read as it goes. Raises OSError when it is gone."""
        return all_children(self._state, directory)

    def each_by_name(self, directory: Directory) -> Iterator[FSEntry]:
        """Yield the entries in *directory* as it is now, by name; a large one, which is kept so, is read as it goes."""
        found = self._state.read(self._state.entry, directory.metadata.id)
        if type(found) is Directory and isinstance(found.children, Children):
            return all_children(self._state, found)
        return iter(sorted(self.list_of(directory), key=lambda entry: entry.metadata.name))

    def usage(self, path: PathLike = "/") -> Iterator[tuple[str, FSEntry, int]]:
        """Yield (path, entry, bytes of content) for all at and below *path*, a directory after what is in it, with its sum."""
        from vfs_db.usage import usage

        return usage(self, as_text(path))

    def walk(
        self,
        top: PathLike = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield (path, names of directories, names of others) of *top* and all below, as `os.walk` does.

        A directory that contains itself (damage, or a followed link to one above) is not entered again.
        """
        from vfs_db.search import walk

        return walk(self, as_text(top), topdown=topdown, onerror=onerror, followlinks=followlinks)

    def glob(self, pattern: PathLike, *, include_hidden: bool = False) -> list[str]:
        """Return the paths that match *pattern*, sorted within each directory: `*`, `?`, `[...]`, and `**` for any depth.

        A leading dot is matched by a dot only, unless *include_hidden*. No match: an empty list.
        """
        from vfs_db.search import glob

        return list(glob(self, as_text(pattern), include_hidden=include_hidden))

    def find(
        self,
        path: PathLike = "/",
        *,
        name: str | None = None,
        type: FileType | None = None,
        size_min: int | None = None,
        size_max: int | None = None,
        newer_than: float | None = None,
        depth_max: int | None = None,
    ) -> Iterator[tuple[str, FSEntry]]:
        """Yield (path, entry) of all at and below *path* that passes every test given, a directory before its entries.

        *name* is a pattern as for `glob`, sizes are bytes (inclusive), *newer_than* is seconds since 1970 (exclusive).
        Links are not followed.
        """
        from vfs_db.search import find

        return find(
            self, as_text(path), name=name, type=type, size_min=size_min, size_max=size_max,
            newer_than=newer_than, depth_max=depth_max,
        )  # fmt: skip

    def print(self, file: TextIO | None = None) -> None:
        """Write the tree, one line an entry, to *file* (standard output)."""
        out = sys.stdout if file is None else file
        out.write("📁 /\n")
        for path, entry in self.find("/"):
            if path != "/":
                out.write("  " * path.count("/") + _drawn(entry) + "\n")

    # Content

    def file_read(self, path: PathLike) -> bytes:
        """Return the whole content of the file at *path*, of one version. Raises IsADirectoryError."""
        text = path if type(path) is str else as_text(path)
        state = self._state
        version = state.version
        entry = state.peek(text, True)
        if type(entry) is File and len(entry.chunk_ids) == 1:
            with suppress(Exception):  # whatever it is, the general way meets it again
                data = state.store.data.get(entry.chunk_ids[0])
                if len(data) == entry.metadata.size and state.version == version:
                    return data
        return state.read(self._file_read, text)

    def _file_read(self, path: str) -> bytes:
        found = locate(self._state, path, follow=True, second_try=True)[2]
        if type(found) is not File:
            raise os_error(errno.ENOENT if found is None else errno.EISDIR, path)
        return chunks.read(self._state, found)

    def read_text(self, path: PathLike, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the content of the file at *path* as text (UTF-8 unless told); line ends become newlines."""
        with io.TextIOWrapper(io.BytesIO(self.file_read(path)), encoding or "utf-8", errors or "strict") as text:
            return text.read()

    @overload
    def open(
        self,
        path: PathLike,
        mode: TextMode = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str]: ...
    @overload
    def open(self, path: PathLike, mode: BinaryMode, buffering: int = -1) -> IO[bytes]: ...
    @overload
    def open(
        self,
        path: PathLike,
        mode: str,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str] | IO[bytes]: ...
    def open(
        self,
        path: PathLike,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str] | IO[bytes]:
        """Open the file at *path* for reading, as the built-in `open` does."""
        from vfs_db.file import open_for_reading

        return open_for_reading(self._state, as_text(path), mode, buffering, encoding, errors, newline)

    def export_tree(
        self,
        path: PathLike,
        host_dir: PathLike,
        progress: Callable[[str, int], object] | None = None,
        *,
        may_replace: bool | Callable[[str], bool] = True,
        update: bool = False,
    ) -> None:
        """Copy what is in the directory *path* into the host's folder *host_dir*, which is made if it is missing.

        Modes (without set-id bits), modification times, links and empty directories are kept; files that are there are
        replaced, if *may_replace*: it may be False (FileExistsError) or a function that is asked with the path of each,
        and False from it leaves that file. *update* leaves files that have the same size and time of modification.
        Each file is written under another name and renamed: whole or not there.
        Nothing is written outside *host_dir*: names that are no names there, and links in the way, are refused
        (OSError). *progress* is called with (path, bytes) after each piece of content, and (path, 0) after each entry.
        """
        from vfs_db.export import export_tree
        from vfs_db.transfer import Options

        options = Options(progress or (lambda _path, _size: None), may_replace, update)
        export_tree(self._state, as_text(path), os.fspath(host_dir), options)

    def export_file(
        self,
        path: PathLike,
        host_path: PathLike,
        progress: Callable[[str, int], object] | None = None,
        *,
        may_replace: bool | Callable[[str], bool] = True,
        update: bool = False,
    ) -> None:
        """Copy the file at *path* to the host's path *host_path* itself, with mode and time. See `export_tree`."""
        from vfs_db.export import export_file
        from vfs_db.transfer import Options

        options = Options(progress or (lambda _path, _size: None), may_replace, update)
        export_file(self._state, as_text(path), os.fspath(host_path), options)


def _drawn(entry: FSEntry) -> str:
    name = entry.metadata.name
    if type(entry) is Directory:
        return f"📁 {name}/"
    return f"🔗 {name} -> {entry.target}" if type(entry) is Symlink else f"📄 {name}"
