"""Open files: a raw file over the chunks, inside the standard library's buffers and text wrapper.

A raw file holds the file's id, and looks its entry up at each call, so that all handles see each other's flushed writes. A
write is one commit, or part of its thread's transaction. Once the file is deleted, every call raises ESTALE.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, Literal, TypeAlias

from vfs_db import chunks
from vfs_db.change import Change
from vfs_db.chunks import CHUNK_SIZE, Buffer
from vfs_db.commit import WritableState
from vfs_db.entries import File
from vfs_db.errors import os_error
from vfs_db.id_list import IdList
from vfs_db.metadata import FileType
from vfs_db.resolve import locate, place_for_file
from vfs_db.state import MissingEntry, State
from vfs_db.tree import add

__all__ = ["BUFFER_SIZE", "BinaryMode", "RawFile", "TextMode", "open_file", "open_for_reading"]

# The usual spellings: with one of these, a type checker knows whether a file gives text or bytes.
TextMode: TypeAlias = Literal[
    "r", "w", "a", "x", "r+", "w+", "a+", "x+", "rt", "wt", "at", "xt", "r+t", "w+t", "a+t", "x+t", "rt+", "wt+", "at+", "xt+",
]  # fmt: skip
BinaryMode: TypeAlias = Literal[
    "rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b", "rb+", "wb+", "ab+", "xb+",
]  # fmt: skip

BUFFER_SIZE: Final = CHUNK_SIZE
"""Of handles that write: small appends become whole chunks."""
READ_BUFFER_SIZE: Final = io.DEFAULT_BUFFER_SIZE
_CHUNKS_AT_ONCE: Final = 16


class RawFile(io.RawIOBase):
    """A file without a buffer. Its position is its own; calls of several threads take turns."""

    name: str
    mode: str

    def __init__(self, state: State, file_id: int, path: str, mode: str) -> None:
        super().__init__()
        self.name = path
        self.mode = mode
        self._state = state
        self._file_id = file_id
        self._position = 0
        self._turn = threading.RLock()
        self._is_readable = "r" in mode or "+" in mode
        self._is_writable = "r" not in mode or "+" in mode
        self._appends = "a" in mode
        self._is_stale = False
        self._kept: tuple[File | None, int, bytes] = (None, -1, b"")
        self._regular: File | None = None

    def on_deleted(self) -> None:
        """The file is gone, and its id may be another's: every further call says so."""
        self._is_stale = True

    def on_rolled_back(self) -> None:
        """The transaction in which this was opened is undone, and with it perhaps the file."""
        self.close()

    def readable(self) -> bool:
        self._check_open()
        return self._is_readable

    def writable(self) -> bool:
        self._check_open()
        return self._is_writable

    def seekable(self) -> bool:
        if self.closed:  # written out: the buffer asks before each seek
            self._check_open()
        return True

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _check(self, is_fit: bool, what: str) -> None:
        self._check_open()
        if not is_fit:
            raise io.UnsupportedOperation(f"{self.name}: not open for {what} (mode {self.mode!r})")

    def _file(self) -> File:
        with suppress(MissingEntry):
            entry = None if self._is_stale else self._state.entry(self._file_id)
            if type(entry) is File:
                return entry
        raise OSError(errno.ESTALE, f"{os.strerror(errno.ESTALE)}: deleted while it was open", self.name)

    # Position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to *offset*, from the start, the position or the end. Raises OSError (EINVAL: before the start)."""
        if whence == io.SEEK_SET and offset >= 0 and not self.closed:
            self._position = offset
            return offset
        self._check_open()
        with self._turn:
            if whence == io.SEEK_SET:
                position = offset
            elif whence == io.SEEK_CUR:
                position = self._position + offset
            elif whence == io.SEEK_END:
                position = self._state.read(self._file).metadata.size + offset
            else:
                raise io.UnsupportedOperation(errno.EINVAL, f"whence is 0, 1 or 2, not {whence}", self.name)
            if position < 0:
                raise os_error(errno.EINVAL, self.name)
            self._position = position
            return position

    # Reading

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes from the position on, all for -1; empty at the end. Of one version."""
        if size is None or size < 0:
            return self.readall()
        part = self._part(size)
        if part is not None:
            return part
        if size > READ_BUFFER_SIZE:
            size = min(size, max(0, self._size() - self._position))
        buffer = bytearray(size)  # the inherited method hands `readinto` no view
        with memoryview(buffer) as view:
            count = self.readinto(view)
        return bytes(buffer) if count == size else bytes(buffer[:count])

    def _size(self) -> int:
        self._check(self._is_readable, "reading")
        return self._state.read(self._file).metadata.size

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - as the standard library's interface has it
        """Fill *buffer* from the position on; 0 at the end. Of one version; reads whole chunks, and keeps the last one."""
        part = self._part(len(buffer)) if type(buffer) is memoryview and buffer.format == "B" else None
        if part is not None:
            buffer[:] = part
            return len(part)
        self._check(self._is_readable, "reading")
        with self._turn, memoryview(buffer).cast("B") as view:
            count = self._state.read(self._read_into, view)
            self._position += count
            return count

    def _part(self, size: int) -> bytes | None:
        """Return the next *size* bytes if they lie in one chunk of a file whose entry is known; None says nothing.

        The same as `_read_into`, written out for small reads: half of the time.
        """
        file = self._regular
        if file is None or not 0 < size <= CHUNK_SIZE or self.closed:
            return None
        with self._turn:
            state, position = self._state, self._position
            version = state.version
            index = position // CHUNK_SIZE
            start = position - index * CHUNK_SIZE
            stop = start + size
            if (
                stop > CHUNK_SIZE
                or position + size > file.metadata.size
                or version & 1
                or not self._is_readable
                or state.cached(self._file_id) is not file
            ):
                return None
            try:
                part: bytes = state.store.data.read_part(file.chunk_ids[index], start, stop)  # type: ignore[attr-defined]
            except Exception:  # noqa: BLE001 - the general way tells what is wrong
                return None
            if len(part) != size or version != state.version:
                return None
            self._position = position + size
            return part

    def _read_into(self, view: memoryview) -> int:
        file = self._file()
        start = self._position
        stop = min(start + len(view), file.metadata.size)
        read_into = getattr(self._state.store.data, "read_into", None)
        if read_into is not None and stop > start and (self._regular is file or self._is_regular(file)):
            try:
                return self._fill(read_into, file.chunk_ids, view, start, stop)
            except Exception:  # noqa: BLE001, S110 - the general way tells what is wrong
                pass
        filled = 0
        while start + filled < stop:
            data = self._piece(file, start + filled, stop)
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _is_regular(self, file: File) -> bool:
        is_regular = chunks.is_regular(self._state, file)
        self._regular = file if is_regular else None
        return is_regular

    def _fill(
        self, read_into: Callable[[int, memoryview, int], int], ids: IdList, view: memoryview, start: int, stop: int
    ) -> int:
        """Copy content straight from the database, chunk by chunk. Raises where one is shorter than it should be."""
        filled, wanted = 0, stop - start
        first, within = divmod(start, CHUNK_SIZE)
        for chunk_id in ids[first : -(-stop // CHUNK_SIZE)]:
            count = CHUNK_SIZE - within
            if count > wanted - filled:  # noqa: PLR1730 - min() is a call for each chunk
                count = wanted - filled
            if read_into(chunk_id, view[filled : filled + count], within) != count:
                raise EOFError
            filled += count
            within = 0
        return filled

    def _piece(self, file: File, start: int, stop: int) -> bytes | memoryview:
        """Return content from *start* on: the rest of its chunk, or several whole chunks, but not beyond *stop*."""
        index, within = divmod(start, CHUNK_SIZE)
        kept_file, kept_index, kept = self._kept
        if kept_file is file and kept_index == index:
            return memoryview(kept)[within : within + stop - start]
        end = (index + 1) * CHUNK_SIZE
        if stop < end and end - CHUNK_SIZE < file.metadata.size:
            chunk = chunks.read_range(self._state, file, index * CHUNK_SIZE, end)
            self._kept = (file, index, chunk)
            return memoryview(chunk)[within : within + stop - start]
        whole = (stop - start) // CHUNK_SIZE
        if within == 0 and whole:
            end = (index + min(whole, _CHUNKS_AT_ONCE)) * CHUNK_SIZE
        return chunks.read_range(self._state, file, start, min(end, stop))

    def readall(self) -> bytes:
        """Return all from the position to the end, of one version."""
        self._check(self._is_readable, "reading")
        with self._turn:
            data = self._state.read(self._read_all)
            self._position += len(data)
            return data

    def _read_all(self) -> bytes:
        file = self._file()
        if not self._position:
            return chunks.read(self._state, file)
        return chunks.read_range(self._state, file, self._position, file.metadata.size)

    # Writing

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as the standard library's interface has it
        """Write all of *data* at the position (in append mode: at the end), zeros where there was nothing before it."""
        self._check(self._is_writable, "writing")
        with memoryview(data).cast("B") as view:
            self._changing(self._write_now, view)
            return len(view)

    def _write_now(self, state: WritableState, change: Change, file: File, view: Buffer) -> File:
        offset = file.metadata.size if self._appends else self._position
        is_known_regular = self._regular is file
        written = chunks.write_range(state, change, file, offset, view, state.now(), is_known_regular=is_known_regular)
        if view:  # writing nothing moves nothing, in append mode neither
            self._position = offset + len(view)
        return written

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file to *size* bytes (the position), or fill it up with zeros; the position stays."""
        self._check(self._is_writable, "writing")
        wanted = self._position if size is None else size
        if wanted < 0:
            raise os_error(errno.EINVAL, self.name)
        self._changing(self._truncate_now, wanted)
        return wanted

    def _truncate_now(self, state: WritableState, change: Change, file: File, size: int) -> File:
        return chunks.resize(state, change, file, size, state.now())

    def _changing(self, function: Any, argument: Any) -> None:  # noqa: ANN401 - as the standard library's interface has it
        state = self._state
        assert isinstance(state, WritableState)
        marks = state.acquire()
        try:
            with self._turn:  # after the lock: a transaction's thread would wait for one that waits for the transaction
                self._change(state, function, argument)
        except BaseException:
            state.abandon(marks)
            raise
        finally:
            state.lock.release()

    def _change(self, state: WritableState, function: Any, argument: Any) -> None:  # noqa: ANN401 - as above
        position = self._position
        try:
            file = self._file()
            change = Change()
            changed = function(state, change, file, argument)
            if changed is not file:
                change.entries[self._file_id] = changed
                state.apply(change)
                self._regular = changed  # as every change leaves it
        except BaseException:
            self._position = position
            raise


