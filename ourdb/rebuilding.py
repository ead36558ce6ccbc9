"""Rebuilding a database whose files are lost or damaged, from what is left of them.

A record does not hold its id. What can be known: which records are whole (CRC), and to which of them an id leads: by the
old table's slots, by the commits in a journal that was left, or because the value holds it (the caller passes a
function). What can't: whether a slot was changed to another whole record's location. In incremental mode, if no slot
and no commit is left, records get ids in the order of their first versions: with nothing ever deleted, those they had.

Two databases that commit together have one journal, so both are rebuilt at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Final

import attrs

from ourdb.compaction import finish_compaction
from ourdb.config import Config
from ourdb.disk import DISK, Disk
from ourdb.errors import CorruptRecord, DatabaseLocked, OurDBError, UnsupportedFormat
from ourdb.folder import agreed, config_of_table, lookup_path, refuse_another_table
from ourdb.identity import Identity, damaged_config, identity_path
from ourdb.joining import pointer_path, read_pointer
from ourdb.journal import DELETE, Operation, journal_path
from ourdb.location import split
from ourdb.lookup import write_full
from ourdb.progress import Progress, Work, bytes_in
from ourdb.record import EMPTY_HEADER, HEADER_SIZE
from ourdb.record_files import RecordFiles
from ourdb.salvage import JournalRemains, Records, commits_in, if_there, slots_in

__all__ = ["Report", "rebuild"]

_PREVIOUS_AT: Final = 6
_NO_PREVIOUS: Final = bytes(6)
_COPY_BYTES: Final = 1 << 20

IdOf = Callable[[bytes], int | None]


@attrs.frozen
class Report:
    """What a rebuild found and could not know.

    records: ids in the new table. versions: whole records found. guessed_ids: ids given by order alone. lost: places
    (path, position, bytes) that hold no whole record and are not zeros. gaps: runs of zeros, where records were deleted.
    duplicate_ids: ids that claimed a record or its history, or that several records claimed; one of them won. lost_ids: ids whose
    record is not whole any more. unreached: whole records that are of no id in the new table: older versions of deleted ones, or
    what has an id that could not be known. shortened_ids: ids whose history ends early, as an older version is not whole or another's.
    """

    records: int
    versions: int
    guessed_ids: list[int]
    lost: list[tuple[str, int, int]]
    gaps: int
    duplicate_ids: list[int]
    lost_ids: list[int] = attrs.field(factory=list)
    unreached: int = 0
    shortened_ids: list[int] = attrs.field(factory=list)

    @property
    def is_certain(self) -> bool:
        """Say whether nothing was lost or guessed."""
        return not (self.guessed_ids or self.lost or self.duplicate_ids or self.lost_ids or self.shortened_ids)


@attrs.define
class _Plan:
    """What is to become of one database: nothing is written before the plans of all are made."""

    path: str
    config: Config
    identity: bytes | None
    claims: dict[int, int]
    """id -> location, as the old table says, and then the commits."""
    records: Records
    slots: dict[int, int] = attrs.field(factory=dict)
    next_id: int = 1
    guessed: list[int] = attrs.field(factory=list)
    duplicates: list[int] = attrs.field(factory=list)
    lost_ids: list[int] = attrs.field(factory=list)
    shortened: list[int] = attrs.field(factory=list)
    cuts: list[int] = attrs.field(factory=list)
    """Locations of records whose previous location leads nowhere, or into another id's history."""
    reached: set[int] = attrs.field(factory=set)

    def table_bytes(self) -> int:
        return len(self.claims) * self.config.keysize

    def report(self) -> Report:
        return Report(
            len(self.slots), len(self.records.previous), self.guessed, self.records.lost, self.records.gaps,
            self.duplicates, self.lost_ids, len(self.records.previous.keys() - self.reached), self.shortened,
        )  # fmt: skip


