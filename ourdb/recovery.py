"""Opening after a crash: the journal's commits are brought back, and what was not committed is cut off.

Replay goes through the commits of the journal's generation in order, and stops at the first that isn't whole. Commits
before a checkpoint's mark are taken as they are: their records are durable, and deleted ones may be zeros already. For
those after it the records are looked at: size and CRC, or, within the same boot of the machine, size only, since a
killed process leaves the system's cache intact. Where a record is missing, replay stops: what came before is a prefix
of the commits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final
from zlib import crc32

from ourdb.checkpoints import JournaledStores
from ourdb.config import RECORD_DATA_MAX
from ourdb.disk import Disk
from ourdb.errors import CorruptRecord, OurDBError
from ourdb.identity import Identity, identity_path
from ourdb.joining import Pointer, pointer_path, read_pointer
from ourdb.journal import (
    DELETE,
    INLINED,
    POINT,
    PREFIX,
    SET,
    Commit,
    Journal,
    JournalHeader,
    Member,
    Operation,
    journal_path,
)
from ourdb.record import HEADER_SIZE
from ourdb.record_files import FILE_COUNT_MAX, POSITION_MAX
from ourdb.store import Inlined, Store

__all__ = ["members_of", "recover", "replay"]

_NO_BOOT_ID: Final = bytes(16)
_GUARD_MAX: Final = 64 << 20


def recover(disk: Disk, store: Store, open_partner: Callable[[Pointer], Store]) -> None:
    """Leave the database of *store*, and one it was joined with, as after a clean close.

    *open_partner* opens and locks the database that a pointer names, and returns it.
    """
    pointer = read_pointer(disk, store.folder)
    folder = pointer.folder if pointer is not None and pointer.has_journal else store.folder
    if pointer is not None:
        _check_partner(disk, store, pointer)
    if pointer is None and not disk.exists(journal_path(folder)):
        _guard_end(store)
    elif disk.exists(journal_path(folder)):
        if pointer is None:
            _recover_group(disk, [store], store)
        else:
            partner = open_partner(pointer)
            try:
                _recover_group(disk, [partner, store] if pointer.has_journal else [store, partner], store)
            finally:
                partner.close()
    if pointer is not None:
        with suppress(FileNotFoundError):
            disk.unlink(pointer_path(store.folder))
        disk.sync_folder(store.folder)


def _guard_end(store: Store) -> None:
    """Put bytes that are no record where the last record file was cut since the last clean close.

    Else new records would take the places of those lost, and be found under their ids; zeros would be empty records.
    Raises CorruptRecord if much is gone: then nothing is written.
    """
    number, size = store.identity.end
    found = store.files.size(number)
    if number < store.files.end_file or found >= size:
        return
    if size - found > _GUARD_MAX or number >= FILE_COUNT_MAX:
        raise CorruptRecord(
            store.files.path(number),
            found,
            f"the file has {found} bytes, and had {size} when the database was closed; read_only=True reads what is "
            "left, `python -m ourdb repair` keeps what is whole",
        )
    if not found:
        store.files.write(number, 0, b"\0")
    start = max(1, found)
    store.files.write(number, start, b"\xff" * (size - start))
    store.files.sync()
    store.files.find_end()


def _check_partner(disk: Disk, store: Store, pointer: Pointer) -> None:
    """Refuse to go on without the database that this one commits together with."""
    if not disk.exists(identity_path(pointer.folder)):
        raise OurDBError(
            f"{store.folder} was joined with {pointer.folder}, which is missing; put both folders back where they were, "
            "relative to each other"
        )
    identity = Identity(disk, pointer.folder, read_only=True)
    identity.close()
    if identity.identity != pointer.identity:
        raise OurDBError(
            f"{store.folder} was joined with another database than the one that is now in {pointer.folder}"
        )


def _recover_group(disk: Disk, stores: list[Store], asked_for: Store) -> None:
    journal = Journal(disk, journal_path(stores[0].folder))
    try:
        header = journal.read_header()
        if header is not None and len(header.members) == 1 and asked_for is not stores[0]:
            journal.close()  # a pointer was made, but the two did not commit together yet
            return
        members = members_of(header, stores)
        if header is not None and None in members:
            raise OurDBError(
                f"{journal.path} has commits over two databases, and the other one is missing; "
                "put both folders back where they were, relative to each other"
            )
        replay(journal, members, restore=True)
    except BaseException:
        journal.close()
        raise
    recovered = JournaledStores(disk, [member for member in members if member is not None] or stores[:1], "normal")
    recovered.journal = journal
    try:
        recovered.end()
    except OurDBError as error:
        # Nothing is in doubt that the next open would not look at again: the caller hears what the system said.
        raise error.__cause__ or error from None


def members_of(header: JournalHeader | None, stores: list[Store]) -> list[Store | None]:
    """Return the store of each member of a journal, None where it is not among *stores*."""
    by_identity = {store.identity.identity: store for store in stores}
    return [by_identity.get(member.identity) for member in header.members] if header else []


def replay(journal: Journal, stores: list[Store | None], *, restore: bool) -> dict[Store, Inlined]:
    """Bring *stores*, which are as the last checkpoint left them, to the journal's last commit.

    A member whose store is None is passed over. With *restore* inlined records are written to their places, else they
    are returned, and the disk is not touched. Raises CorruptRecord for a damaged journal, OurDBError where only
    `repair` may go on.
    """
    header = journal.header
    inlined: dict[Store, Inlined] = {store: {} for store in stores if store is not None}
    if header is None:
        _refuse_lost_header(journal)
        return inlined
    boot = journal.disk.boot_id()
    same_boot = header.boot_id == boot != _NO_BOOT_ID
    if header.unsynced and not same_boot:
        raise OurDBError(
            f'{journal.path}: written with synchronous="off" before the machine started anew, so what of it reached the '
            "disk is unknown; `python -m ourdb repair` keeps what is whole"
        )
    mark_end, count = 0, 0
    for count, commit in enumerate(journal.commits(), 1):  # noqa: B007 - counted
        mark_end = mark_end if commit.operations else commit.end
    if journal.has_damaged_slot and not count and any(journal.first_bytes(PREFIX.size)):
        # A newer generation's first commit lies over an older one's: with none that fits, the damaged header is the newer.
        raise CorruptRecord(
            journal.path, 0, "a journal header is damaged; `python -m ourdb repair` keeps what is whole"
        )
    _start(header, stores, restore=restore)
    for number, commit in enumerate(journal.commits(), 1):
        is_marked = commit.end <= mark_end
        if not is_marked and not _is_whole(commit, stores, same_boot=same_boot):
            if same_boot and restore:
                raise _shorter(stores, commit)
            if not same_boot:
                break
        _check_range(journal, commit, stores)
        _apply(commit, stores, inlined, restore=restore, is_marked=is_marked)
        journal.restart_at(commit.end, commit.crc, number)
    else:
        if same_boot and journal.is_damaged_at_end():
            raise CorruptRecord(
                journal.path,
                journal.end,
                "a commit is damaged, and others follow it; `python -m ourdb repair` keeps those before it",
            )
    return inlined


def _check_range(journal: Journal, commit: Commit, stores: list[Store | None]) -> None:
    """Refuse operations that can't be of these databases: their checksum may be right, and the journal made to harm."""
    for operation in commit.operations:
        store = stores[operation.member] if operation.member < len(stores) else None
        if store is not None and (
            operation.record_id >= store.config.record_nr_max
            or operation.location >> 8 * store.config.keysize
            or operation.kind not in (SET, DELETE, INLINED, POINT)
        ):
            raise CorruptRecord(
                journal.path,
                journal.end,
                f"a commit has operation {operation.kind} on id {operation.record_id} at location {operation.location:#x}, "
                "which this database can't have",
            )


