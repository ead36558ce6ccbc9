"""What is kept in memory is bounded in bytes, whatever the entries are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

import ourdb
import vfs_db
from vfs_db import DatabaseVFS, File, MemoryDatabase
from vfs_db.cache import Cache

MIB = 1 << 20
CHUNKS = 16000
PATHS = [f"{number // 100}/{number}" for number in range(1500)]


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[DatabaseVFS]:
    """A filesystem with files of 16,000 chunks, which are not there: what is looked at is entries."""
    with vfs_db.open(tmp_path, synchronous="off") as made, made.transaction():
        for number in range(15):
            made.dir_create(str(number))
        files = [made.file_create(path) for path in PATHS]
    chunk_ids = list(range(1, CHUNKS + 1))
    with ourdb.new(path=str(tmp_path / "metadata"), synchronous="off") as metadata:
        for file in files:
            large = File(attrs.evolve(file.metadata, size=CHUNKS), file.parent_id, chunk_ids)
            metadata.set(id=file.metadata.id, data=vfs_db.codec.encode(large))
    with vfs_db.open(tmp_path, synchronous="off") as opened:
        yield opened


@contextmanager
def memory_below(mebibytes: int) -> Iterator[None]:
    """Check that no more than this was held at any time in the with-block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes * MIB
    finally:
        tracemalloc.stop()


def test_entries_with_long_lists_are_held_as_far_as_the_bytes_go(fs: DatabaseVFS) -> None:
    with memory_below(54):
        for path in PATHS:
            assert fs.stat(path).st_size == CHUNKS


def test_entries_with_long_lists_that_are_listed_at_once_are_not_held_for_it(fs: DatabaseVFS) -> None:
    with memory_below(54):
        assert sum(entry.metadata.size for _, entry in fs.find("/")) == CHUNKS * len(PATHS)


def test_entries_with_long_lists_that_are_changed_are_held_as_far_as_the_bytes_go(fs: DatabaseVFS) -> None:
    with memory_below(54):
        for path in PATHS:
            fs.chmod(path, 0o600)


def test_a_transaction_holds_entries_with_long_lists_as_far_as_the_bytes_go(fs: DatabaseVFS) -> None:
    with memory_below(90), fs.transaction():
        for path in PATHS:
            fs.chmod(path, 0o600)
        for path in PATHS:
            fs.stat(path)


def test_paths_of_deep_directories_are_held_as_far_as_the_bytes_go() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    path = "/".join(f"{level:04}" + "n" * 250 for level in range(800))  # all paths on the way: 80 MB
    with memory_below(16):
        assert fs.makedirs(path).get_path() == "/" + path
        for level in range(790, 800):
            assert fs.stat(path[: 255 * level]).st_mode & 0o777 == 0o755


def test_what_is_put_again_counts_once() -> None:
    cache = Cache[str](100)
    cache.put(1, "in use", 10)
    for size in range(50):
        cache.put(2, "grows", size)
    for _ in range(5):
        assert cache.grown(2, 2) == "grows"
    assert cache.young == {1: "in use", 2: "grows"}
    cache.pop(2)
    cache.put(3, "large", 90)
    assert cache.young == {1: "in use", 3: "large"}


def test_what_came_back_counts_with_all_its_weight() -> None:
    cache = Cache[str](100)
    cache.put(1, "first", 60)
    cache.put(2, "second", 60)
    assert cache.get(1) == "first"
    assert cache.young == {2: "second"}
    assert cache.grown(1, 10) == "first"
    assert cache.young == {1: "first"}
    cache.put(3, "third", 31)
    assert cache.young == {3: "third"}
    assert cache.grown(1, 1000) == "first"
    assert (cache.get(1), cache.get(2), cache.grown(2, 1)) == ("first", None, None)


@pytest.mark.slow
def test_a_large_directory_is_copied_part_by_part(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path, synchronous="off") as fs:
        fs.dir_create("d")
        with fs.transaction():
            for number in range(100_000):
                fs.file_create(f"d/{number:06}" + "n" * 100)
        fs.refresh()
        with memory_below(75):
            fs.copy("d", "copy")
        assert len(fs.dir_list("copy")) == 100_000
