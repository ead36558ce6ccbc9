"""The journal: the truth of what was committed since the last checkpoint. Bytes and one file; no policy.

The file `journal` starts with two header slots at 0 and 4096, written in turn; the valid one of the higher generation
counts. Commits follow from 8192. Restarting it means to write the other slot: nothing is truncated, since a truncation
may come undone in a power cut. Commits of an older generation can't be taken for new ones, because each commit's CRC
starts from the CRC of the commit before, and the first one's from the generation and a random salt.

Header slot (little endian):

======  ====  ==============================================================
offset  size  field
======  ====  ==============================================================
0       8     magic ``OurDBjnl``
8       2     format number, 1
10      1     members: databases that commit together, 1 or 2
11      1     flags: 1 = written with ``synchronous="off"``
12      4     salt
16      8     generation
24      16    boot id
40      2*40  per member: identity 16, end file u32, 4 zero bytes, end position u64, next id u64
120     4     CRC-32 of the bytes before
======  ====  ==============================================================

Commit:

======  ====  ==============================================================
offset  size  field
======  ====  ==============================================================
0       4     CRC-32 of the bytes behind this field, started from the CRC before
4       4     size of the commit in bytes
8       4     count of operations; 0 marks a checkpoint
12      4     salt of the generation
16      8     consecutive number within the generation, from 1
24      2*8   next id of each member
40      28*n  operations, then the data of the inlined ones, in their order
======  ====  ==============================================================

Operation: kind u8, member u8, data size u16, id u32, CRC-32 of the data u32, location u64, previous location u64. Kinds:
1 set; 2 delete (the location is that of the record that goes); 3 set with the data inlined; 4 point (the slot gets the
location of a record that is there already, or 0: a table was imported).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

from ourdb.disk import Disk
from ourdb.errors import UnsupportedFormat

__all__ = [
    "COMMITS_AT",
    "DELETE",
    "HEADER",
    "INLINED",
    "OPERATION",
    "POINT",
    "PREFIX",
    "SET",
    "Commit",
    "Journal",
    "JournalHeader",
    "Member",
    "Operation",
    "journal_path",
]

MAGIC: Final = b"OurDBjnl"
FORMAT: Final = 1
UNSYNCED: Final = 1

HEADER: Final = struct.Struct("<8sHBBIQ16s")
MEMBER: Final = struct.Struct("<16sI4xQQ")
MEMBERS_MAX: Final = 2
CHECKSUM: Final = struct.Struct("<I")
SLOT_SIZE: Final = HEADER.size + MEMBERS_MAX * MEMBER.size + CHECKSUM.size
assert SLOT_SIZE == 124, "docs/format.md says 124"
SLOT_SPACING: Final = 4096
COMMITS_AT: Final = 2 * SLOT_SPACING

PREFIX: Final = struct.Struct("<IIIIQQQ")
_pack_head: Final = struct.Struct("<IIIQQQ").pack
"""The prefix behind its CRC."""
OPERATION: Final = struct.Struct("<BBHIIQQ")
assert (PREFIX.size, OPERATION.size) == (40, 28), "docs/format.md says 40 and 28"

SET: Final = 1
DELETE: Final = 2
INLINED: Final = 3
POINT: Final = 4

RESERVE: Final = 64 << 10
_GROWTH: Final = 1 << 20

_SALT_AT: Final = 12
_JOINED_MAX: Final = 4096
_LOOK_AHEAD: Final = 1 << 20
_LOOKS: Final = 64


def journal_path(folder: str) -> str:
    """Return the path of the journal of the database in *folder*."""
    return os.path.join(folder, "journal")


class Member(NamedTuple):
    """One database's state when a generation began."""

    identity: bytes
    end_file: int
    end_position: int
    next_id: int