def _shorter(stores: list[Store | None], commit: Commit) -> CorruptRecord:
    """Return the error for records that were written, since the machine has not started anew, and are gone."""
    for operation in commit.operations:
        store = stores[operation.member] if operation.member < len(stores) else None
        if store is not None and operation.kind == SET and not _has_record(store, operation, same_boot=True):
            return store.files.corrupt(
                operation.location,
                f"the record of id {operation.record_id} is missing: the file is shorter than what was committed; "
                "`python -m ourdb repair` keeps what is whole",
            )
    raise AssertionError("a commit was refused whose records are all there")


def _refuse_lost_header(journal: Journal) -> None:
    # The header is durable before the first commit is written: without one there are no commits, or it was damaged.
    if any(journal.first_bytes(PREFIX.size)):
        raise CorruptRecord(
            journal.path, 0, "both journal headers are damaged; `python -m ourdb repair` keeps what is whole"
        )


def _start(header: JournalHeader, stores: list[Store | None], *, restore: bool) -> None:
    for member, store in zip(header.members, stores, strict=False):
        if store is None:
            continue
        if store.identity.identity != member.identity:
            raise OurDBError(f"the journal belongs to another database than {store.folder}; it was moved or mixed up")
        store.overlay, store.zeros = {}, []
        store.files.end_file, store.files.end_position = member.end_file, member.end_position
        store.next_id = member.next_id
        store.count = None
        if restore and header.unsynced:
            for number in store.files.numbers():  # the checkpoints before may not be durable
                store.files.doubt(number)
        _check_start(store, member, header, restore=restore)


