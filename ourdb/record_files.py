"""The numbered, append-only record files `0.db`, `1.db`, … of one database.

A file starts with one zero byte; records follow back to back. The committed end (file and position) belongs to the
journal's truth and is handed in; bytes past it are leftovers of a write that was not committed.

Files are mapped for reading. A map cannot see what was appended after it was made, so a read past its end goes through
pread, and the map is renewed when such reads add up: a new map costs as much as a dozen preads.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ourdb.config import Config
from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, DatabaseFull
from ourdb.location import split
from ourdb.record import HEADER_SIZE, Header, decode_header

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["BUFFER_MAX", "FILE_COUNT_MAX", "POSITION_MAX", "Appender", "RecordFiles"]

FILE_COUNT_MAX: Final = 65536
POSITION_MAX: Final = 2**32 - 1

_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,4})\.db")
_OPEN_MAX: Final = 64
_UNSYNCED_MAX: Final = _OPEN_MAX // 2
_MAPS_MAX: Final = 256
_READS_PER_MAP: Final = 32
_VERIFIED_MAX: Final = 65536
BUFFER_MAX: Final = 1 << 20


class _OpenFile:
    """A descriptor, closed with its last reference: a thread may be using it that another one closes, or makes room for another.

    Were the number closed under it, the system could have given it to another file by then.
    """

    __slots__ = ("_disk", "fd")

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self.fd = fd

    def __del__(self) -> None:
        self._disk.close(self.fd)


class RecordFiles:
    """The record files of the database in *folder*.

    maps: file number -> map, for reading. verified: location -> bytes of data, of records whose CRC was found right since
    the files were opened. end_file, end_position: where the next record goes. is_replaced: a compaction puts other files
    in place of these; those that are open can be read still.
    """

    def __init__(self, disk: Disk, folder: str, *, read_only: bool) -> None:
        self._disk = disk
        self.folder = folder
        self._read_only = read_only
        self.maps: dict[int, mmap] = {}
        self.verified: dict[int, int] = {}
        self._reads_past_map = 0
        self._open: dict[int, _OpenFile] = {}
        self._unsynced: set[int] = set()
        self._unsynced_names = False
        self._sync_error: OSError | None = None
        self.end_file = 0
        self.end_position = 0
        self.is_replaced = False

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
        self.end_position = self._disk.size(self.last_fd()) if numbers else 0

    def create_first(self) -> None:
        """Make `0.db` with its leading zero byte."""
        self.write(0, 0, b"\0")
        self.end_file, self.end_position = 0, 1

    def last_fd(self) -> int:
        """Return the descriptor of the last file, good for as long as it is the last one. Raises FileNotFoundError."""
        return self._file(self.end_file).fd

    def _file(self, file_number: int, *, create: bool = False) -> _OpenFile:
        """Return a file, opening it if need be; its descriptor is good while the caller holds it. Raises FileNotFoundError."""
        file = self._open.get(file_number)
        if file is None:
            path = self.path(file_number)
            is_new = create and not self._disk.exists(path)
            file = _OpenFile(self._disk, self._disk.open(path, create=create, read_only=self._read_only))
            if self.is_replaced:
                raise FileNotFoundError(errno.ENOENT, "replaced by a compaction", path)
            self._unsynced_names |= is_new
            if len(self._open) >= _OPEN_MAX:
                self._let_go_of_oldest()
            file = self._open.setdefault(file_number, file)  # another thread may have been quicker
        return file

    def _let_go_of_oldest(self) -> None:
        # Not the last file, which `OurDB.set` writes to by its descriptor alone, and none that is to be synced: an
        # earlier write's error is told to a descriptor that was open by then.
        for number in tuple(self._open):
            if number != self.end_file and number not in self._unsynced:
                self._open.pop(number, None)
                return

    def move_end(self, file_number: int, position: int) -> None:
        """Take *position* in a file as the end; the file that was the last one so far may hold what is not durable."""
        if file_number != self.end_file:
            self._unsynced.add(self.end_file)
        self.end_file, self.end_position = file_number, position

    def write(self, file_number: int, position: int, data: bytes | bytearray) -> None:
        """Write *data* at *position*, making the file if it is missing; durable only after `sync`."""
        self._will_write(file_number)
        file = self._file(file_number, create=True)
        self._disk.write_all(file.fd, data, position)

    def write_parts(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Write *parts*, of *size* bytes in all, one after the other at the end; durable only after `sync`."""
        self._unsynced.add(self.end_file)
        file = self._file(self.end_file)
        self._disk.write_parts(file.fd, parts, size, self.end_position)

    def _will_write(self, file_number: int) -> None:
        """Let the next `sync` cover a file; as those are kept open, another one is synced now if they become many."""
        if file_number not in self._unsynced:
            while len(self._unsynced) >= _UNSYNCED_MAX:
                self._sync_one(next(iter(self._unsynced)))
            self._unsynced.add(file_number)

    def _sync_one(self, file_number: int) -> None:
        if self._sync_error is not None:
            raise self._sync_error  # a second fsync could succeed: the system forgets what it could not write
        file = self._file(file_number)
        try:
            self._disk.fsync(file.fd)
        except OSError as error:
            self._sync_error = error
            raise
        self._unsynced.discard(file_number)

    def zero(self, location: int, size: int) -> None:
        """Overwrite *size* bytes of a deleted record with zeros."""
        file_number, position = split(location)
        self._will_write(file_number)
        file = self._file(file_number)
        self._disk.write_zeros(file.fd, position, size)

    def sync(self) -> None:
        """Make all that was written durable: contents, then names.

        The last file always counts as written: the hot path of `OurDB.set` appends to it without asking here.
        """
        self._unsynced.add(self.end_file)
        while self._unsynced:
            self._sync_one(next(iter(self._unsynced)))
        if self._unsynced_names:
            self._disk.sync_folder(self.folder)
            self._unsynced_names = False

    def doubt(self, file_number: int) -> None:
        """Let the next `sync` cover a file, and all names: a process that was killed wrote there, and may not have synced."""
        self._unsynced.add(file_number)
        self._unsynced_names = True

    def cut_tail(self) -> None:
        """Remove what lies past the end: bytes of the last file, and later files."""
        for number in self.numbers():
            if number > self.end_file:
                self.forget(number)
                self._disk.unlink(self.path(number))
                self._unsynced_names = True
        if self.end_position:
            self.cut(self.end_file, self.end_position)

    def cut(self, file_number: int, end: int) -> None:
        """Cut off what lies behind *end* in a file."""
        if self.size(file_number) > end:
            self.maps.pop(file_number, None)
            file = self._file(file_number)
            self._disk.truncate(file.fd, end)
            self._unsynced.add(file_number)

    def forget(self, file_number: int) -> None:
        """Close a file that goes away."""
        self.maps.pop(file_number, None)
        self._unsynced.discard(file_number)
        self._open.pop(file_number, None)

    def size(self, file_number: int) -> int:
        """Return a file's size in bytes, 0 if there is none."""
        try:
            file = self._file(file_number)
            return self._disk.size(file.fd)
        except FileNotFoundError:
            return 0

    def header(self, location: int) -> Header:
        """Return the header at *location*. Raises CorruptRecord where no whole header lies."""
        file_number, position = split(location)
        raw = self._read(file_number, position, HEADER_SIZE)
        if len(raw) < HEADER_SIZE:
            raise self.corrupt(location, f"expected a record header, found the file's end after {len(raw)} bytes")
        return decode_header(raw)

    def note_verified(self, location: int, data_size: int) -> None:
        """Remember that the record at *location* is whole, so that parts of it can be read without the rest.

        Not of one behind the committed end: if its transaction is rolled back, another record will lie there.
        """
        if location >= self.end_file << 32 | self.end_position:
            return
        if len(self.verified) >= _VERIFIED_MAX:
            self.verified.clear()
        self.verified[location] = data_size

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
            if self._disk.maps_files and (mapped is None or self._reads_past_map > _READS_PER_MAP):
                self._map(file_number)
            file = self._file(file_number)
            return self._disk.read_all(file.fd, size, position)
        except FileNotFoundError:
            return b""

    def _map(self, file_number: int) -> None:
        self._reads_past_map = 0
        file = self._file(file_number)
        size = self._disk.size(file.fd)
        if size:
            for number in tuple(self.maps)[: len(self.maps) + 1 - _MAPS_MAX] if len(self.maps) >= _MAPS_MAX else ():
                # Dropped, not closed: a reading thread may hold it; it closes with its last reference.
                self.maps.pop(number, None)
            self.maps[file_number] = self._disk.map(file.fd, size)

    def close(self) -> None:
        """Close all files and maps; what a thread is just reading, when it has done so."""
        self.maps.clear()
        self._open.clear()