class JournalHeader(NamedTuple):
    """A header slot, decoded."""

    generation: int
    salt: int
    boot_id: bytes
    unsynced: bool
    members: tuple[Member, ...]

    @property
    def seed(self) -> int:
        """The CRC that the generation's first commit starts from."""
        return crc32(struct.pack("<QI", self.generation, self.salt))

    def encode(self) -> bytes:
        """Return the slot's bytes."""
        flags = UNSYNCED if self.unsynced else 0
        raw = HEADER.pack(MAGIC, FORMAT, len(self.members), flags, self.salt, self.generation, self.boot_id)
        for member in self.members:
            raw += MEMBER.pack(*member)
        raw = raw.ljust(SLOT_SIZE - CHECKSUM.size, b"\0")
        return raw + CHECKSUM.pack(crc32(raw))

    @classmethod
    def decode(cls, raw: bytes, path: str) -> JournalHeader | None:
        """Return the header in *raw*, None if it is torn or was never written."""
        if len(raw) < SLOT_SIZE or CHECKSUM.unpack_from(raw, SLOT_SIZE - 4)[0] != crc32(raw[: SLOT_SIZE - 4]):
            return None
        magic, number, member_count, flags, salt, generation, boot = HEADER.unpack_from(raw)
        if magic != MAGIC or number != FORMAT or not 1 <= member_count <= MEMBERS_MAX:
            raise UnsupportedFormat(f"{path}: journal of format {number}, this version reads format {FORMAT}")
        members = (Member(*MEMBER.unpack_from(raw, HEADER.size + i * MEMBER.size)) for i in range(member_count))
        return cls(generation, salt, boot, bool(flags & UNSYNCED), tuple(members))


class Operation(NamedTuple):
    """One record's part in a commit."""

    kind: int
    member: int
    data_size: int
    record_id: int
    crc: int
    location: int
    previous: int


class Commit(NamedTuple):
    """A commit as it stands in the journal; no operations: a checkpoint's mark. *inlined* is their data, in order."""

    end: int
    crc: int
    next_ids: tuple[int, int]
    operations: list[Operation]
    inlined: list[bytes]


