"""Each call to the operating system fails once: the caller is told, and memory and disk agree afterwards."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ourdb import OurDB, OurDBError
from ourdb.disk import Disk

CALLS = ("pwrite", "fsync", "fdatasync", "truncate", "replace", "mkdir", "allocate", "sync_folder")
ERRORS = [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EACCES, errno.EMFILE]
CONTENT = {1: b"one" * 50, 2: b"two" * 50, 3: b"three" * 50}
CONFIG = {"record_nr_max": 40, "keysize": 4, "incremental_mode": False}


class FaultyDisk(Disk):
    """A disk on which one call of those in CALLS raises an error: the one after *left* more have gone well."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.code = 0
        for name in CALLS:
            setattr(self, name, self._failing(getattr(self, name)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise OSError(self.code, "a fault on purpose")
            return call(*arguments, **options)

        return attempt


def content(db: OurDB) -> dict[int, bytes]:
    found = {}
    for record_id in range(1, 8):
        try:
            found[record_id] = db.get(record_id)
        except KeyError:
            continue
    return found


def put(db: OurDB) -> None:
    db.set(id=1, data=b"new")


def put_another(db: OurDB) -> None:
    db.set(id=7, data=b"another")


def delete(db: OurDB) -> None:
    db.delete(2)


def compact(db: OurDB) -> None:
    db.compact()


WORKLOADS: list[tuple[Callable[[OurDB], None], dict[int, bytes]]] = [
    (put, CONTENT | {1: b"new"}),
    (put_another, CONTENT | {7: b"another"}),
    (delete, {1: CONTENT[1], 3: CONTENT[3]}),
    (compact, CONTENT),
]


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize(("work", "after"), WORKLOADS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_failed_call_leaves_all_or_nothing(
    tmp_path: Path, work: Callable[[OurDB], None], after: dict[int, bytes], code: int
) -> None:
    for k in itertools.count():
        disk = FaultyDisk()
        folder = str(tmp_path / str(k))
        db = OurDB(folder, CONFIG, disk=disk)
        for record_id, data in CONTENT.items():
            db.set(id=record_id, data=data)
        disk.left, disk.code = k, code
        succeeded = True
        try:
            work(db)
        except (OSError, OurDBError):
            succeeded = False
        reached = disk.left is None
        disk.left = None
        live: dict[int, bytes] | None
        try:
            live = content(db)
        except (OSError, OurDBError):
            live = None  # the handle refuses until it is opened again
        with suppress(OSError, OurDBError):
            db.close()
        with OurDB(folder, CONFIG) as again:
            found = content(again)
            again.set(id=5, data=b"goes on")
        assert found == after if succeeded else found in (CONTENT, after), (k, found)
        assert live in (None, found), (k, live, found)
        if not reached:
            break
    assert k > 0