class Appender:
    """Appends records behind the end of *files*, through a buffer of 1 MiB; the end itself stays where it is.

    file, position: where the next record goes.
    """

    __slots__ = ("_config", "_files", "buffer", "buffer_file", "buffer_position", "file", "position")

    def __init__(self, files: RecordFiles, config: Config) -> None:
        self._files = files
        self._config = config
        self.file = self.buffer_file = files.end_file
        self.position = self.buffer_position = files.end_position
        self.buffer = bytearray()

    def append(self, record: bytes) -> int:
        """Put *record* at the end and return its location. Raises DatabaseFull; then nothing was appended."""
        config = self._config
        if self.position >= config.file_size or self.position > POSITION_MAX:
            self._roll_over()
        if config.keysize < 6 and self.position >= 1 << 8 * config.keysize:
            raise DatabaseFull(
                f"{self._files.path(0)}: position {self.position} does not fit a slot of {config.keysize} bytes; nothing was "
                "written; compact the database, or move it to one with a larger record_nr_max * record_size_max"
            )
        location = self.file << 32 | self.position
        self.buffer += record
        self.position += len(record)
        if len(self.buffer) > BUFFER_MAX:
            self.flush()
        return location

    def extend(self, records: bytes, end: int) -> None:
        """Put whole *records*, for which the file has room, at the end; it is then at position *end*."""
        self.buffer += records
        self.position = end
        if len(self.buffer) > BUFFER_MAX:
            self.flush()

    def _roll_over(self) -> None:
        if self._config.keysize < 6:
            raise DatabaseFull(
                f"{self._files.path(self.file)} has reached {self.position} bytes (file_size {self._config.file_size}), and a "
                f"key size of {self._config.keysize} can address one record file only; nothing was written; compact the database"
            )
        if self.file + 1 >= FILE_COUNT_MAX:
            raise DatabaseFull(
                f"{self._files.folder}: record file {self.file} is full and the last of {FILE_COUNT_MAX}"
            )
        self.flush()
        # A transaction that was rolled back may have left bytes behind this file's last record.
        self._files.cut(self.file, self.position)
        self.file = self.buffer_file = self.file + 1
        self.buffer_position = 0
        self.position = 1
        self.buffer += b"\0"

    def flush(self) -> None:
        """Write the buffered records to their places."""
        if self.buffer:
            self._files.write(self.buffer_file, self.buffer_position, self.buffer)
            self.buffer_position += len(self.buffer)
            self.buffer = bytearray()

    def take_back(self, file: int, position: int) -> None:
        """Forget what was appended from (*file*, *position*) on."""
        self.file, self.position = file, position
        if (file, position) >= (self.buffer_file, self.buffer_position):
            del self.buffer[position - self.buffer_position :]
        else:
            self.buffer = bytearray()
            self.buffer_file, self.buffer_position = file, position
