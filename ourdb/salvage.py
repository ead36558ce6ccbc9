"""What damaged files still tell: which records are whole, where the slots lead, which commits the journal holds.

Reads only, and believes nothing that its checksum does not confirm.
"""

from __future__ import annotations

import bisect
import errno
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from zlib import crc32

import attrs

from ourdb.config import Config
from ourdb.disk import Disk
from ourdb.errors import OurDBError
from ourdb.folder import lookup_path
from ourdb.journal import COMMITS_AT, DELETE, OPERATION, PREFIX, Journal, JournalHeader, Operation
from ourdb.location import NONE
from ourdb.lookup import LookupTable
from ourdb.progress import Work
from ourdb.record import EMPTY_HEADER, HEADER_SIZE, Header, decode_header
from ourdb.record_files import RecordFiles

__all__ = ["JournalRemains", "Records", "commits_in", "if_there", "slots_in"]

_NO_BOOT_ID: Final = bytes(16)
_TOLD_BYTES: Final = 1 << 16
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO)


class if_there:  # noqa: N801 - used like `suppress`
    """Pass over a block that reads a file, where there is none or something else has its name.

    Other errors are raised: a file that can't be read now, for want of a descriptor or of a right, is not a lost one.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError) and error.errno in _NOT_THERE


@attrs.define
class Records:
    """The whole records of a database's files.

    previous: location -> previous location. lost: places (path, position, bytes) that hold no whole record and are not
    zeros. gaps: runs of zeros, where records were deleted.
    """

    files: RecordFiles
    claimed: set[int] = attrs.field(factory=set)
    """Locations that slots lead to: what is twelve zeros there is an empty record."""
    previous: dict[int, int] = attrs.field(factory=dict)
    lost: list[tuple[str, int, int]] = attrs.field(factory=list)
    gaps: int = 0
    _starts: list[int] = attrs.field(factory=list)

    def scan(self, claimed: set[int], work: Work) -> None:
        """Read all record files; *claimed* as above."""
        self.claimed = claimed
        for number in self.files.numbers():
            self._scan_file(number, work)
        self._starts = list(self.previous)

    def _scan_file(self, number: int, work: Work) -> None:
        """Walk one file; where no record starts, look for the next place where one does."""
        files = self.files
        size = files.size(number)
        position, lost_from, told = 1, 0, 0
        while position + HEADER_SIZE <= size:
            if position - told >= _TOLD_BYTES:
                work.add(position - told)
                told = position
            end = self._record_end(number, position, size)
            if end:
                self._note_lost(number, lost_from, position)
                lost_from = 0
                position = end
                continue
            window = files.raw(number, position, 1 << 16)
            zeros = len(window) - len(window.lstrip(b"\0"))
            if zeros >= HEADER_SIZE:
                self.gaps += not lost_from
                # A header may start with up to 12 zeros less one; step back into them to look for it.
                position += max(1, zeros - HEADER_SIZE + 1)
                continue
            lost_from = lost_from or position
            position += 1
        self._note_lost(number, lost_from or position, size)
        work.add(size - told)

    def _note_lost(self, number: int, start: int, end: int) -> None:
        if start and start < end and any(self.files.raw(number, start, end - start)):
            self.lost.append((self.files.path(number), start, end - start))

    def _record_end(self, number: int, position: int, size: int) -> int:
        """Return where the record at *position* ends, 0 if none that makes sense starts there."""
        location = number << 32 | position
        header = self._header(number, position, size)
        if header is None or not (header.data_size or self._is_empty_record(location, header, size)):
            return 0
        # A previous location that makes no sense is no reason to lose a record: its CRC tells that it is one.
        self.previous[location] = header.previous
        return position + HEADER_SIZE + header.data_size

    def _header(self, number: int, position: int, size: int) -> Header | None:
        """Return the header at *position* if a record with the right CRC follows."""
        raw = self.files.raw(number, position, HEADER_SIZE)
        if len(raw) < HEADER_SIZE:
            return None
        header = decode_header(raw)
        if position + HEADER_SIZE + header.data_size > size:
            return None
        data = self.files.data(number << 32 | position, header.data_size) if header.data_size else b""
        return header if crc32(data) == header.crc else None

    def _is_empty_record(self, location: int, header: Header, size: int) -> bool:
        """Say whether what looks like a record without data is one: mostly zeros, so that more has to speak for it."""
        is_claimed = location in self.claimed
        if header.previous not in self.previous and (header.previous or not is_claimed):
            return False
        number, position = location >> 32, location & 0xFFFFFFFF
        for step in range(1, HEADER_SIZE):
            if not is_claimed and (location + step in self.claimed or location - step in self.claimed):
                return False
            found = self._header(number, position + step, size)
            if found is not None and found.data_size:
                return False
        return True

    def is_whole(self, location: int) -> bool:
        """Say whether a whole record lies at *location*. Twelve zeros between others are an empty one from then on."""
        if location in self.previous:
            return True
        number, position = location >> 32, location & 0xFFFFFFFF
        if not position or self.files.raw(number, position, HEADER_SIZE) != EMPTY_HEADER:
            return False
        at = bisect.bisect_right(self._starts, location)
        is_clear = at == 0 or self._starts[at - 1] + HEADER_SIZE + self.data_size(self._starts[at - 1]) <= location
        if not is_clear or (at < len(self._starts) and self._starts[at] < location + HEADER_SIZE):
            return False
        self._starts.insert(at, location)
        self.previous[location] = NONE
        return True

    def data_size(self, location: int) -> int:
        """Return the bytes of data of a whole record."""
        return self.files.header(location).data_size

    def data(self, location: int) -> bytes:
        """Return the data of a whole record."""
        return self.files.data(location, self.data_size(location))


def slots_in(disk: Disk, path: str, config: Config) -> dict[int, int]:
    """Return id -> location of the slots in use, as far as there is a table."""
    slots: dict[int, int] = {}
    with if_there(), disk.opened(lookup_path(path)) as fd:
        size = min(disk.size(fd), config.table_size)
        slots.update(LookupTable.items_of(disk, fd, size, config.keysize))
    return slots


@attrs.define
class JournalRemains:
    """What a journal holds for one of its members: all commits up to the first that is damaged."""

    commits: list[tuple[int, list[Operation]]] = attrs.field(factory=list)
    """Next id, and the operations of this member."""
    sure: int = 0
    """How many commits, from the first, count whether or not their records are whole."""

    def locations(self) -> set[int]:
        """Return where the records lie that the commits name."""
        return {one.location for _, operations in self.commits for one in operations if one.kind != DELETE}

    def settled(self, records: Records) -> tuple[list[Operation], int]:
        """Return the operations of the commits that count, and the last next id (0: none)."""
        found: list[Operation] = []
        last = 0
        for at, (next_id, operations) in enumerate(self.commits):
            if at >= self.sure and not all(_is_there(records, one) for one in operations):
                break
            found += operations
            last = next_id if operations else last
        return found, last


def commits_in(disk: Disk, path: str, member: int, identity: bytes | None) -> JournalRemains:
    """Return the commits in the journal at *path* for its *member*; none if there is no journal, or it is another's.

    A commit counts if its checksum is right, or if the one behind it confirms what it holds. With another boot id than
    today's, commits behind the last checkpoint's mark count only as long as their records are whole.
    """
    found = JournalRemains()
    journal = None
    with if_there():
        journal = Journal(disk, path, read_only=True)
    if journal is None:
        return found
    try:
        with suppress(OurDBError):
            journal.read_header()
        header = journal.header
        if header is not None and identity is not None and not _is_member(header, member, identity):
            return found
        is_same_boot = header is not None and header.boot_id == disk.boot_id() != _NO_BOOT_ID
        for next_ids, operations in _walk(journal, header):
            found.commits.append((next_ids[member], [one for one in operations if one.member == member]))
            if is_same_boot or not operations:
                found.sure = len(found.commits)
    finally:
        journal.close()
    return found


def _is_member(header: JournalHeader, member: int, identity: bytes) -> bool:
    return member < len(header.members) and header.members[member].identity == identity


def _is_there(records: Records, operation: Operation) -> bool:
    return operation.kind == DELETE or operation.location == NONE or records.is_whole(operation.location)


def _walk(journal: Journal, header: JournalHeader | None) -> Iterator[tuple[tuple[int, int], list[Operation]]]:
    """Yield (next ids, operations) of the commits in order, up to the first that nothing confirms."""
    chain = None if header is None else header.seed
    at, number = COMMITS_AT, 1
    while (raw := journal.candidate(at, number)) is not None:
        crc = int.from_bytes(raw[:4], "little")
        is_right = chain is not None and crc32(raw[4:], chain) == crc
        if not is_right:
            # Its own checksum may be what is damaged, or, of the first, the header that the chain starts from.
            follower = journal.candidate(at + len(raw), number + 1)
            computed = crc if chain is None and number == 1 else crc32(raw[4:], chain or 0)
            if follower is None or crc32(follower[4:], computed) != int.from_bytes(follower[:4], "little"):
                if number > 1 or not journal.has_damaged_slot or header is None:
                    return
                header, chain = None, None  # the newer header is the damaged one
                continue
            crc = computed
        prefix = PREFIX.unpack_from(raw)
        end = PREFIX.size + prefix[2] * OPERATION.size
        yield prefix[5:7], [Operation._make(one) for one in OPERATION.iter_unpack(raw[PREFIX.size : end])]
        at, number, chain = at + len(raw), number + 1, crc
