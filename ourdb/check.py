"""Finding what is wrong in one state of a database: slots, histories, checksums, records that overlap, a torn tail."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ourdb.errors import CorruptRecord
from ourdb.location import split
from ourdb.progress import Progress, Work, bytes_in, records_in
from ourdb.record import HEADER_SIZE
from ourdb.snapshot import Snapshot
from ourdb.store import Store

__all__ = ["Problem", "check"]


@attrs.frozen
class Problem:
    """Something wrong on disk: in which file, at which position (bytes), for which id if one is known."""

    path: str
    position: int
    reason: str
    record_id: int | None = None

    def __str__(self) -> str:
        who = "" if self.record_id is None else f"id {self.record_id}: "
        return f"{self.path}, position {self.position}: {who}{self.reason}"


def check(then: Snapshot, progress: Progress | None = None) -> Iterator[Problem]:
    """Yield what is wrong in the state *then*: slots, histories, CRCs, records that overlap, a torn tail.

    Memory: some 100 bytes for each version of each record. Raises SnapshotOvertaken, DatabaseClosed: what looked wrong is
    a problem only if it was read of that state.
    """
    for problem in _problems(then, Work(progress, lambda: bytes_in(then.files))):
        then.confirm()
        yield problem
    then.confirm()


def _problems(then: Snapshot, work: Work) -> Iterator[Problem]:
    found: dict[int, dict[int, int]] = {}
    for record_id, location in work.over(then.items(), lambda: records_in(then)):
        yield from _check_history(then, record_id, location, found)
    for number in range(then.end[0] + 1):
        yield from _check_layout(then, number, found.get(number, {}))


def _check_history(
    then: Snapshot, record_id: int, location: int, found: dict[int, dict[int, int]]
) -> Iterator[Problem]:
    """Follow one record's versions, and note in *found* where each starts and ends: number -> position -> end."""
    store, files = then.store, then.files
    end = then.end[0] << 32 | then.end[1]
    while location:
        number, position = split(location)
        path = files.path(number)
        if position == 0 or location >= end:
            yield Problem(
                path, position, f"the location is not within the records, which end at {split(end)}", record_id
            )
            return
        if position in found.setdefault(number, {}):
            yield Problem(path, position, "the record belongs to another id too", record_id)
            return
        try:
            data, _ = store.record(location)
            previous = store.previous(location)
        except CorruptRecord as error:
            yield Problem(error.path, error.position, error.reason, record_id)
            return
        found[number][position] = position + HEADER_SIZE + len(data)
        if previous >= location:
            yield Problem(path, position, f"previous location {split(previous)} is not before the record", record_id)
            return
        location = previous


def _check_layout(then: Snapshot, number: int, found: dict[int, int]) -> Iterator[Problem]:
    files = then.files
    path = files.path(number)
    size = then.end[1] if number == then.end[0] else files.size(number)
    if not files.size(number):
        yield Problem(path, 0, "the record file is missing or empty")
        return
    last_end = 1
    for position, end in sorted(found.items()):
        if position < last_end:
            yield Problem(path, position, f"two records overlap: the one before ends at {last_end}")
        last_end = max(last_end, end)
    yield from _check_tail(then.store, number, last_end, size)


def _check_tail(store: Store, number: int, position: int, size: int) -> Iterator[Problem]:
    """Walk the records that no slot reaches behind the last that one does: each must be whole."""
    while position < size:
        location = number << 32 | position
        try:
            header = store.files.header(location)
            if header == (0, 0, 0):
                return  # a deleted record: its zeros do not tell how long it was
            store.record(location)
        except CorruptRecord as error:
            yield Problem(error.path, position, f"torn tail, {size - position} bytes: {error.reason}")
            return
        position += HEADER_SIZE + header.data_size
