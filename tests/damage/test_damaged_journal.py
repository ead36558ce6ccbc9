"""A journal that was left, and damage: commits are refused or kept, never cut silently."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import ourdb
from ourdb.disk import DISK
from ourdb.journal import COMMITS_AT, OPERATION, SET, Journal


def left(tmp_path: Path, *, synced: bool = False, **options: Any) -> str:
    """Return a copy of a folder that a killed writer would leave: ten commits, three of them to id 1."""
    with ourdb.new(path=str(tmp_path / "open"), record_nr_max=100, incremental_mode=False, **options) as db:
        for one in (1, 2, 3, 1, 4, 5, 6, 1, 7, 8):
            db.set(id=one, data=b"%d" % one * 20)
        if synced:
            db.sync()
        shutil.copytree(tmp_path / "open", tmp_path / "db")
    return str(tmp_path / "db")


def spoil(path: str, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        old = file.read(1)
        file.seek(position)
        file.write(bytes((old[0] ^ 1,)))


def commit_ends(path: str) -> list[int]:
    journal = Journal(DISK, f"{path}/journal", read_only=True)
    journal.read_header()
    ends = [commit.end for commit in journal.commits()]
    journal.close()
    return ends


@pytest.mark.parametrize("within", [0, 4, 8, 16, 45, 50, 60])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_damaged_commit_before_others_is_refused_and_not_cut(tmp_path: Path, within: int, read_only: bool) -> None:
    path = left(tmp_path)
    ends = commit_ends(path)
    size = os.path.getsize(f"{path}/0.db")
    spoil(f"{path}/journal", ends[4] + within)
    with pytest.raises(ourdb.CorruptRecord, match="a commit is damaged"):
        ourdb.new(path=path, read_only=read_only)
    assert os.path.getsize(f"{path}/0.db") == size
    kept = ourdb.repair(path).records
    # Only its checksum is damaged: the commit behind it confirms the rest.
    assert kept == (8 if within == 0 else 4)
    with ourdb.new(path=path) as db:
        assert list(db.check()) == []
        assert [db.get(one) for one in (1, 2, 3, 4)] == [b"%d" % one * 20 for one in (1, 2, 3, 4)]


def test_a_damaged_last_commit_is_what_a_kill_leaves(tmp_path: Path) -> None:
    path = left(tmp_path)
    spoil(f"{path}/journal", commit_ends(path)[-1] - 1)
    with ourdb.new(path=path) as db:
        assert (len(db), 8 in db) == (7, False)


def test_commits_of_an_older_generation_are_no_damage(tmp_path: Path) -> None:
    with ourdb.new(path=str(tmp_path / "open"), record_nr_max=100, incremental_mode=False) as db:
        for one in range(50):
            db.set(id=one, data=b"old")
        db.sync()
        for one in range(3):
            db.set(id=one, data=b"new")
        shutil.copytree(tmp_path / "open", tmp_path / "db")
    with ourdb.new(path=str(tmp_path / "db")) as db:
        assert [db.get(one) for one in (0, 2, 3, 49)] == [b"new", b"new", b"old", b"old"]


def test_a_journal_without_the_folders_own_file_is_not_passed_over(tmp_path: Path) -> None:
    path = left(tmp_path, synced=True)
    with ourdb.new(path=str(tmp_path / "open")) as db:
        db.set(id=1, data=b"newest")
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "open", path)
    os.unlink(f"{path}/lookup/.ourdb")
    for read_only in (True, False):
        with pytest.raises(ourdb.UnsupportedFormat, match="a journal was left"):
            ourdb.new(path=path, read_only=read_only)
    ourdb.repair(path)
    with ourdb.new(path=path) as db:
        assert db.get(1) == b"newest"


@pytest.mark.parametrize(
    ("kind", "record_id", "location"), [(SET, 100, 1), (SET, 2**32 - 1, 1), (SET, 1, 2**40), (SET, 1, 2**63), (9, 1, 1)]
)
def test_a_commit_that_this_database_cannot_have_is_refused(
    tmp_path: Path, kind: int, record_id: int, location: int
) -> None:
    """Its checksum is right: somebody made it to harm."""
    path = left(tmp_path)
    journal = Journal(DISK, f"{path}/journal")
    journal.read_header()
    for number, commit in enumerate(journal.commits(), 1):
        journal.restart_at(commit.end, commit.crc, number)
    journal.append(OPERATION.pack(kind, 0, 0, record_id, 0, location, 0), (0, 0))
    journal.close()
    size = os.path.getsize(f"{path}/lookup/data")
    for read_only in (True, False):
        with pytest.raises((ourdb.CorruptRecord, ourdb.OurDBError)):
            ourdb.new(path=path, read_only=read_only).get(1)
    assert os.path.getsize(f"{path}/lookup/data") == size
    assert ourdb.repair(path).records >= 7
    with ourdb.new(path=path) as db:
        assert list(db.check()) == []


def test_a_record_file_cut_after_a_checkpoint_is_not_written_behind(tmp_path: Path) -> None:
    """No commit names the records that are gone; a write behind them would leave zeros, which are empty records."""
    path = left(tmp_path, synced=True)
    os.truncate(f"{path}/0.db", 200)
    with pytest.raises(ourdb.CorruptRecord, match="shorter than at the last checkpoint"):
        ourdb.new(path=path)
    with ourdb.new(path=path, read_only=True) as db:
        assert db.get(2) == b"2" * 20
        with pytest.raises(ourdb.CorruptRecord):
            db.get(8)
    ourdb.repair(path)
    with ourdb.new(path=path) as db:
        assert (list(db.check()), db.get(2), 8 in db) == ([], b"2" * 20, False)


def test_a_backup_of_what_only_the_journal_has_keeps_history(tmp_path: Path) -> None:
    path = left(tmp_path, synchronous="full")
    with ourdb.new(path=path, read_only=True) as db:
        history = db.get_history(1, 10)
        db.backup(tmp_path / "backup")
    with ourdb.new(path=tmp_path / "backup") as copy:
        assert (copy.get_history(1, 10), len(history), list(copy.check())) == (history, 3, [])


def test_commits_begin_behind_the_headers(tmp_path: Path) -> None:
    """What the tests above count on."""
    assert commit_ends(left(tmp_path))[0] > COMMITS_AT