def _check_start(store: Store, member: Member, header: JournalHeader, *, restore: bool) -> None:
    """Refuse record files that end before the generation began: new records would take the places of those lost."""
    number, position = member.end_file, member.end_position
    if number >= FILE_COUNT_MAX or position > POSITION_MAX + HEADER_SIZE + RECORD_DATA_MAX:
        raise OurDBError(
            f"{store.folder}: the journal says that record file {number} ends at {position}, which none can"
        )
    if restore and not header.unsynced and store.files.size(number) < position:
        raise CorruptRecord(
            store.files.path(number),
            store.files.size(number),
            f"the file is shorter than at the last checkpoint, when it had {position} bytes; read_only=True reads what is "
            "left, `python -m ourdb repair` keeps what is whole",
        )


def _is_whole(commit: Commit, stores: list[Store | None], *, same_boot: bool) -> bool:
    """Say whether the records of *commit* are there."""
    for operation in commit.operations:
        store = stores[operation.member] if operation.member < len(stores) else None
        if store is None or operation.kind in (DELETE, INLINED, POINT):
            continue
        if not _has_record(store, operation, same_boot=same_boot):
            return False
    return True


def _has_record(store: Store, operation: Operation, *, same_boot: bool) -> bool:
    file_number, position = operation.location >> 32, operation.location & 0xFFFFFFFF
    if same_boot:
        return store.files.size(file_number) >= position + HEADER_SIZE + operation.data_size
    try:
        header = store.files.header(operation.location)
        if header != (operation.data_size, operation.crc, operation.previous):
            return False
        return crc32(store.files.data(operation.location, operation.data_size)) == operation.crc
    except CorruptRecord:
        return False


def _apply(
    commit: Commit, stores: list[Store | None], inlined: dict[Store, Inlined], *, restore: bool, is_marked: bool
) -> None:
    inlined_data = iter(commit.inlined)
    for operation in commit.operations:
        data = next(inlined_data) if operation.kind == INLINED else None
        store = stores[operation.member] if operation.member < len(stores) else None
        if store is None:
            continue
        if operation.kind == DELETE:
            store.overlay[operation.record_id] = 0
            store.zeros.append(operation.location << 16 | operation.data_size)
            continue
        if operation.kind == POINT:
            store.overlay[operation.record_id] = operation.location
            continue
        if restore:
            store.files.doubt(operation.location >> 32)
        if data is not None and not is_marked:
            if restore:
                store.restore_record(operation.location, data, operation.previous)
            else:
                inlined[store][operation.location] = data, operation.previous
        store.overlay[operation.record_id] = operation.location
        if restore and operation.location >> 32 != store.files.end_file:
            store.files.cut(store.files.end_file, store.files.end_position)  # its cut may not have been durable
        store.files.end_file = operation.location >> 32
        store.files.end_position = (operation.location & 0xFFFFFFFF) + HEADER_SIZE + operation.data_size
    for store, next_id in zip(stores, commit.next_ids, strict=False):
        if store is not None and commit.operations:
            store.next_id = next_id