def rebuild(
    path: str,
    given: dict[str, Any],
    id_of: IdOf | None = None,
    progress: Progress | None = None,
    *,
    disk: Disk = DISK,
) -> Report:
    """Make a new table for the record files in folder *path*, which must not be open elsewhere.

    *given* is the config as far as it is known; *id_of* returns the id that a value holds, or None. The old `lookup/` is
    kept as `lookup.old`, and with it what in the record files is no record, which becomes zeros. Raises DatabaseLocked,
    UnsupportedFormat (no record files), OurDBError (the config can't be known); then nothing has changed, but that a
    compaction that was not finished is.
    """
    folders = _folders(disk, path)
    with ExitStack() as stack:
        plans = []
        for folder in folders:
            stack.callback(disk.close, _lock(disk, folder))
            _refuse_folder(journal_path(folder))
            _take_back_switch(disk, folder)
            # Else old files would be taken for new ones, and what remains of the switch replace what is mended.
            finish_compaction(disk, folder)
            files = RecordFiles(disk, folder, read_only=False)
            stack.callback(files.close)
            plans.append(_begin(disk, files, given if folder is path else {}))
        work = Work(progress, lambda: sum(bytes_in(plan.records.files) + plan.table_bytes() for plan in plans))
        for member, plan in enumerate(plans):
            commits = commits_in(disk, journal_path(folders[0]), member, plan.identity)
            _make_plan(plan, commits, id_of if plan.path is path else None, work)
        for plan in plans:
            _write_table(disk, plan)
        for plan in plans:
            for name in (journal_path(plan.path), pointer_path(plan.path)):
                with suppress(FileNotFoundError):
                    disk.unlink(name)
            disk.sync_folder(plan.path)
        for plan in plans:
            _mend_files(disk, plan)
        return next(plan.report() for plan in plans if plan.path is path)


