"""Any method from any thread: readers see a file before or after a write, and paths before or after a move."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import vfs_db
from vfs_db import DatabaseVFS, MemoryDatabase


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Let Python switch threads far more often than usual, so that a race shows."""
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(old)


def together(*works: Callable[[], object]) -> None:
    """Run all *works* at once, each in a thread; raise what one of them raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the caller reports it
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Stop:
    """Set when the writers are done."""

    def __init__(self) -> None:
        self.is_set = False


def test_reader_sees_a_file_before_or_after_a_write(fs: DatabaseVFS) -> None:
    sizes = (10, 70_000, 140_000, 0, 200_000)
    fs.file_write("f", b"\0" * 10)
    stop = Stop()

    def write() -> None:
        for number in range(60):
            fs.file_write("f", bytes([number]) * sizes[number % 5])
        stop.is_set = True

    def read() -> None:
        while not stop.is_set:
            data = fs.file_read("f")
            assert len(data) in sizes
            assert len(set(data)) <= 1

    together(write, read, read)


def test_reader_sees_a_file_under_one_of_two_names(fs: DatabaseVFS) -> None:
    """A file that is moved back and forth is always at one of the two places, and only one of them in a listing."""
    fs.makedirs("a/in")
    fs.makedirs("b/in")
    fs.file_write("a/in/f", b"content")
    stop = Stop()

    def move() -> None:
        for number in range(150):
            fs.rename(*(("a/in/f", "b/in/f") if number % 2 == 0 else ("b/in/f", "a/in/f")))
        stop.is_set = True

    def look() -> None:
        while not stop.is_set:
            found = 0
            for path in ("a/in/f", "b/in/f", "a/in/f"):
                try:
                    found += fs.file_read(path) == b"content"
                except FileNotFoundError:
                    continue
            assert len(fs.glob("*/in/f")) <= 2
            entry = fs.get("a/in")
            assert entry.get_path() == "/a/in"

    together(move, look, look)


def test_directories_moved_while_paths_below_are_looked_up(fs: DatabaseVFS) -> None:
    """No cache may remember where a path led before a move."""
    fs.makedirs("x/deep/er")
    fs.file_write("x/deep/er/f", b"x")
    fs.makedirs("y/deep/er")
    fs.file_write("y/deep/er/f", b"y")
    stop = Stop()

    def swap() -> None:
        for _ in range(60):
            with fs.transaction():
                fs.rename("x", "t")
                fs.rename("y", "x")
                fs.rename("t", "y")
        stop.is_set = True

    def look() -> None:
        while not stop.is_set:
            assert fs.file_read("x/deep/er/f") in (b"x", b"y")
            assert fs.exists("y/deep/er/f"), "a swap is one commit: both are always there"
            assert not fs.exists("t")

    together(swap, look, look)
    assert fs.file_read("x/deep/er/f") == b"x"
    assert fs.file_read("y/deep/er/f") == b"y"


def test_transactions_are_seen_whole(fs: DatabaseVFS) -> None:
    with fs.transaction():
        for name in "ab":
            fs.file_write(name, b"0")
    stop = Stop()

    def write() -> None:
        for number in range(100):
            with fs.transaction():
                fs.file_write("a", str(number).encode())
                fs.file_write("b", str(number).encode())
                if number % 3 == 0:
                    fs.touch(f"extra{number}")
        stop.is_set = True

    def read() -> None:
        while not stop.is_set:
            first = int(fs.file_read("a"))
            second = int(fs.file_read("b"))
            third = int(fs.file_read("a"))
            assert first <= second <= third or first <= second

    together(write, read, read)


def test_many_writers_and_readers_keep_the_tree_sound(fs: DatabaseVFS) -> None:
    """Each thread works in names of its own and of others; the fixture's `check` finds nothing wrong at the end."""
    for name in "abc":
        fs.dir_create(name)

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for number in range(120):
            path = f"{choose.choice('abc')}/{choose.randrange(6)}"
            other = f"{choose.choice('abc')}/{choose.randrange(6)}"
            calls: list[Callable[[], Any]] = [
                partial(fs.file_write, path, bytes([number]) * 3000),
                partial(fs.file_read, path),
                partial(fs.delete, path),
                partial(fs.rename, path, other),
                partial(fs.copy, path, other),
                partial(fs.dir_list, path[0]),
                partial(fs.stat, path),
                partial(fs.makedirs, path + "/sub"),
                partial(fs.remove_tree, path),
                partial(list, fs.walk()),
            ]
            try:
                choose.choice(calls)()
            except OSError as error:
                assert error.errno in (2, 17, 20, 21, 22, 39), error

    together(*(partial(work, seed) for seed in range(4)))
    for path, entry in fs.find("/"):
        assert entry.get_path() == path


def test_appending_from_many_threads_loses_nothing(fs: DatabaseVFS) -> None:
    def work(number: int) -> None:
        for _ in range(30):
            fs.file_concatenate("log", b"%03d\n" % number)

    together(*(partial(work, number) for number in range(4)))
    assert sorted(fs.file_read("log").split()) == sorted(b"%03d" % number for number in range(4) for _ in range(30))


def test_handle_of_a_file_that_is_deleted_as_it_is_opened_never_reads_another() -> None:
    """Its id is the next file's. Of 8000 handles some are opened at just that moment."""
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    is_done = threading.Event()

    def replace() -> None:
        while not is_done.is_set():
            for name in ("a", "b"):
                fs.file_write(name, name.encode())
                fs.delete(name)

    def read() -> None:
        opened = 0
        try:
            while opened < 8_000:
                with suppress(FileNotFoundError), fs.open("a", "rb", 0) as file, suppress(OSError):  # deleted: ESTALE
                    opened += 1
                    for _ in range(5):
                        assert file.read() in (b"a", b"")
                        file.seek(0)
        finally:
            is_done.set()

    sys.setswitchinterval(1e-6)
    together(replace, read)
