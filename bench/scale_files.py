"""What a filesystem costs as it grows: entries in one directory, and files in a tree of folders of 1000."""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import vfs_db
from bench.scale import SIZES, anonymous, child, draw, print_table

__all__ = ["report"]

ENTRIES: Final = (1_000, 10_000, 100_000, 1_000_000)
"""In one directory: beyond 1024 its names are in pages."""

OPERATIONS: Final = 500
ROUNDS: Final = 5

_Job = Callable[[vfs_db.DatabaseVFS, list[str]], None]


def report(folder: Path, percent: int, plots: Path | None) -> None:
    """Measure at each size, print two tables, and draw them into the folder *plots*, if one is given."""
    entries = sorted({max(size * percent // 100, 100) for size in ENTRIES})
    directories = _directories(folder, entries)
    print_table("one directory, entries", entries, directories)
    draw("entries in one directory", entries, directories, plots, "directory.svg")
    print()
    sizes = sorted({max(size * percent // 100, 1000) for size in SIZES})
    memory = [child("bench.scale_files", "fill", folder / f"tree{size}", size) / 2**20 for size in sizes]
    opening = [
        statistics.median(child("bench.scale_files", "open", folder / f"tree{size}", size) for _ in range(ROUNDS)) * 1e3
        for size in sizes
    ]
    columns = {
        "open, ms": opening,
        **_lookups(folder, sizes),
        "memory while they are made, MiB": memory,
        "memory while all are walked and stat'ed, MiB": [
            child("bench.scale_files", "visit", folder / f"tree{size}", size) / 2**20 for size in sizes
        ],
        "memory, made in one transaction, MiB": [
            child("bench.scale_files", "fill-at-once", folder / f"tree{size}-at-once", size) / 2**20 for size in sizes
        ],
    }
    print_table("a tree, files", sizes, columns)
    draw("files in a tree", sizes, columns, plots, "tree.svg")


# One directory


def _create(fs: vfs_db.DatabaseVFS, paths: list[str]) -> None:
    for path in paths:
        fs.file_create(path)


def _stat(fs: vfs_db.DatabaseVFS, paths: list[str]) -> None:
    for path in paths:
        fs.stat(path)


def _delete(fs: vfs_db.DatabaseVFS, paths: list[str]) -> None:
    for path in paths:
        fs.file_delete(path)


def _directories(folder: Path, sizes: Sequence[int]) -> dict[str, list[float]]:
    """Return the time per operation in µs, by operation and size."""
    images = [folder / f"directory{size}" for size in sizes]
    for image, size in zip(images, sizes, strict=True):
        with vfs_db.open(image) as fs, fs.transaction():
            _create(fs, [f"{number}" for number in range(size)])
    jobs: tuple[tuple[str, _Job], ...] = (
        ("stat, the first after opening, µs", _stat), ("stat, µs", _stat), ("create, µs", _create), ("delete, µs", _delete)
    )  # fmt: skip
    times: dict[str, list[list[float]]] = {name: [[] for _ in sizes] for name, _ in jobs}
    chosen, fresh = random.Random(1), itertools.count(10**9)
    for _, (number, size) in itertools.product(range(ROUNDS), enumerate(sizes)):
        there = [str(chosen.randrange(size)) for _ in range(OPERATIONS)]
        added = [str(name) for name in itertools.islice(fresh, OPERATIONS)]
        with vfs_db.open(images[number]) as fs:
            for (name, job), paths in zip(jobs, (there[:1], there, added, added), strict=True):
                times[name][number].append(_timed(job, fs, paths))
    written = [_bytes_per_create(image, fresh) for image in images]
    return {name: [statistics.median(rounds) for rounds in by_size] for name, by_size in times.items()} | {
        "written per create, bytes": written
    }


def _bytes_per_create(image: Path, fresh: Iterator[int]) -> float:
    """Return by how much the record files grow a file created."""
    before = _record_bytes(image)
    with vfs_db.open(image) as fs:
        _create(fs, [str(name) for name in itertools.islice(fresh, OPERATIONS)])
    return (_record_bytes(image) - before) / OPERATIONS


def _record_bytes(image: Path) -> int:
    return sum(path.stat().st_size for path in image.rglob("*.db"))


def _timed(job: _Job, fs: vfs_db.DatabaseVFS, paths: list[str]) -> float:
    start = time.perf_counter()
    job(fs, paths)
    return (time.perf_counter() - start) / len(paths) * 1e6


# A tree


def _path(number: int) -> str:
    return f"{number // 1000}/{number % 1000}"


def _lookups(folder: Path, sizes: Sequence[int]) -> dict[str, list[float]]:
    times: list[list[float]] = [[] for _ in sizes]
    again: list[list[float]] = [[] for _ in sizes]
    chosen = random.Random(1)
    for _, (number, size) in itertools.product(range(ROUNDS), enumerate(sizes)):
        paths = [_path(chosen.randrange(size)) for _ in range(OPERATIONS)]
        with vfs_db.open(folder / f"tree{size}") as fs:
            times[number].append(_timed(_stat, fs, paths))
            again[number].append(_timed(_stat, fs, paths))
    return {
        "stat at random, after opening, µs": [statistics.median(rounds) for rounds in times],
        "the same again, µs": [statistics.median(rounds) for rounds in again],
    }


def _job_fill(path: Path, size: int) -> float:
    before = highest = anonymous()
    with vfs_db.open(path) as fs:
        for first in range(0, size, 1000):
            with fs.transaction():
                fs.dir_create(str(first // 1000))
                _create(fs, [_path(number) for number in range(first, min(first + 1000, size))])
            highest = max(highest, anonymous())
    return highest - before


def _job_fill_at_once(path: Path, size: int) -> float:
    before = anonymous()
    with vfs_db.open(path) as fs, fs.transaction():
        for first in range(0, size, 1000):
            fs.dir_create(str(first // 1000))
            _create(fs, [_path(number) for number in range(first, min(first + 1000, size))])
        return anonymous() - before


def _job_visit(path: Path, _size: int) -> float:
    before = highest = anonymous()
    with vfs_db.open(path) as fs:
        for top, _, names in fs.walk():
            _stat(fs, [f"{top}/{name}" for name in names])
            highest = max(highest, anonymous())
    return highest - before


def _job_open(path: Path, _size: int) -> float:
    start = time.perf_counter()
    fs = vfs_db.open(path)
    took = time.perf_counter() - start
    fs.close()
    return took


if __name__ == "__main__":
    _jobs = {"fill": _job_fill, "fill-at-once": _job_fill_at_once, "visit": _job_visit, "open": _job_open}
    print(_jobs[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
