"""The numbered, append-only record files `0.db`, `1.db`, … of one database.

A file starts with one zero byte; records follow back to back. The committed end (file and position) belongs to the
journal's truth and is handed in; bytes past it are leftovers of a write that was not committed.

Files are mapped for reading. A map cannot see what was appended after it was made, so a read past its end goes through
pread, and the map is renewed when such reads add up: a new map costs as much as a dozen preads.
"""

from __future__ import annotations

import mmap
import os
import re
from typing import Final

from ourdb.disk import Disk
from ourdb.errors import CorruptRecord
from ourdb.location import split
from ourdb.record import HEADER_SIZE, Header, decode_header

__all__ = ["FILE_COUNT_MAX", "POSITION_MAX", "RecordFiles"]

FILE_COUNT_MAX: Final = 65536
POSITION_MAX: Final = 2**32 - 1

_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,4})\.db")
_OPEN_MAX: Final = 64
_MAPS_MAX: Final = 256
_READS_PER_MAP: Final = 32


class RecordFiles:
    """The record files of the database in *folder*.

    maps: file number -> map, for reading. end_file, end_position: where the next record goes.
    """

    def __init__(self, disk: Disk, folder: str, *, read_only: bool) -> None:
        self._disk = disk
        self.folder = folder
        self._read_only = read_only
        self.maps: dict[int, mmap.mmap] = {}
        self._reads_past_map = 0
        self._fds: dict[int, int] = {}
        self._unsynced: set[int] = set()
        self._unsynced_names = False
        self.end_file = 0
        self.end_position = 0

    def path(self, file_number: int) -> str:
        """Return the path of record file *file_number*."""
        return os.path.join(self.folder, f"{file_number}.db")

    def numbers(self) -> list[int]:
        """Return the numbers of the files that exist, ascending."""
        matches = (_NAME.fullmatch(name) for name in self._disk.listdir(self.folder))
        return sorted(int(match[1]) for match in matches if match and int(match[1]) < FILE_COUNT_MAX)

    def find_end(self) -> None:
        """Take the end of the highest file as the end, as after a clean close."""
        numbers = self.numbers()
        self.end_file = numbers[-1] if numbers else 0
        self.end_position = self._disk.size(self.fd(self.end_file)) if numbers else 0

    def create_first(self) -> None:
        """Make `0.db` with its leading zero byte."""
        self.write(0, 0, b"\0")
        self.end_file, self.end_position = 0, 1

    def fd(self, file_number: int, *, create: bool = False) -> int:
        """Return the descriptor of a file, opening it if need be. Raises FileNotFoundError."""
        fd = self._fds.get(file_number)
        if fd is None:
            path = self.path(file_number)
            is_new = create and not self._disk.exists(path)
            fd = self._disk.open(path, create=create, read_only=self._read_only)
            self._unsynced_names |= is_new
            if len(self._fds) >= _OPEN_MAX:
                self._close_oldest()
            self._fds[file_number] = fd
        return fd

    def _close_oldest(self) -> None:
        oldest = next(number for number in self._fds if number != self.end_file)
        if oldest in self._unsynced:
            self._disk.fsync(self._fds[oldest])
            self._unsynced.discard(oldest)
        self._disk.close(self._fds.pop(oldest))

    def write(self, file_number: int, position: int, data: bytes | bytearray) -> None:
        """Write *data* at *position*, making the file if it is missing; durable only after `sync`."""
        self._unsynced.add(file_number)
        self._disk.write_all(self.fd(file_number, create=True), data, position)

    def zero(self, location: int, size: int) -> None:
        """Overwrite *size* bytes of a deleted record with zeros."""
        file_number, position = split(location)
        self._unsynced.add(file_number)
        self._disk.write_zeros(self.fd(file_number), position, size)

    def sync(self) -> None:
        """Make all that was written durable: contents, then names.

        The last file always counts as written: the hot path of `OurDB.set` appends to it without asking here.
        """
        self._unsynced.add(self.end_file)
        while self._unsynced:
            number = next(iter(self._unsynced))
            self._disk.fsync(self.fd(number))
            self._unsynced.discard(number)
        if self._unsynced_names:
            self._disk.sync_folder(self.folder)
            self._unsynced_names = False

    def cut_tail(self) -> None:
        """Remove what lies past the end: bytes of the last file, and later files."""
        for number in self.numbers():
            if number > self.end_file:
                self.forget(number)
                self._disk.unlink(self.path(number))
                self._unsynced_names = True
        if self.end_position and self._disk.size(self.fd(self.end_file)) > self.end_position:
            self.maps.pop(self.end_file, None)
            self._disk.truncate(self.fd(self.end_file), self.end_position)
            self._unsynced.add(self.end_file)

    def forget(self, file_number: int) -> None:
        """Close a file that goes away."""
        self.maps.pop(file_number, None)
        self._unsynced.discard(file_number)
        fd = self._fds.pop(file_number, None)
        if fd is not None:
            self._disk.close(fd)

    def size(self, file_number: int) -> int:
        """Return a file's size in bytes, 0 if there is none."""
        try:
            return self._disk.size(self.fd(file_number))
        except FileNotFoundError:
            return 0

    def header(self, location: int) -> Header:
        """Return the header at *location*. Raises CorruptRecord where no whole header lies."""
        file_number, position = split(location)
        raw = self._read(file_number, position, HEADER_SIZE)
        if len(raw) < HEADER_SIZE:
            raise self.corrupt(location, f"expected a record header, found the file's end after {len(raw)} bytes")
        return decode_header(raw)

    def data(self, location: int, data_size: int) -> bytes:
        """Return the *data_size* bytes behind the header at *location*. Raises CorruptRecord if the file ends first."""
        file_number, position = split(location)
        raw = self._read(file_number, position + HEADER_SIZE, data_size)
        if len(raw) < data_size:
            raise self.corrupt(location, f"expected {data_size} bytes of data, found the file's end after {len(raw)}")
        return raw

    def raw(self, file_number: int, position: int, size: int) -> bytes:
        """Return up to *size* bytes at *position*, fewer where the file ends."""
        return self._read(file_number, position, size)

    def corrupt(self, location: int, reason: str) -> CorruptRecord:
        """Return the error that says what is wrong at *location*."""
        file_number, position = split(location)
        return CorruptRecord(self.path(file_number), position, reason)

    def _read(self, file_number: int, position: int, size: int) -> bytes:
        mapped = self.maps.get(file_number)
        if mapped is not None and position + size <= len(mapped):
            return mapped[position : position + size]
        self._reads_past_map += 1
        try:
            if mapped is None or self._reads_past_map > _READS_PER_MAP:
                self._map(file_number)
            return self._disk.read_all(self.fd(file_number), size, position)
        except FileNotFoundError:
            return b""

    def _map(self, file_number: int) -> None:
        self._reads_past_map = 0
        fd = self.fd(file_number)
        size = self._disk.size(fd)
        if size:
            while len(self.maps) >= _MAPS_MAX:
                # Dropped, not closed: a reading thread may hold it; it closes with its last reference.
                self.maps.pop(next(iter(self.maps)), None)
            self.maps[file_number] = self._disk.map(fd, size)

    def close(self) -> None:
        """Close all files and maps."""
        self.maps.clear()
        while self._fds:
            self._disk.close(self._fds.popitem()[1])
