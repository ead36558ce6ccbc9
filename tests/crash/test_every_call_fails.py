"""Each call to the operating system fails once, or writes short: the caller is told, and memory and disk agree afterwards."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ourdb import OurDB, OurDBError
from tests.crash.works import WORKS, SameBootDisk, Work

CALLS = (
    "open", "pread", "pwrite", "pwritev", "fsync", "fdatasync", "truncate", "replace", "unlink", "mkdir", "rmdir", "allocate",
    "sync_folder",
)  # fmt: skip
ERRORS = [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EACCES, errno.EMFILE]
SHORT = 0
"""Stands for a write that writes the half of what it was given, and says so."""

CONTENT = {1: b"one" * 50, 2: b"two" * 50, 3: b"three" * 50}
CONFIG = {"record_nr_max": 40, "keysize": 4, "incremental_mode": False}


class FaultyDisk(SameBootDisk):
    """A disk on which one call of those in CALLS raises an error: the one after *left* more have gone well."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.code = 0
        for name in CALLS:
            setattr(self, name, self._failing(name, getattr(self, name)))

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            if self.left is not None and (self.code != SHORT or name in ("pwrite", "pwritev")):
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    if self.code == SHORT:
                        fd, data, position = arguments
                        whole = data if name == "pwrite" else b"".join(data)
                        return super(FaultyDisk, self).pwrite(fd, whole[: len(whole) // 2], position)
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


def fail_at_calls(work: Work, place: Path, code: int, every: int, seed: int) -> int:
    """Fail each call of *work*, or every so many; return how many failed."""
    choose = random.Random(f"{seed} {work.name} {code}")
    (place / "before").mkdir()
    work.prepare(place / "before")
    before: Any = {}
    if work.name != "creation":
        before = work.look(shutil.copytree(place / "before", place / "looked at"))
    whole = shutil.copytree(place / "before", place / "done")
    work.do(whole, SameBootDisk())
    after = work.look(whole)
    failed = 0
    for k in itertools.count(choose.randrange(every), every):
        folder = shutil.copytree(place / "before", place / "now")
        disk = FaultyDisk()
        disk.left, disk.code = k, code
        told = ""
        try:
            work.do(folder, disk)
        except (OSError, OurDBError) as error:
            told = str(error) or "an error without words"
        has_failed, disk.left = disk.left is None, None
        failed += has_failed
        is_sure = not told or (folder / "acknowledged").exists()
        found = work.look(folder)
        assert found in ([after] if is_sure else [before, after]), (
            f"{work.name}, seed {seed}, call {k} failed, told {told!r}: found {found!r:.300}"
        )
        assert code != SHORT or not told, f"{work.name}, write {k} was short: {told}"
        shutil.rmtree(folder)
        if not has_failed:
            return failed
    raise AssertionError


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_work_of_which_a_call_fails_is_done_or_was_never_begun(work: Work, tmp_path: Path) -> None:
    for code in (errno.ENOSPC, SHORT):
        (tmp_path / str(code)).mkdir()
        fail_at_calls(work, tmp_path / str(code), code, every=12, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("code", [*ERRORS, SHORT], ids=lambda code: errno.errorcode.get(code, "short"))
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_work_of_which_any_call_fails_is_done_or_was_never_begun(work: Work, code: int, tmp_path: Path) -> None:
    assert fail_at_calls(work, tmp_path, code, every=1, seed=1) > 0
