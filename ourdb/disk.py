"""Every call to the operating system that opens, reads, writes or removes a file, in one place.

`ourdb` touches files only through a `Disk`, so that a test can put one in its place that records, cuts or fails the
calls, and so that what differs between systems (pread on Windows, flock in WebAssembly) is known to this file alone.
The functions of the hot path are the operating system's own, unwrapped: a layer of Python would cost as much as they do.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from ourdb.errors import DatabaseLocked

try:
    import fcntl
except ImportError:  # Windows, WebAssembly
    fcntl = None  # type: ignore[assignment]
try:
    import mmap
except ImportError:  # WASI
    mmap = None  # type: ignore[assignment]

__all__ = ["DISK", "Disk"]

_BINARY: Final = getattr(os, "O_BINARY", 0)
_NO_FILE: Final = "expected a regular file, found a link, folder, pipe or device; move it away"
_ZEROS: Final = bytes(1 << 20)
_COPIED_MAX: Final = 32 << 10
_PARTS_MAX: Final = 1024
_LOCK_RETRY_SECONDS: Final = 0.01

_IS_WEBASSEMBLY: Final = sys.platform in ("emscripten", "wasi")

_seek_lock = threading.Lock()


def _pread_by_seek(fd: int, size: int, position: int) -> bytes:
    with _seek_lock:
        os.lseek(fd, position, os.SEEK_SET)
        return os.read(fd, size)


def _pwrite_by_seek(fd: int, data: bytes | bytearray | memoryview, position: int) -> int:
    with _seek_lock:
        os.lseek(fd, position, os.SEEK_SET)
        return os.write(fd, data)


_locked: dict[tuple[int, int], int] = {}
"""Device and inode of a folder -> the descriptor that locks it, if that is open still: where the system has no locks."""


def _lock_here(fd: int) -> None:
    """Lock the folder open as *fd* within this process, until that is closed. Raises DatabaseLocked."""
    folder = _file_of(fd)
    holder = _locked.get(folder)
    if holder is not None and holder != fd and _file_of(holder) == folder:
        raise DatabaseLocked
    _locked[folder] = fd


def _file_of(fd: int) -> tuple[int, int]:
    try:
        status = os.fstat(fd)
    except OSError:  # closed
        return -1, -1
    return status.st_dev, status.st_ino


def _is_tmpfs(fd: int) -> bool:
    # Only files of tmpfs (and of hugetlbfs) can be sealed; for others the question is an error.
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except (AttributeError, OSError):
        return False
    return True


class _Unmapped:
    """Stands for a map where one can't be had safely: each slice is read from the file."""

    def __init__(self, pread: Callable[[int, int, int], bytes], fd: int, size: int) -> None:
        self._pread = pread
        self._fd = fd
        self._size = size

    def __getitem__(self, part: slice) -> bytes:
        fd = self._fd
        start, stop, _ = part.indices(self._size)
        try:
            raw = self._pread(fd, stop - start, start) if fd >= 0 and start < stop else b""
        except OSError:
            if fd == self._fd:
                raise
        if fd != self._fd or fd < 0:  # closed, and perhaps another file by now
            raise ValueError("closed")
        return raw

    def __len__(self) -> int:
        return self._size

    def close(self) -> None:
        self._fd = -1


