"""All that changes a filesystem: each method resolves paths, makes one `Change`, and applies it."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

import attrs

from vfs_db import chunks, copying, moving
from vfs_db.attributes import times_of
from vfs_db.change import Change
from vfs_db.commit import WritableState
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.id_list import NO_IDS
from vfs_db.metadata import FileType
from vfs_db.new_file import new_small_file
from vfs_db.path import PathLike, as_text, parts
from vfs_db.reading import ReadableFS
from vfs_db.resolve import locate
from vfs_db.tree import add, save

if TYPE_CHECKING:
    from vfs_db.file import BinaryMode, TextMode

__all__ = ["Transaction", "WritableFS"]

_T = TypeVar("_T")
_FS = TypeVar("_FS", bound="WritableFS")

_TARGET_SIZE_MAX: Final = 4095


class Transaction(Generic[_FS]):
    """What `transaction` returns; a with-block of it is one commit."""

    def __init__(self, fs: _FS, state: WritableState) -> None:
        self._fs = fs
        self._state = state

    def __enter__(self) -> _FS:
        self._state.begin()
        return self._fs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.end(error)


class WritableFS(ReadableFS):
    """A filesystem as far as its entries and contents can be changed.

    Over databases with transactions every method is one commit, all or nothing, as durable as they make it; over others,
    writes are ordered so that a kill leaves a valid tree. A method that raises has changed nothing.
    """

    _state: WritableState

    def __init__(self, state: WritableState) -> None:
        super().__init__(state)
        self.last_inserted_id = 0

    def _changing(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Return what *function* gives, called as the only writer."""
        state = self._state
        marks = state.acquire()
        try:
            return function(*arguments)
        except BaseException:
            state.abandon(marks)
            raise
        finally:
            state.lock.release()

    def _added(self, change: Change, entry: FSEntry) -> None:
        self._state.apply(change)
        self.last_inserted_id = entry.metadata.id

    def transaction(self) -> Transaction[Self]:
        """Make all that this thread does within the with-block one commit; an exception undoes it and goes on.

        Nested blocks join; an exception in an inner one undoes what was done in it. Other threads see nothing of it
        before the commit, and their writes wait. Over databases without transactions the changes are kept in memory
        until the end, contents too where they replace something.
        """
        return Transaction(self, self._state)

    # Making

    def _make(self, path: str, kind: FileType, mode: int | None, target: str) -> FSEntry:
        state = self._state
        directory, name, there = locate(state, path, follow=False)
        if there is not None:
            raise os_error(errno.EEXIST, path)
        change = Change()
        entry = add(state, change, directory, name, kind, state.now(), mode=mode, target=target)
        self._added(change, entry)
        return entry

    def file_create(self, path: PathLike, mode: int = 0o644) -> File:
        """Make an empty file. Raises FileExistsError, FileNotFoundError (no such directory), NotADirectoryError."""
        return self._changing(self._file_create, as_text(path), mode)

    def _file_create(self, path: str, mode: int) -> File:
        made = new_small_file(self._state, path, b"", mode)
        if made is not None:
            self.last_inserted_id = made.metadata.id
            return made
        entry = self._make(path, FileType.file, mode, "")
        assert type(entry) is File
        return entry

    def dir_create(self, path: PathLike, mode: int = 0o755) -> Directory:
        """Make an empty directory. Raises FileExistsError, FileNotFoundError, NotADirectoryError."""
        entry = self._changing(self._make, as_text(path), FileType.directory, mode, "")
        assert type(entry) is Directory
        return entry

    def link_create(self, target: PathLike, path: PathLike) -> Symlink:
        """Make a symbolic link at *path*; *target* is kept as it is given, and need not exist.

        Raises FileExistsError, FileNotFoundError (also for an empty target), OSError (ENAMETOOLONG: over 4095 bytes).
        """
        text, where = as_text(target), as_text(path)
        if not text:
            raise os_error(errno.ENOENT, text, where)
        if "\0" in text:
            raise os_error(errno.EINVAL, text, where)
        if len(text.encode("utf-8", "surrogateescape")) > _TARGET_SIZE_MAX:
            raise os_error(errno.ENAMETOOLONG, text, where)
        entry = self._changing(self._make, where, FileType.symlink, None, text)
        assert type(entry) is Symlink
        return entry

    def makedirs(self, path: PathLike, mode: int = 0o755, exist_ok: bool = False) -> Directory:
        """Make a directory and those above it that are missing, as `os.makedirs`; all or nothing."""
        with self.transaction():
            return self._makedirs(as_text(path), mode, exist_ok)

    def _makedirs(self, path: str, mode: int, exist_ok: bool) -> Directory:
        names = parts(path)
        entry: FSEntry | None = self.root_get()
        made = False
        for count in range(1, len(names) + 1):
            prefix = "/".join(names[:count])
            directory, name, entry = locate(self._state, prefix, follow=False)
            made = entry is None
            if entry is None:
                change = Change()
                entry = add(self._state, change, directory, name, FileType.directory, self._state.now(), mode=mode)
                self._added(change, entry)
        if not made:
            entry = self._directory_there(path, entry)
            if entry is None or not exist_ok:
                raise os_error(errno.EEXIST, path)
        assert type(entry) is Directory
        return entry

    def _directory_there(self, path: str, entry: FSEntry | None) -> Directory | None:
        """Return the directory that *entry*, found at *path*, is or leads to."""
        if type(entry) is Symlink:
            try:
                entry = locate(self._state, path, follow=True)[2]
            except OSError:
                return None
        return entry if type(entry) is Directory else None

    def touch(self, path: PathLike, mode: int = 0o644, exist_ok: bool = True) -> FSEntry:
        """Make an empty file if nothing is there, else set its times to now. Raises FileExistsError unless *exist_ok*."""
        return self._changing(self._touch, as_text(path), mode, exist_ok)

    def _touch(self, path: str, mode: int, exist_ok: bool) -> FSEntry:
        state = self._state
        # Without exist_ok, a link that leads nowhere is there, too.
        directory, name, entry = locate(state, path, follow=exist_ok, posix=True)
        change = Change()
        now = state.now()
        if entry is None:
            entry = add(state, change, directory, name, FileType.file, now, mode=mode)
            self._added(change, entry)
            return entry
        if not exist_ok:
            raise os_error(errno.EEXIST, path)
        return self._saved(change, entry, accessed_at=now, modified_at=now)

    # Content

    def file_write(self, path: PathLike, data: chunks.Buffer) -> File:
        """Make *data* the whole content of the file at *path*, through links; a missing file is made.

        The chunks keep their ids, so that the database's history keeps what was there. Raises IsADirectoryError,
        FileNotFoundError (no such directory), OSError (EFBIG: more than one entry can list).
        """
        return self._changing(self._file_write, as_text(path), data)

    def _file_write(self, path: str, data: chunks.Buffer) -> File:
        state = self._state
        made = new_small_file(state, path, data) if type(data) is bytes else None
        if made is not None:
            self.last_inserted_id = made.metadata.id
            return made
        directory, name, entry = locate(state, path, follow=True)
        change = Change()
        now = state.now()
        if entry is None and memoryview(data).nbytes > chunks.LISTED_SIZE_MAX:
            entry = add(state, change, directory, name, FileType.file, now)
            self.last_inserted_id = entry.metadata.id
        elif entry is None:
            size, ids = chunks.place(state, change, NO_IDS, data, path)
            entry = add(state, change, directory, name, FileType.file, now, size=size, chunk_ids=ids)
            self._added(change, entry)
            assert type(entry) is File
            return entry
        if type(entry) is not File:
            raise os_error(errno.EISDIR, path)
        change.entries[entry.metadata.id] = written = chunks.write(state, change, entry, data, now)
        state.apply(change)
        return written

    def file_concatenate(self, path: PathLike, data: chunks.Buffer) -> File:
        """Add *data* at the end of the file at *path*, through links; a missing file is made. Errors as `file_write`.

        Costs the last chunk and the entry, whatever the file's size.
        """
        return self._changing(self._file_concatenate, as_text(path), data)

    def _file_concatenate(self, path: str, data: chunks.Buffer) -> File:
        state = self._state
        change = Change()
        now = state.now()
        file = self._file_for_writing(change, path, now)
        written = chunks.write_range(state, change, file, file.metadata.size, data, now)
        if written is not file:
            change.entries[file.metadata.id] = written
        if change.entries:
            state.apply(change)
        return written

    def _file_for_writing(self, change: Change, path: str, now: int) -> File:
        """Return the file at *path*; a missing one is made in *change*."""
        directory, name, entry = locate(self._state, path, follow=True)
        if entry is None:
            entry = add(self._state, change, directory, name, FileType.file, now)
            self.last_inserted_id = entry.metadata.id
        if type(entry) is not File:
            raise os_error(errno.EISDIR, path)
        return entry

    def write_text(
        self,
        path: PathLike,
        text: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> File:
        """Make *text* (UTF-8 unless told) the whole content of the file at *path*, as `pathlib.Path.write_text`."""
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding or "utf-8", errors or "strict", newline) as wrapper:
            wrapper.write(text)
            wrapper.flush()
            return self.file_write(path, raw.getvalue())

    def truncate(self, path: PathLike, size: int) -> File:
        """Cut the content of the file at *path* to *size* bytes, or fill it up with zeros. Raises OSError (EINVAL: < 0)."""
        return self._changing(self._truncate, as_text(path), size)

    def _truncate(self, path: str, size: int) -> File:
        file = locate(self._state, path, follow=True, posix=True)[2]
        if type(file) is not File:
            raise os_error(errno.ENOENT if file is None else errno.EISDIR, path)
        if size < 0:
            raise os_error(errno.EINVAL, path)
        change = Change()
        resized = chunks.resize(self._state, change, file, size, self._state.now())
        change.entries[file.metadata.id] = resized
        self._state.apply(change)
        return resized

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
        """Open the file at *path* as the built-in `open` does, in every mode it has; text is UTF-8 unless told.

        What is flushed is one commit, seen by all. After the file was deleted, or a transaction in which it was
        opened was rolled back, a call raises OSError (ESTALE). A handle with a buffer has a lock of its own, held while it waits
        for another thread's transaction: within a transaction use no buffered handle that other threads write to.
        """
        from vfs_db.file import open_file

        return open_file(self._state, as_text(path), mode, buffering, encoding, errors, newline)

    # Attributes

    def _saved(self, change: Change, entry: FSEntry, **fields: Any) -> FSEntry:  # noqa: ANN401 - as the standard library's interface has it
        saved = save(self._state, change, entry, attrs.evolve(entry.metadata, **fields))
        self._state.apply(change)
        return saved

    def _set(self, path: str, follow: bool, fields: dict[str, Any]) -> FSEntry:
        entry = locate(self._state, path, follow=follow, posix=True)[2]
        if entry is None:
            raise os_error(errno.ENOENT, path)
        return self._saved(Change(), entry, **fields)

    def chmod(self, path: PathLike, mode: int, *, follow_symlinks: bool = True) -> FSEntry:
        """Set the permission bits (0 to 0o7777) of what *path* leads to."""
        return self._changing(self._set, as_text(path), follow_symlinks, {"mode": mode & 0o7777})

    def chown(
        self, path: PathLike, owner: str | int | None, group: str | int | None, *, follow_symlinks: bool = True
    ) -> FSEntry:
        """Set owner and group, names or numbers; None or -1 leaves one as it is. Raises OSError (EINVAL: over 255 bytes)."""
        fields = {"owner": owner, "group": group}
        wanted = {name: str(value) for name, value in fields.items() if value is not None and value != -1}
        if any(len(value.encode("utf-8", "surrogateescape")) > 255 for value in wanted.values()):
            raise os_error(errno.EINVAL, as_text(path))
        return self._changing(self._set, as_text(path), follow_symlinks, wanted)

    def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
    ) -> FSEntry:
        """Set (accessed, modified), as `os.utime`; cut to whole seconds without `ns_times`. Raises OverflowError beyond 64 bits."""
        accessed, modified = times_of(times, ns, self._state.now(), keeps_ns=self._state.ns_times)
        if not all(-(1 << 63) <= value < 1 << 63 for value in (accessed, modified)):
            raise OverflowError(f"timestamp out of range for 64 bits: {accessed}, {modified}")
        fields = {"accessed_at": accessed, "modified_at": modified}
        return self._changing(self._set, as_text(path), follow_symlinks, fields)

    # Removing

    def delete(self, path: PathLike) -> None:
        """Delete a file, a link or an empty directory. Raises FileNotFoundError, OSError (ENOTEMPTY), PermissionError (`/`)."""
        self._changing(moving.delete, self._state, as_text(path), None)

    def file_delete(self, path: PathLike) -> None:
        """Delete a file or a link, as `os.unlink`. Raises IsADirectoryError, FileNotFoundError."""
        self._changing(moving.delete, self._state, as_text(path), FileType.file)

    def dir_delete(self, path: PathLike) -> None:
        """Delete an empty directory, as `os.rmdir`. Raises NotADirectoryError, OSError (ENOTEMPTY), PermissionError (`/`)."""
        self._changing(moving.delete, self._state, as_text(path), FileType.directory)

    def link_delete(self, path: PathLike) -> None:
        """Delete a link. Raises OSError (EINVAL) for what is none."""
        self._changing(moving.delete, self._state, as_text(path), FileType.symlink)

    def remove_tree(self, path: PathLike) -> None:
        """Delete what is at *path* with all that is in it, at once; links are not followed. Raises PermissionError (`/`)."""
        self._changing(moving.remove_tree, self._state, as_text(path))

    # Moving and copying

    def rename(self, old_path: PathLike, new_path: PathLike) -> FSEntry:
        """Give an entry another name, in whatever directory, by the rules of POSIX; returns it.

        A file or link that is there is replaced, an empty directory by a directory. Raises FileNotFoundError,
        IsADirectoryError, NotADirectoryError, OSError (ENOTEMPTY; EINVAL: into itself), PermissionError (`/`).
        """
        return self._changing(moving.rename, self._state, as_text(old_path), as_text(new_path))

    def move(self, src: PathLike, dst: PathLike) -> FSEntry:
        """The same as `rename`: *dst* is the new path itself, not a directory to move into."""
        return self._changing(moving.rename, self._state, as_text(src), as_text(dst))

    def copy(self, src: PathLike, dst: PathLike) -> FSEntry:
        """Copy a file, a link or a whole tree to the path *dst*; returns the copy, which shares nothing with its source.

        Modes, owners and times of modification are kept. A file or link that is there is replaced by one; a directory
        is not: FileExistsError (IsADirectoryError for a file's copy). Raises OSError (EINVAL) for a copy into or onto itself.
        """
        with self.transaction():
            entry = copying.copy(self._state, as_text(src), as_text(dst))
        self.last_inserted_id = entry.metadata.id
        return entry
