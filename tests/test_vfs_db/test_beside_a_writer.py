"""A filesystem that is only read, beside a writer that goes on at a moment of the test's choice."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ourdb
import vfs_db
from ourdb import OurDB
from tests.step_disk import StepDisk
from vfs_db import DatabaseVFS
from vfs_db.counter import encode_counter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[DatabaseVFS]:
    with vfs_db.open(tmp_path / "fs", synchronous="off") as fs:
        fs.file_write("a", b"first" * 20_000)
        fs.makedirs("d")
        for number in range(20):
            fs.file_write(f"d/{number}", b"%d" % number * 100)
        fs.sync()
        yield fs


@pytest.fixture
def disk() -> StepDisk:
    return StepDisk()


@pytest.fixture
def reader(writer: DatabaseVFS, disk: StepDisk) -> Iterator[DatabaseVFS]:
    with vfs_db.new(
        OurDB(writer.data_dir, {}, read_only=True, disk=disk), OurDB(writer.metadata_dir, {}, read_only=True, disk=disk)
    ) as fs:
        yield fs


def content(fs: DatabaseVFS) -> dict[str, bytes]:
    return {path: fs.file_read(path) for path, entry in fs.find("/") if entry.is_file()}


def change(fs: DatabaseVFS) -> None:
    fs.file_write("b", b"made between the two copies")
    fs.file_write("a", b"longer than first" * 20_000)
    fs.file_delete("d/3")
    fs.rename("d", "e")


def go_on(fs: DatabaseVFS) -> None:
    change(fs)
    fs.sync()


def compact(fs: DatabaseVFS) -> None:
    change(fs)
    fs.compact(keep_history=False)


MOMENTS = ("data/0.db", "data/lookup/data.new", "data/lookup/.ourdb.new", "metadata/0.db", "metadata/lookup/data.new")


@pytest.mark.parametrize("step", [change, go_on, compact])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_backup_has_content_and_entries_of_one_state(
    writer: DatabaseVFS,
    reader: DatabaseVFS,
    disk: StepDisk,
    tmp_path: Path,
    step: Callable[[DatabaseVFS], None],
    moment: str,
) -> None:
    states = [content(writer)]
    disk.before("create", os.path.join("copy", *moment.split("/")), lambda: step(writer))
    reader.backup(tmp_path / "copy")
    assert not disk.times
    states.append(content(writer))
    with vfs_db.open(tmp_path / "copy") as copy:
        assert content(copy) in states
        assert [str(problem) for problem in copy.check()] == []
        copy.file_write("new", b"goes on")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writers_own_backup_is_the_state_at_its_beginning_while_others_write(tmp_path: Path, moment: str) -> None:
    disk = StepDisk()
    with vfs_db.new(
        OurDB(str(tmp_path / "data"), {"incremental_mode": False}, disk=disk),
        OurDB(str(tmp_path / "metadata"), {"incremental_mode": False}, disk=disk),
    ) as fs:
        fs.makedirs("d")
        fs.file_write("d/3", b"three")
        before = content(fs)
        disk.before("create", os.path.join("copy", *moment.split("/")), lambda: change(fs))
        fs.backup(tmp_path / "copy")
        assert not disk.times
        assert fs.exists("b")
    with vfs_db.open(tmp_path / "copy") as copy:
        assert content(copy) == before
        assert list(copy.check()) == []


def test_a_backup_that_is_always_overtaken_gives_up_and_leaves_nothing(
    writer: DatabaseVFS, reader: DatabaseVFS, disk: StepDisk, tmp_path: Path
) -> None:
    def step() -> None:
        writer.file_write("a", b"on and on")
        writer.sync()

    disk.before("create", os.path.join("metadata", "lookup", "data.new"), step, times=100_000)
    with pytest.raises(OSError) as caught:
        reader.backup(tmp_path / "copies" / "first")
    assert caught.value.errno == errno.ESTALE
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("is_made", [False, True], ids=["new folder", "empty folder"])
def test_a_backup_that_fails_leaves_nothing(
    writer: DatabaseVFS, reader: DatabaseVFS, disk: StepDisk, tmp_path: Path, moment: str, is_made: bool
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "a full disk")

    dest = tmp_path / "copies" / "first"
    if is_made:
        dest.mkdir(parents=True)
    disk.before("create", os.path.join("first", *moment.split("/")), fail)
    with pytest.raises(OSError, match="a full disk"):
        reader.backup(dest)
    assert (tmp_path / "copies").exists() == is_made
    assert list(dest.glob("*")) == []
    reader.backup(dest)
    with pytest.raises(FileExistsError):
        reader.backup(dest)
    with vfs_db.open(dest) as copy:
        assert content(copy) == content(writer)


def test_a_sound_filesystem_has_no_problem_for_one_who_only_reads(writer: DatabaseVFS, reader: DatabaseVFS) -> None:
    """The counters of ids are looked at, too: they were taken for 1 where no id is given out."""
    assert list(reader.check()) == []
    writer.close()
    assert list(reader.check()) == []


def test_a_counter_that_is_too_low_is_found_by_one_who_only_reads(writer: DatabaseVFS, tmp_path: Path) -> None:
    writer.close()
    with ourdb.new(tmp_path / "fs" / "metadata") as metadata:
        metadata.set(id=0, data=encode_counter(5, []))
    with vfs_db.open(tmp_path / "fs", read_only=True) as fs:
        assert [problem.kind for problem in fs.check()] == ["counter"]


@pytest.mark.parametrize("step", [go_on, compact])
def test_a_check_that_is_overtaken_says_so_and_no_problem(
    writer: DatabaseVFS, reader: DatabaseVFS, disk: StepDisk, step: Callable[[DatabaseVFS], None]
) -> None:
    disk.before("map", "", lambda: step(writer))  # when the first chunk is read
    with pytest.raises(OSError) as caught:
        print(list(reader.check()))
    assert caught.value.errno == errno.ESTALE
    assert not disk.times
    assert list(reader.check()) == []