_MODES: Final = frozenset("rwxabt+")


def _checked_mode(mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None) -> str:
    """Return *mode* without b and t. Raises ValueError as the built-in `open` does."""
    letters = set(mode)
    if letters - _MODES or len(mode) > len(letters) or not mode:
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in letters and "b" in letters:
        raise ValueError("can't have text and binary mode at once")
    if len(letters & set("rwxa")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if "b" in letters:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take {'an' if name[0] == 'e' else 'a'} {name} argument")
    elif buffering == 0:
        raise ValueError("can't have unbuffered text I/O")
    return (letters & set("rwxa")).pop() + ("+" if "+" in letters else "")


def open_for_reading(
    state: State, path: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> IO[Any]:
    """Open a file of a view that can't be written. Raises OSError (EROFS) for other modes."""
    kind = _checked_mode(mode, buffering, encoding, errors, newline)
    if kind != "r":
        raise os_error(errno.EROFS, path)
    raw = RawFile(state, state.read(_readable_id, state, path), path, "rb")
    return _wrapped(raw, mode, kind, buffering, encoding, errors, newline)


def _readable_id(state: State, path: str) -> int:
    entry = locate(state, path, follow=True, second_try=True, posix=True)[2]
    if type(entry) is not File:
        raise os_error(errno.ENOENT if entry is None else errno.EISDIR, path)
    return entry.metadata.id


def open_file(
    state: WritableState,
    path: str,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> IO[Any]:
    """Open a file in any mode, making or emptying it where the mode says so."""
    kind = _checked_mode(mode, buffering, encoding, errors, newline)
    raw_mode = {"r+": "rb+"}.get(kind, kind[0] + "b" + kind[1:])

    def opened(file_id: int) -> RawFile:
        raw = RawFile(state, file_id, path, raw_mode)
        state.opened(file_id, raw)
        return raw

    # It is noted as open before the file can be deleted: its id may be another file's then.
    if kind == "r":
        raw = state.read(lambda: opened(_readable_id(state, path)))
    else:
        marks = state.acquire()
        try:
            raw = opened(_prepared_id(state, path, kind))
        except BaseException:
            state.abandon(marks)
            raise
        finally:
            state.lock.release()
    return _wrapped(raw, mode, kind, buffering, encoding, errors, newline)


def _prepared_id(state: WritableState, path: str, kind: str) -> int:
    """Return the id of the file at *path*, as the mode wants it: made, emptied, or there."""
    if kind[0] == "r":
        directory, name, entry = locate(state, path, follow=True, posix=True)
        if entry is None:
            raise os_error(errno.ENOENT, path)
    else:
        directory, name, entry = place_for_file(state, path, follow=kind[0] != "x")
    if entry is not None and kind[0] == "x":
        raise os_error(errno.EEXIST, path)
    change = Change()
    now = state.now()
    if entry is None:
        entry = add(state, change, directory, name, FileType.file, now)
        state.apply(change)
    elif type(entry) is not File:
        raise os_error(errno.EISDIR, path)
    elif kind[0] == "w":
        change.entries[entry.metadata.id] = chunks.resize(state, change, entry, 0, now)
        state.apply(change)
    return entry.metadata.id


def _wrapped(
    raw: RawFile, mode: str, kind: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> IO[Any]:
    """Put the buffer, and for text the wrapper, around *raw*."""
    if kind[0] == "a":
        raw.seek(0, io.SEEK_END)
    if buffering == 0:
        return raw  # type: ignore[return-value]
    size = buffering if buffering > 1 else READ_BUFFER_SIZE if kind == "r" else BUFFER_SIZE
    buffered: io.BufferedRandom | io.BufferedWriter | io.BufferedReader
    if "+" in kind:
        buffered = io.BufferedRandom(raw, size)
    elif kind[0] == "r":
        buffered = io.BufferedReader(raw, size)
    else:
        buffered = io.BufferedWriter(raw, size)
    if "b" in mode:
        return buffered
    text = io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text
