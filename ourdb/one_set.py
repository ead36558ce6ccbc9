"""One set, one commit: the short path of `OurDB.set`.

The same as a transaction of one set, written out: it takes a third of the time. Whether nothing stands in its way is
`Commits.plain`, which the general way keeps; what is left to look at is looked at here.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

from ourdb.checkpoints import OVERLAY_MAX, RECORD_BYTES_MAX
from ourdb.commits import INLINE_MAX, Commits
from ourdb.config import RECORD_DATA_MAX
from ourdb.journal import INLINED, OPERATION, PREFIX, SET
from ourdb.record import PACK_HEADER
from ourdb.store import Store

__all__ = ["commit_one"]

_COMMIT: Final = struct.Struct("<IIIQQQ" + OPERATION.format.removeprefix("<"))
"""A commit of one operation behind its CRC: the rest of the prefix, and the operation."""

_COMMIT_SIZE: Final = PREFIX.size + OPERATION.size
_NO_PREVIOUS: Final = bytes(6)
assert _COMMIT.size == _COMMIT_SIZE - 4
_pack_commit: Final = _COMMIT.pack
_from_bytes: Final = int.from_bytes


def commit_one(commits: Commits, store: Store, record_id: int | None, data: bytes, *, is_inlined: bool) -> int | None:
    """Commit one record and return its id, or None, nothing changed, where the general way has to see to it.

    Called with `commits.lock` held. *is_inlined*: the data goes into the journal, too, so that one fdatasync is enough.
    """
    journal, config, files, overlay = commits.journal, store.config, store.files, store.overlay
    position = files.end_position
    size = len(data)
    if (
        not commits.plain  # looked at again: the lock is held now
        or journal is None
        or size > (INLINE_MAX if is_inlined else RECORD_DATA_MAX)
        or position >= store.plain_limit
        or journal.end > commits.plain_journal_end
        or commits.record_bytes > RECORD_BYTES_MAX
        or len(overlay) > OVERLAY_MAX
    ):
        return None
    next_id = store.next_id
    previous: int | None = 0
    if record_id is None:
        if not config.incremental_mode or next_id >= config.record_nr_max:
            return None
        record_id = next_id
        next_id += 1
    else:
        if record_id.__class__ is not int or not 0 <= record_id < config.record_nr_max:
            return None
        previous = overlay.get(record_id)
        if previous is None:
            at = record_id * config.keysize
            previous = _from_bytes(store.table.map[at : at + config.keysize], "big")
        if config.incremental_mode and not previous:
            return None
    location = files.end_file << 32 | position
    crc = crc32(data)
    record = PACK_HEADER(size, crc, previous.to_bytes(6, "big") if previous else _NO_PREVIOUS) + data
    kind, commit_size = (INLINED, _COMMIT_SIZE + size) if is_inlined else (SET, _COMMIT_SIZE)
    body = _pack_commit(
        commit_size, 1, journal.salt, journal.number + 1, next_id, 0, kind, 0, size, record_id, crc, location, previous
    )  # fmt: skip
    if is_inlined:
        body += data
    chain = crc32(body, journal.chain)
    pwrite = commits.disk.pwrite
    try:
        if (
            pwrite(commits.plain_fd, record, position) != len(record)
            or pwrite(journal.fd, chain.to_bytes(4, "little") + body, journal.end) != commit_size
        ):
            return None
        with commits.publishing:
            journal.end += commit_size
            journal.chain = chain
            journal.number += 1
            commits.appended += 1
            files.end_position = position + len(record)
            commits.record_bytes += len(record)
            store.next_id = next_id
            if store.count is not None:
                store.count += not previous
            if commits.plain:
                overlay[record_id] = location
            else:  # a snapshot was taken meanwhile
                store.publish({record_id: location})  # type: ignore[unreachable]
    except OSError:
        raise
    except BaseException as error:
        commits.doubt(error)
        raise
    return record_id