def _refuse_folder(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        raise IsADirectoryError(errno.EISDIR, "a folder has the name of the database's own file; move it away", path)


def _lock(disk: Disk, path: str) -> int:
    try:
        return disk.lock(path, 0.0)
    except DatabaseLocked:
        raise DatabaseLocked(f"{path} is open in another process; close it before repair") from None


def _folders(disk: Disk, path: str) -> list[str]:
    """Return the folders of the databases that commit together with *path*, the one with the journal first."""
    try:
        pointer = read_pointer(disk, path)
    except CorruptRecord as error:
        raise OurDBError(
            f"{error}; it led to the database that this one commits together with: repair that one, which mends both, or "
            "remove the file if there is none"
        ) from None
    if pointer is None:
        return [path]
    if not os.path.isdir(pointer.folder):
        raise OurDBError(
            f"{path} was joined with {pointer.folder}, which is missing; put both folders back where they were, relative "
            f"to each other, or remove {pointer_path(path)} to repair without it"
        )
    return [pointer.folder, path] if pointer.has_journal else [path, pointer.folder]


def _begin(disk: Disk, files: RecordFiles, given: dict[str, Any]) -> _Plan:
    numbers = files.numbers()
    if not numbers:
        raise UnsupportedFormat(f"{files.folder} holds no record files; there is nothing to repair")
    config, identity = _config(disk, files.folder, given, len(numbers))
    return _Plan(files.folder, config, identity, slots_in(disk, files.folder, config), Records(files))


def _make_plan(plan: _Plan, commits: JournalRemains, id_of: IdOf | None, work: Work) -> None:
    claims, config, table_bytes = plan.claims, plan.config, plan.table_bytes()
    plan.records.scan(commits.locations() | set(claims.values()), work)
    operations, next_id = commits.settled(plan.records)
    dead = _lay_over(claims, operations, config)
    _keep_whole(plan, work.over(sorted(claims.items()), lambda: len(claims), table_bytes), id_of)
    heads = _heads(plan.records, dead | set(plan.slots.values()))
    if id_of is not None:
        _add_by_value(plan, heads, id_of)
    elif not claims and config.incremental_mode:
        _add_by_order(plan, heads)
    _follow_histories(plan)
    plan.next_id = min(max(next_id, max(plan.slots, default=0) + 1), config.record_nr_max)


def _config(disk: Disk, path: str, given: dict[str, Any], file_count: int) -> tuple[Config, bytes | None]:
    """Return the config, and the identity if that is still known. Raises OurDBError (*given* contradicts it)."""
    identity = None
    with suppress(OurDBError), if_there():
        identity = Identity(disk, path, read_only=True)
        identity.close()
    if identity is not None:
        otherwise = f"leave it out, or, if {identity_path(path)} is not this database's, remove that"
        return agreed(identity.config, given, path, otherwise), identity.identity
    if disk.exists(lookup_path(path)) and not {"record_nr_max", "record_size_max", "keysize"} & given.keys():
        try:
            borne_out = _borne_out(disk, path)
            config = attrs.evolve(borne_out, **given) if borne_out else config_of_table(disk, path, given)
        except (OurDBError, OSError) as error:
            raise OurDBError(f"{path}: lookup/.ourdb is lost or damaged; give the config to repair ({error})") from None
    else:
        config = Config(**given)
        with if_there():
            refuse_another_table(disk, path, config)
    if config.keysize < 6 and file_count > 1:
        raise OurDBError(
            f"{path} has {file_count} record files, a key size of {config.keysize} can address one; give the config"
        )
    return config, None


def _borne_out(disk: Disk, path: str) -> Config | None:
    with if_there(), disk.opened(lookup_path(path)) as fd:
        is_incremental = disk.exists(os.path.join(path, "lookup", ".inc"))
        return damaged_config(disk, path, disk.size(fd), incremental=is_incremental)
    return None


def _lay_over(claims: dict[int, int], operations: list[Operation], config: Config) -> set[int]:
    """Lay the journal's commits over *claims* (id -> location), and return the locations of records that were deleted."""
    dead: set[int] = set()
    for operation in operations:
        if operation.record_id >= config.record_nr_max or operation.location >> 8 * config.keysize:
            continue
        if operation.kind == DELETE:
            dead.add(operation.location)
        if operation.kind == DELETE or not operation.location:
            claims.pop(operation.record_id, None)
        else:
            claims[operation.record_id] = operation.location
    return dead


def _keep_whole(plan: _Plan, claims: Iterable[tuple[int, int]], id_of: IdOf | None) -> None:
    owner: dict[int, int] = {}
    for record_id, location in claims:
        if not plan.records.is_whole(location):
            plan.lost_ids.append(record_id)
            continue
        value_id = None if id_of is None else id_of(plan.records.data(location))
        if value_id is not None and value_id != record_id:
            plan.lost_ids.append(record_id)
        elif location in owner:
            plan.duplicates += [owner[location], record_id]
        else:
            owner[location] = record_id
            plan.slots[record_id] = location


def _heads(records: Records, without: set[int]) -> list[int]:
    """Return the newest records of each history, ascending."""
    older = set(records.previous.values()) | without
    return sorted(location for location in records.previous if location not in older)


def _add_by_value(plan: _Plan, heads: list[int], id_of: IdOf) -> None:
    known = set(plan.slots)
    for head in heads:
        record_id = id_of(plan.records.data(head))
        if record_id is None or not 0 <= record_id < plan.config.record_nr_max or record_id in known:
            continue
        if record_id in plan.slots:
            plan.duplicates.append(record_id)
        plan.slots[record_id] = head


def _add_by_order(plan: _Plan, heads: list[int]) -> None:
    previous = plan.records.previous

    def root(location: int) -> int:
        while 0 < (older := previous.get(location, 0)) < location:
            location = older
        return location

    for record_id, (_, head) in enumerate(sorted((root(head), head) for head in heads), 1):
        if record_id < plan.config.record_nr_max:
            plan.slots[record_id] = head
            plan.guessed.append(record_id)


def _follow_histories(plan: _Plan) -> None:
    """Note which records are reached, and where a history has to end."""
    records = plan.records
    owner = {location: record_id for record_id, location in plan.slots.items()}
    for record_id, head in plan.slots.items():
        location = head
        while older := records.previous.get(location, 0):
            if owner.get(older, record_id) != record_id:
                plan.duplicates += [owner[older], record_id]
            if older >= location or older in owner or not records.is_whole(older):
                plan.cuts.append(location)
                plan.shortened.append(record_id)
                break
            owner[older] = record_id
            location = older
    plan.reached |= owner.keys()


def _tables(path: str) -> tuple[str, str, str]:
    lookup = os.path.join(path, "lookup")
    return lookup, lookup + ".new", lookup + ".old"


def _take_back_switch(disk: Disk, path: str) -> None:
    """Put the old table back where a repair was killed between its two renames: the only one that a journal goes with."""
    lookup, fresh, old = _tables(path)
    if not disk.exists(lookup) and disk.exists(fresh) and disk.exists(old):
        disk.replace(old, lookup)
        disk.sync_folder(path)


def _write_table(disk: Disk, plan: _Plan) -> None:
    lookup, fresh, old = _tables(plan.path)
    config = plan.config
    # In this order, and durably: an old table beside a new one is of this repair, and no earlier one's.
    disk.remove_tree(fresh)
    disk.sync_folder(plan.path)
    disk.remove_tree(old)
    disk.sync_folder(plan.path)
    try:
        disk.makedirs(fresh)
        if config.incremental_mode:
            disk.replace_file(os.path.join(fresh, ".inc"), str(plan.next_id).encode(), sync=True)
        write_full(disk, os.path.join(fresh, "data"), config.keysize, config.record_nr_max, sorted(plan.slots.items()))
        disk.replace_file(os.path.join(fresh, ".ourdb"), Identity.encode(config), sync=True)
    except BaseException:
        with suppress(OSError):  # why it failed is what the caller needs to hear
            disk.remove_tree(fresh)
        raise
    with suppress(FileNotFoundError):
        disk.replace(lookup, old)
    disk.replace(fresh, lookup)
    disk.sync_folder(plan.path)


def _mend_files(disk: Disk, plan: _Plan) -> None:
    """End the histories that lead astray, and make zeros of what is no record: `check` takes that for deleted ones."""
    files = plan.records.files
    for path, start, size in plan.records.lost:
        number = int(os.path.basename(path).removesuffix(".db"))
        _keep_lost(disk, plan, number, start, start + size)
        files.zero(number << 32 | start, size)
    for location in plan.cuts:
        file_number, position = split(location)
        files.write(file_number, position + _PREVIOUS_AT, _NO_PREVIOUS)
    last: dict[int, int] = {}
    for location in plan.reached:
        if location > last.get(location >> 32, 0):
            last[location >> 32] = location
    for number in range(files.numbers()[-1] + 1):
        size = files.size(number)
        if not size:
            files.write(number, 0, b"\0")
            continue
        end = _sound_end(plan.records, number, _end(plan.records, last[number]) if number in last else 1, size)
        if end < size:
            files.cut(number, end)
    files.find_end()
    files.sync()


def _sound_end(records: Records, number: int, end: int, size: int) -> int:
    """Return up to where a file is what `check` calls sound: records, or a deleted one's zeros, behind the last that counts.

    That one ends at *end*.
    """
    while end < size:
        if records.files.raw(number, end, HEADER_SIZE) == EMPTY_HEADER:
            return size
        location = number << 32 | end
        if location not in records.previous:
            return end
        end = _end(records, location)
    return end


def _end(records: Records, location: int) -> int:
    return (location & 0xFFFFFFFF) + HEADER_SIZE + records.data_size(location)


def _keep_lost(disk: Disk, plan: _Plan, number: int, start: int, end: int) -> None:
    """Copy what is no record to `lookup.old`."""
    old = os.path.join(plan.path, "lookup.old")
    disk.makedirs(old)
    fd = disk.open(os.path.join(old, f"{number}.db.{start}"), create=True)
    try:
        for at, part in _parts(plan.records.files, number, start, end):
            disk.write_all(fd, part, at - start)
        disk.fsync(fd)
    finally:
        disk.close(fd)
    disk.sync_folder(old)


def _parts(files: RecordFiles, number: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for at in range(start, end, _COPY_BYTES):
        yield at, files.raw(number, at, min(_COPY_BYTES, end - at))
