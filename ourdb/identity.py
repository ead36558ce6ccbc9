r"""`lookup/.ourdb`: the small file that tells what a folder is. The reference ignores it.

======  ====  ==============================================================
offset  size  field (little endian)
======  ====  ==============================================================
0       8     magic ``OurDB\r\n\x1a``
8       2     format number, 1
10      1     key size
11      1     1 = incremental mode
12      4     4 zero bytes
16      8     record_nr_max
24      8     record_size_max
32      8     file_size
40      16    identity: random, made with the folder
56      4     CRC-32 of the bytes before
60      4     4 zero bytes
64      8     epoch: counts the starts and ends of checkpoints; odd while one runs
72      4     process id of the writer that opened the folder last
76      4     number of the last record file at the last clean close
80      8     its size then
88      4     CRC-32 of the 12 bytes before
======  ====  ==============================================================

The first 60 bytes never change. Epoch and process id are shared between living processes only: a power cut may lose them.
The end tells a record file that was cut since from one that the reference appended to. It is written without fsync:
an older one is true too. A folder of an earlier version has 76 bytes.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import Final
from zlib import crc32

from ourdb.config import Config
from ourdb.disk import Disk
from ourdb.errors import OurDBError, UnsupportedFormat

__all__ = ["END_SIZE", "SIZE", "Identity", "damaged_config", "identity_path"]

MAGIC: Final = b"OurDB\r\n\x1a"
FORMAT: Final = 1
_FIXED: Final = struct.Struct("<8sHBB4xQQQ16s")
_CHECKSUM: Final = struct.Struct("<I4x")
_EPOCH: Final = struct.Struct("<Q")
_HOLDER: Final = struct.Struct("<I")
EPOCH_AT: Final = 64
HOLDER_AT: Final = 72
SIZE: Final = 76
_SIZE_MAX: Final = 4096
_END: Final = struct.Struct("<IQ")
_END_CHECKSUM: Final = struct.Struct("<I")
END_AT: Final = SIZE
END_SIZE: Final = _END.size + _END_CHECKSUM.size
assert _FIXED.size + _CHECKSUM.size == EPOCH_AT, "docs/format.md says 64"


def identity_path(folder: str) -> str:
    """Return the path of the file in database folder *folder*."""
    return os.path.join(folder, "lookup", ".ourdb")


class Identity:
    """The open file: config and identity are fixed, epoch and holder are shared with other processes."""

    def __init__(self, disk: Disk, folder: str, *, read_only: bool) -> None:
        self._disk = disk
        self.path = identity_path(folder)
        self._fd = disk.open(self.path, read_only=read_only)
        try:
            raw = disk.read_all(self._fd, SIZE, 0)
            self.config, self.identity = _decode(raw, self.path)
            self._map = disk.view(self._fd, SIZE)
        except BaseException:
            disk.close(self._fd)
            raise

    @staticmethod
    def create(disk: Disk, folder: str, config: Config) -> None:
        """Make the file in one durable step."""
        disk.replace_file(identity_path(folder), Identity.encode(config), sync=True)

    @staticmethod
    def encode(config: Config) -> bytes:
        """Return the bytes of a file with a new identity."""
        raw = _FIXED.pack(
            MAGIC,
            FORMAT,
            config.keysize,
            config.incremental_mode,
            config.record_nr_max,
            config.record_size_max,
            config.file_size,
            os.urandom(16),
        )
        raw += _CHECKSUM.pack(crc32(raw))
        return raw.ljust(SIZE, b"\0")

    @property
    def epoch(self) -> bytes:
        """The epoch's bytes, as they stand now."""
        return self._map[EPOCH_AT:HOLDER_AT]

    def advance(self, *, running: bool) -> None:
        """Tell other processes that a checkpoint starts (*running*) or has ended."""
        (epoch,) = _EPOCH.unpack(self.epoch)
        if (epoch + 1) % 2 != running:
            epoch += 1  # a killed writer left it odd
        self._disk.write_all(self._fd, _EPOCH.pack((epoch + 1) % 2**64), EPOCH_AT)

    @property
    def holder(self) -> int:
        """Process id of the writer that opened the folder last, 0 if none did."""
        return int(_HOLDER.unpack(self._map[HOLDER_AT:SIZE])[0])

    def hold(self) -> None:
        """Note this process as the writer."""
        self._disk.write_all(self._fd, _HOLDER.pack(os.getpid()), HOLDER_AT)

    @property
    def end(self) -> tuple[int, int]:
        """Last record file and its size at the last clean close; (0, 0) if that is not known."""
        raw = self._disk.read_all(self._fd, END_SIZE, END_AT)
        if len(raw) < END_SIZE or _END_CHECKSUM.unpack_from(raw, _END.size)[0] != crc32(raw[: _END.size]):
            return 0, 0
        number, size = _END.unpack_from(raw)
        return number, size

    def note_end(self, number: int, size: int) -> None:
        """Note where the record files end."""
        raw = _END.pack(number, size)
        self._disk.write_all(self._fd, raw + _END_CHECKSUM.pack(crc32(raw)), END_AT)

    def forget_end(self) -> None:
        """Make it unknown, durably: the record files are going to be shorter."""
        self._disk.write_all(self._fd, bytes(END_SIZE), END_AT)
        self._disk.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        self._map.close()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._disk.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_map"):
            self.close()


def damaged_config(disk: Disk, folder: str, table_size: int, *, incremental: bool) -> Config | None:
    """Return the config in a file whose checksum is wrong, if the table and `.inc` bear it out; None if not."""
    with suppress(OurDBError, OSError, struct.error):
        # What nothing bears out (where the next file is begun) is as it would be for a new folder.
        _, _, keysize, mode, nr_max, *_ = _FIXED.unpack_from(disk.read_file(identity_path(folder), _SIZE_MAX))
        config = Config(record_nr_max=nr_max, incremental_mode=bool(mode), keysize=keysize)
        if config.table_size == table_size and config.incremental_mode == incremental:
            return config
    return None


def _decode(raw: bytes, path: str) -> tuple[Config, bytes]:
    if len(raw) < SIZE:
        raise UnsupportedFormat(
            f"{path} has {len(raw)} bytes, expected {SIZE}; remove it and give the config when opening"
        )
    magic, number, keysize, incremental, nr_max, size_max, file_size, identity = _FIXED.unpack_from(raw)
    if magic != MAGIC:
        raise UnsupportedFormat(f"{path} starts with {magic!r}, expected {MAGIC!r}")
    if number != FORMAT:
        raise UnsupportedFormat(f"{path} is of format {number}, this version reads format {FORMAT}")
    if _CHECKSUM.unpack_from(raw, _FIXED.size)[0] != crc32(raw[: _FIXED.size]):
        raise UnsupportedFormat(f"{path} is damaged (checksum); remove it and give the config when opening")
    return Config(nr_max, size_max, file_size, bool(incremental), keysize), identity