class Disk:
    """The operating system's files. Methods raise OSError as `os` does."""

    pread: Callable[[int, int, int], bytes] = staticmethod(getattr(os, "pread", _pread_by_seek))
    pwrite: Callable[[int, bytes | bytearray | memoryview, int], int] = staticmethod(
        getattr(os, "pwrite", _pwrite_by_seek)
    )
    maps_files = not _IS_WEBASSEMBLY
    """Whether files are mapped for reading. In WebAssembly a map is a copy, which takes memory and sees no later write."""
    locks_folders = not _IS_WEBASSEMBLY
    """Whether the system keeps two writers apart. In WebAssembly it says that it does; but there is one process only."""
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(getattr(os, "fdatasync", os.fsync))
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
        """Open a regular file and return its descriptor; *create* makes it if it is missing.

        Refuses what is not a regular file (a FIFO would block, a symlink may lead out of the folder): OSError with EINVAL,
        ELOOP, EISDIR or ENXIO.
        """
        flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_CREAT if create else 0)
        # O_NONBLOCK: opening a FIFO that somebody put there returns instead of waiting.
        flags |= _BINARY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            fd = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ENXIO) or (error.errno == errno.ELOOP and os.path.islink(path)):
                raise OSError(error.errno, _NO_FILE, path) from None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # by its descriptor: a writer may just have removed the name
            os.close(fd)
            raise OSError(errno.EINVAL, _NO_FILE, path)
        return fd

    def write_all(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> None:
        """Write all of *data* at *position*; a short write is continued."""
        size = len(data)
        written = self.pwrite(fd, data, position) if size else 0
        while written < size:
            more = self.pwrite(fd, memoryview(data)[written:], position + written)
            if more == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += more

    def pwritev(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], position: int) -> int:
        """Write *parts* one after the other at *position*; return how many bytes were written."""
        if hasattr(os, "pwritev") and len(parts) <= _PARTS_MAX:
            return os.pwritev(fd, parts, position)
        return self.pwrite(fd, b"".join(parts), position)

    def write_parts(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], size: int, position: int) -> None:
        """Write all of *parts*, of *size* bytes, one after the other at *position*; large ones are not copied together first."""
        if size <= _COPIED_MAX:
            written = self.pwrite(fd, b"".join(parts), position)
        else:
            written = self.pwritev(fd, parts, position)
        if written < size:
            self.write_all(fd, memoryview(b"".join(parts))[written:], position + written)

    def write_zeros(self, fd: int, position: int, size: int) -> None:
        """Write *size* zero bytes at *position*."""
        while size > 0:
            step = min(size, len(_ZEROS))
            self.write_all(fd, memoryview(_ZEROS)[:step], position)
            position += step
            size -= step

    def read_all(self, fd: int, size: int, position: int) -> bytes:
        """Read *size* bytes at *position*, fewer only where the file ends."""
        parts = []
        while size > 0:
            part = self.pread(fd, size, position)
            if not part:
                break
            parts.append(part)
            position += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def size(self, fd: int) -> int:
        """Return the file's size in bytes."""
        return os.fstat(fd).st_size

    def next_data(self, fd: int, position: int) -> int:
        """Return where the next part of a file begins that is no hole, as far as the system tells."""
        if not hasattr(os, "SEEK_DATA"):
            return position
        try:
            return os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            return self.size(fd) if error.errno == errno.ENXIO else position

    def is_same_file(self, fd: int, path: str) -> bool:
        """Say whether *path* is the file that *fd* has open. Raises FileNotFoundError."""
        return os.path.samestat(os.fstat(fd), os.stat(path))

    def map(self, fd: int, size: int) -> mmap.mmap:
        """Map the first *size* bytes (not 0) for reading; where `maps_files` says so."""
        return mmap.mmap(fd, size, access=mmap.ACCESS_READ)

    def view(self, fd: int, size: int, *, has_holes: bool = False) -> mmap.mmap | _Unmapped:
        """Return the first *size* bytes (not 0) of a file, for slicing, as they are then; close it before *fd*.

        On tmpfs even a load from a hole of a map takes a page, which on a full disk is SIGBUS: there nothing is mapped.
        """
        if not self.maps_files or (has_holes and _is_tmpfs(fd)):
            return _Unmapped(self.pread, fd, size)
        mapped = self.map(fd, size)
        if has_holes and hasattr(mmap, "MADV_RANDOM"):
            # A look at one slot would read ahead otherwise, up to 8 MiB on some systems, of holes mostly: 15 ms of zeroing.
            mapped.madvise(mmap.MADV_RANDOM)
        return mapped

    def will_need(self, mapped: mmap.mmap | _Unmapped, start: int, stop: int) -> None:
        """Say that all bytes from *start* to *stop* of what `view` gave are about to be read."""
        if not isinstance(mapped, _Unmapped) and hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, start, stop - start)

    def allocate(self, fd: int, position: int, size: int) -> None:
        """Reserve blocks, so that later writes there cannot meet a full disk where the system keeps that promise."""
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(fd, position, size)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                    raise
        self.write_zeros(fd, position, size)

    def exists(self, path: str) -> bool:
        """Say whether something is at *path*. What can't be looked at (no right to) is not taken for missing: OSError."""
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def listdir(self, path: str) -> list[str]:
        """Return the names in folder *path*, sorted."""
        return sorted(os.listdir(path))

    def makedirs(self, path: str) -> None:
        """Make folder *path* and what is missing above it, and make their names durable."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(os.path.abspath(path))
        self.makedirs(parent)
        with suppress(FileExistsError):
            self.mkdir(path)
        self.sync_folder(parent)

    def remove_tree(self, path: str) -> None:
        """Remove folder *path* with all that is in it, not following symlinks; a missing one is fine."""
        if os.path.islink(path) or not os.path.isdir(path):
            if self.exists(path):
                self.unlink(path)
            return
        for name in self.listdir(path):
            self.remove_tree(os.path.join(path, name))
        self.rmdir(path)

    def missing_folders(self, path: str) -> list[str]:
        """Return what `makedirs` would make, *path* first."""
        missing, above = [], os.path.abspath(path)
        while not self.exists(above):
            missing.append(above)
            above = os.path.dirname(above)
        return missing

    @contextmanager
    def new_folder(self, path: str) -> Iterator[None]:
        """Make folder *path* for what the with-block puts there; if the block fails, all is as it was before.

        The folder may be there already, empty. Raises FileExistsError.
        """
        if self.exists(path) and (not os.path.isdir(path) or self.listdir(path)):
            raise FileExistsError(errno.EEXIST, "it is there and not an empty folder; give a new one", path)
        made = self.missing_folders(path)
        try:
            self.makedirs(path)
            yield
        except BaseException as error:
            try:
                for name in self.listdir(path) if self.exists(path) else ():
                    self.remove_tree(os.path.join(path, name))
                for folder in filter(self.exists, made):
                    self.rmdir(folder)
            except OSError as problem:
                error.add_note(f"{path}: not all that was made there could be removed ({problem})")
            raise

    def sync_folder(self, path: str) -> None:
        """Make the names in folder *path* durable, where folders can be opened."""
        if os.name == "nt":
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some file systems have nothing to sync in a folder
                raise
        finally:
            os.close(fd)

    def read_file(self, path: str, size_max: int) -> bytes:
        """Return the content of a small file; one larger than *size_max* raises OSError EFBIG."""
        fd = self.open(path, read_only=True)
        try:
            if self.size(fd) > size_max:
                raise OSError(errno.EFBIG, f"file has {self.size(fd)} bytes, expected at most {size_max}", path)
            return self.read_all(fd, size_max, 0)
        finally:
            self.close(fd)

    def replace_file(self, path: str, data: bytes, *, sync: bool) -> None:
        """Put a file with *data* at *path* in one step: old or new, never between."""
        temporary = path + ".new"
        with suppress(FileNotFoundError):
            self.unlink(temporary)
        fd = self.open(temporary, create=True)
        try:
            self.write_all(fd, data, 0)
            if sync:
                self.fsync(fd)
        except OSError as error:
            error.filename = error.filename or path  # a write tells none
            raise
        finally:
            self.close(fd)
        self.replace(temporary, path)
        if sync:
            self.sync_folder(os.path.dirname(path))

    def lock(self, folder: str, timeout: float) -> int:
        """Lock *folder* for writing and return the descriptor that holds the lock; it dies with the process.

        Waits up to *timeout* seconds. Raises DatabaseLocked.
        """
        if os.name == "nt":
            return self._lock_windows(folder, timeout)
        fd = os.open(folder, os.O_RDONLY)
        try:
            if self.locks_folders:
                self._wait_for_lock(fd, timeout)
            else:
                _lock_here(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _wait_for_lock(self, fd: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() >= deadline:
                raise DatabaseLocked
            time.sleep(_LOCK_RETRY_SECONDS)

    def _lock_windows(self, folder: str, timeout: float) -> int:
        import msvcrt

        # Folders have no descriptors there: the last byte of a file's range is locked, which no read or write touches.
        fd = os.open(os.path.join(folder, "lookup", ".ourdb"), os.O_RDWR | os.O_CREAT | _BINARY)
        deadline = time.monotonic() + timeout
        while True:
            try:
                os.lseek(fd, 2**30, os.SEEK_SET)
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
                return fd
            except OSError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    raise DatabaseLocked from None
            time.sleep(_LOCK_RETRY_SECONDS)

    @contextmanager
    def opened(self, path: str, *, read_only: bool = True) -> Iterator[int]:
        """Open a file for the length of a with-block."""
        fd = self.open(path, read_only=read_only)
        try:
            yield fd
        finally:
            self.close(fd)

    def boot_id(self) -> bytes:
        """Return 16 bytes that change when the machine starts anew; zeros where the system does not tell.

        With the same id, what a killed process wrote is still in the system's cache; with another it may be lost.
        """
        try:
            fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY)
        except OSError:
            return bytes(16)
        try:
            return bytes.fromhex(os.read(fd, 64).decode().strip().replace("-", ""))
        except (OSError, ValueError):
            return bytes(16)
        finally:
            os.close(fd)


DISK: Final = Disk()
