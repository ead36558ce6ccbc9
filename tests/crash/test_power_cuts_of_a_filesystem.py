"""After a power cut at any moment, a second one amid the recovery too, the filesystem is as some allowed operation left it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash import endless
from tests.crash.cuts import Recorded, examine
from vfs_db import CHUNK_SIZE

FOUND = sorted((Path(__file__).parent / "found").glob("*.json"))


def contents(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do
    do(fs.file_write, "a", b"one")
    do(fs.file_write, "a", b"two" * 400)
    do(fs.dir_create, "d")
    do(fs.file_write, "d/b", b"x" * (CHUNK_SIZE + 10))
    recorded.synced()
    do(fs.file_concatenate, "d/b", b"tail" * 30)
    do(fs.truncate, "d/b", 500)
    do(fs.file_write, "a", b"")
    do(fs.link_create, "d/b", "link")
    do(fs.chmod, "a", 0o600)


def places(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do
    do(fs.makedirs, "d/e/f")
    do(fs.file_write, "d/e/one", b"1" * 300)
    do(fs.file_write, "two", b"2" * 900)
    recorded.synced()
    do(fs.rename, "two", "d/e/one")
    do(fs.copy, "d", "copy")
    do(fs.rename, "d/e", "moved")
    do(fs.delete, "copy/e/one")
    do(fs.file_write, "new", b"in a freed id" * 9)
    recorded.synced()
    do(fs.remove_tree, "moved")
    do(fs.delete, "d")


def transactions(recorded: Recorded) -> None:
    fs, do = recorded.fs, recorded.do

    def many(number: int) -> None:
        with fs.transaction():
            for at in range(5):
                fs.file_write(f"f{at}", b"%d" % number * (50 + at))
            if number:
                fs.delete("f2")
                fs.rename("f0", "f9")

    def undone() -> None:
        with pytest.raises(ZeroDivisionError), fs.transaction():
            fs.remove_tree("f1")
            fs.file_write("f3", b"never" * 100)
            raise ZeroDivisionError

    for number in range(3):
        do(many, number)
        do(undone)
        do(fs.compact)
        do(fs.file_write, "last", b"%d" % number)


def killed(recorded: Recorded) -> None:
    """Each process dies; what it wrote is still in the system's cache, until the power goes too."""
    for number in range(4):
        recorded.do(recorded.fs.file_write, f"f{number % 2}", b"%d" % number * 200)
        recorded.do(recorded.fs.file_write, "g", b"%d" % number)
        recorded.killed()
        if number == 1:
            recorded.do(recorded.fs.delete, "f0")


def versions(recorded: Recorded) -> None:
    """A directory's names go into pages, and back into its entry."""
    fs, do = recorded.fs, recorded.do

    def make(first: int, last: int) -> None:
        with fs.transaction():
            for number in range(first, last):
                fs.file_create(f"d/{number}")

    def drop(first: int, last: int) -> None:
        with fs.transaction():
            for number in range(first, last):
                fs.delete(f"d/{number}")

    do(fs.dir_create, "d")
    do(make, 0, 1022)
    recorded.synced()
    for number in range(1022, 1027):
        do(make, number, number + 1)
    do(drop, 0, 512)
    for number in range(512, 518):
        do(drop, number, number + 1)


WORKLOADS = [contents, places, transactions, killed, versions]


def run(workload: Callable[[Recorded], None], level: str, tmp_path: Path, count: int, again: int, seed: int) -> int:
    source = tmp_path / "source"
    source.mkdir()
    recorded = Recorded(source, level)
    workload(recorded)
    return examine(recorded, tmp_path / "state", count, again, seed)


@pytest.mark.parametrize("level", ["normal", "full"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.__name__)
def test_a_power_cut_leaves_what_an_operation_left(
    workload: Callable[[Recorded], None], level: str, tmp_path: Path
) -> None:
    count, again = (12, 2) if workload is versions else (60, 5)
    assert run(workload, level, tmp_path, count, again, seed=1) > 10


@pytest.mark.slow
@pytest.mark.parametrize("level", ["normal", "full"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.__name__)
def test_thousands_of_power_cuts_leave_what_an_operation_left(
    workload: Callable[[Recorded], None], level: str, tmp_path: Path
) -> None:
    count, again = (100, 10) if workload is versions else (1500, 100)
    assert run(workload, level, tmp_path, count, again, seed=2) > count // 2


@pytest.mark.parametrize("seed", range(4))
def test_power_cuts_amid_any_operations(seed: int, tmp_path: Path) -> None:
    assert endless.attempt(endless.operations(seed), tmp_path, seed, count=40) >= 20


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_the_endless_run_found(path: Path, tmp_path: Path) -> None:
    found = json.loads(path.read_text())
    endless.attempt(found["operations"], tmp_path, found["seed"], found["count"])