class Journal:
    """The open journal: where the next commit goes, and the CRC that it is chained to.

    end: position of the next commit. chain: CRC of the last one. number: its consecutive number. salt: the generation's.
    """

    def __init__(self, disk: Disk, path: str, *, create: bool = False, read_only: bool = False) -> None:
        self.disk = disk
        self.path = path
        self.fd = disk.open(path, create=create, read_only=read_only)
        self._is_zeroed_ahead = False
        self._is_header_in_doubt = False
        self.allocated = disk.size(self.fd)
        self.header: JournalHeader | None = None
        self.has_damaged_slot = False
        self.end = COMMITS_AT
        self.chain = 0
        self.number = 0
        self.salt = 0

    def read_header(self) -> JournalHeader | None:
        """Find the header that counts; None if none was ever written whole."""
        slots = [self.disk.read_all(self.fd, SLOT_SIZE, at) for at in (0, SLOT_SPACING)]
        headers = [header for header in (JournalHeader.decode(raw, self.path) for raw in slots) if header]
        self.has_damaged_slot = len(headers) < sum(any(raw) for raw in slots)
        self.header = max(headers, key=lambda header: header.generation, default=None)
        if self.header is not None:
            self.salt = self.header.salt
            self.restart_at(COMMITS_AT, self.header.seed, 0)
        return self.header

    def first_bytes(self, size: int) -> bytes:
        """Return the first *size* bytes of the commits' part."""
        return self.disk.read_all(self.fd, size, COMMITS_AT)

    def restart_at(self, end: int, chain: int, number: int) -> None:
        """Take *end* as the place of the next commit, chained to *chain*."""
        self.end, self.chain, self.number = end, chain, number

    def begin(self, header: JournalHeader, *, sync: bool) -> None:
        """Begin a generation; with it all commits before are forgotten."""
        if self._is_header_in_doubt:
            self.sync()  # the other slot may not be on disk: were this one torn, no header would be left
        self.disk.write_all(self.fd, header.encode(), header.generation % 2 * SLOT_SPACING)
        self._is_header_in_doubt = True
        if sync:
            self.sync()
        self.header = header
        self.salt = header.salt
        self.restart_at(COMMITS_AT, header.seed, 0)

    def append(
        self,
        operations: bytes | bytearray,
        next_ids: tuple[int, int],
        inlined: bytes = b"",
        *,
        may_use_reserve: bool = False,
    ) -> None:
        """Write a commit behind the last one; on failure nothing is committed. Without *operations* it is a checkpoint's mark.

        A reserve of 64 KiB is kept for commits that only delete, so that a full disk can be left that way.
        """
        size = PREFIX.size + len(operations) + len(inlined)
        if self.end + size + 2 * RESERVE > self.allocated:
            self._grow(self.end + size + 2 * RESERVE, may_use_reserve=may_use_reserve)
        count = len(operations) // OPERATION.size
        head = _pack_head(size, count, self.salt, self.number + 1, *next_ids)
        if size <= _JOINED_MAX:
            body = b"".join((head, operations, inlined))
            crc = crc32(body, self.chain)
            self.disk.write_all(self.fd, crc.to_bytes(4, "little") + body, self.end)
        else:  # in parts: it would be in memory twice
            crc = crc32(inlined, crc32(operations, crc32(head, self.chain)))
            self.disk.write_parts(self.fd, (crc.to_bytes(4, "little"), head, operations, inlined), size, self.end)
        self.end += size
        self.chain = crc
        self.number += 1

    def _grow(self, needed: int, *, may_use_reserve: bool) -> None:
        target = -(-needed // _GROWTH) * _GROWTH
        try:
            self.disk.allocate(self.fd, self.allocated, target - self.allocated)
        except OSError:
            if not may_use_reserve or needed - 2 * RESERVE > self.allocated:
                raise
            return
        if self._is_zeroed_ahead:
            self.disk.write_zeros(self.fd, self.allocated, target - self.allocated)
        self.allocated = target

    def reserve(self) -> None:
        """Preallocate room for the first commits."""
        needed = COMMITS_AT + 2 * RESERVE
        if needed > self.allocated:
            self._grow(needed, may_use_reserve=False)

    def zero_ahead(self) -> None:
        """Write the preallocated space once, now and when it grows: a later fdatasync has no block mapping to record."""
        self._is_zeroed_ahead = True
        self.disk.write_zeros(self.fd, self.end, self.allocated - self.end)

    def sync(self) -> None:
        """Make the commits so far durable."""
        self.disk.fdatasync(self.fd)
        self._is_header_in_doubt = False

    def commits(self, start: int = COMMITS_AT, chain: int | None = None, number: int = 0) -> Iterator[Commit]:
        """Yield the commits of this generation from *start*, up to the first that isn't whole or isn't of it."""
        assert self.header is not None
        chain = self.header.seed if chain is None else chain
        file_size = self.disk.size(self.fd)
        while start + PREFIX.size <= file_size:
            prefix = self.disk.read_all(self.fd, PREFIX.size, start)
            crc, size, count, _, found_number, *next_ids = PREFIX.unpack(prefix)
            operations_end = PREFIX.size + count * OPERATION.size
            if not operations_end <= size <= file_size - start or found_number != number + 1:
                return
            body = prefix[4:] + self.disk.read_all(self.fd, size - PREFIX.size, start + PREFIX.size)
            if crc32(body, chain) != crc:
                return
            operations = [
                Operation._make(raw) for raw in OPERATION.iter_unpack(body[PREFIX.size - 4 : operations_end - 4])
            ]
            inlined = _split(body[operations_end - 4 :], operations)
            if inlined is None:
                return
            start, chain, number = start + size, crc, number + 1
            yield Commit(start, crc, (next_ids[0], next_ids[1]), operations, inlined)

    def candidate(self, at: int, number: int) -> bytes | None:
        """Return the bytes of what may be commit *number* at position *at*, its checksum not looked at; None if it can't be."""
        file_size = self.disk.size(self.fd)
        prefix = self.disk.read_all(self.fd, PREFIX.size, at)
        if len(prefix) < PREFIX.size:
            return None
        _, size, count, _, found_number, *_ = PREFIX.unpack(prefix)
        if found_number != number or not PREFIX.size + count * OPERATION.size <= size <= file_size - at:
            return None
        return prefix + self.disk.read_all(self.fd, size - PREFIX.size, at + PREFIX.size)

    def is_damaged_at_end(self) -> bool:
        """Say whether what lies behind the last whole commit is a damaged one, since one of this generation follows it.

        A commit that was torn by a kill is the last one; those of older generations have another salt.
        """
        salt = self.salt
        raw = self.disk.read_all(self.fd, _LOOK_AHEAD, self.end)
        broken = self.candidate(self.end, self.number + 1)
        chains = {int.from_bytes(raw[:4], "little"), crc32(broken[4:], self.chain) if broken else 0}
        at = 0
        for _ in range(_LOOKS if salt else 0):
            at = raw.find(salt.to_bytes(4, "little"), at + 1)
            if at < 0:
                return False
            follower = self.candidate(self.end + at - _SALT_AT, self.number + 2) if at > _SALT_AT else None
            if follower and any(
                crc32(follower[4:], chain) == int.from_bytes(follower[:4], "little") for chain in chains
            ):
                # A reader beside a writer may have come too early for the one, and in time for the other.
                return next(self.commits(self.end, self.chain, self.number), None) is None
        return False

    def close(self) -> None:
        """Close the file."""
        self.disk.close(self.fd)


def _split(raw: bytes, operations: list[Operation]) -> list[bytes] | None:
    parts, at = [], 0
    for operation in operations:
        if operation.kind == INLINED:
            parts.append(raw[at : at + operation.data_size])
            at += operation.data_size
    return parts if at == len(raw) else None
