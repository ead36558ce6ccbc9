"""A new small file is made in one go; what it leaves is what the general way leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest

import vfs_db
from vfs_db import DatabaseVFS, codec
from vfs_db.new_file import new_small_file

DATA = bytes(range(200))


def left_by(fs: DatabaseVFS) -> dict[str, tuple[bytes, bytes | None]]:
    """Every entry by path as it is stored, but for its times, and every file's content."""
    found = {}
    for path, folders, names in fs.walk("/"):
        for one in ["", *folders, *names]:
            entry = fs.get(f"{path}/{one}")
            still = attrs.evolve(entry.metadata, created_at=0, modified_at=0, accessed_at=0)
            content = fs.file_read(entry.get_path()) if entry.is_file() else None
            found[entry.get_path()] = codec.encode(attrs.evolve(entry, metadata=still)), content
    return found


def alone(fs: DatabaseVFS, write: Callable[[str, int], object]) -> None:
    fs.dir_create("d")
    for number in range(1030):  # the directory goes into pages
        write(f"d/file{number}", number % 200 + 1)
    fs.delete("d/file7")
    write("d/file7", 8)
    write("d/file7", 9)
    write("d/\N{SNOWMAN}", 3)
    write("d/empty", 0)
    write("/top", 3)


def together(fs: DatabaseVFS, write: Callable[[str, int], object]) -> None:
    with fs.transaction():
        fs.dir_create("d")
        for number in range(20):
            write(f"d/file{number}", number)
    with fs.transaction():
        fs.delete("d/file8")
        write("d/file8", 4)
        fs.rename("d/file9", "d/moved")
        write("d/file9", 5)
        fs.dir_create("e")
        for number in range(100):
            write(f"e/{number}", 6)
        with fs.transaction():
            write("e/nested", 6)
        with pytest.raises(ZeroDivisionError), fs.transaction():
            write("e/undone", 6)
            raise ZeroDivisionError
        write("e/after", 6)
    with pytest.raises(ZeroDivisionError), fs.transaction():
        fs.delete("e/after")
        write("e/rolled back", 6)
        write("e/back too", 6)
        raise ZeroDivisionError
    write("e/last", 6)


def reopened(fs: DatabaseVFS, write: Callable[[str, int], object]) -> None:
    fs.dir_create("d")
    for number in range(300):
        write(f"d/{number}", 5)
    fs.refresh()  # the names are known by their hashes now
    fs.stat("d/1")
    for number in range(250, 400):
        write(f"d/{number}", 6)


def write_as(fs: DatabaseVFS, kind: type[bytes | bytearray], path: str, size: int) -> None:
    fs.file_write(path, kind(DATA[:size]))


@pytest.mark.parametrize("work", [alone, together, reopened])
@pytest.mark.parametrize(("incremental", "ns_times"), [(False, False), (True, False), (False, True)])
def test_leaves_what_the_general_way_leaves(
    tmp_path: Path, work: Callable[[DatabaseVFS, Callable[[str, int], object]], None], incremental: bool, ns_times: bool
) -> None:
    import ourdb

    left = []
    for kind in (bytes, bytearray):  # a bytearray is never written in one go
        databases = [
            ourdb.new(path=tmp_path / kind.__name__ / name, incremental_mode=incremental)
            for name in ("data", "metadata")
        ]
        fs = vfs_db.new(*databases, ns_times=ns_times)
        work(fs, partial(write_as, fs, kind))
        assert list(fs.check()) == []
        seen = left_by(fs)
        fs.refresh()
        assert left_by(fs) == seen, "the caches are what is stored"
        left.append(seen)
        fs.close()
    assert left[0] == left[1]


@pytest.mark.parametrize("name", ["", ".", "..", "there", "a\0b", "x" * 256, "\N{SNOWMAN}", "absent/x"])
def test_unusual_name_is_left_to_the_general_way(tmp_path: Path, name: str) -> None:
    with vfs_db.open(tmp_path / "t") as fs:
        fs.dir_create("d")
        fs.file_write("d/there", DATA)
        state = fs._state
        state.acquire()
        try:
            assert new_small_file(state, "d/usual", DATA) is not None
            assert new_small_file(state, f"d/{name}", DATA) is None
        finally:
            state.lock.release()
