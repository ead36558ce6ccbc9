"""What things cost as a database grows: a table of ourdb at 10^3 to 10^6 records, and a plot of it.

Each size has a folder of its own; single operations are timed in rounds over all sizes in turn. What depends on a fresh
process (opening, memory) is measured in child processes: `python -m bench.scale JOB FOLDER RECORDS` prints one number.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import ourdb

__all__ = ["SIZES", "anonymous", "child", "draw", "print_table", "report"]

DATA: Final = bytes(range(100))
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS: Final = 7
OPERATIONS: Final = 2000
SPARE: Final = 2_000_000  # ids above this are for the timed sets


def report(folder: Path, percent: int, plots: Path | None) -> None:
    """Measure at each size, print the table, and draw it into the folder *plots*, if one is given."""
    sizes = sorted({max(size * percent // 100, 100) for size in SIZES})
    memory = {size: child("bench.scale", "memory", folder / f"{size}", size) for size in sizes}
    columns: dict[str, list[float]] = {
        "open an empty one, ms": [_empty(folder / f"empty{size}") * 1e3 for size in sizes],
        "open after a clean close, ms": [_median("open", folder / f"{size}", size) * 1e3 for size in sizes],
        **_operations(
            folder, sizes, {"set, µs": _sets, "get, first touch of a page, µs": _gets, "delete, µs": _deletes}
        ),
        **_operations(
            folder,
            sizes,
            {"get, every page touched, µs": _gets, "os.pread of as much, every page touched, µs": _preads},
            warm=True,
        ),
        "open after kill -9, ms": [_after_kill(folder / f"{size}", size) * 1e3 for size in sizes],
        "memory, commits of 1000, MiB": [memory[size] / 2**20 for size in sizes],
        "memory, one commit, bytes a record": [
            child("bench.scale", "memory-at-once", folder / f"{size}-at-once", size) / size for size in sizes
        ],
        "table, allocated / used": [_table_allocation(folder / f"{size}", size) for size in sizes],
    }
    print_table("ourdb, records of 100 bytes", sizes, columns)
    draw("records in the database", sizes, columns, plots, "ourdb.svg")


def print_table(title: str, sizes: Sequence[int], columns: dict[str, list[float]]) -> None:
    """Print a line for each of *columns*, which have a value for each size."""
    print(f"| {title} | " + " | ".join(f"{size:,}" for size in sizes) + " | last / first |")
    print("| --- |" + " ---: |" * (len(sizes) + 1))
    for name, values in columns.items():
        growth = f"{values[-1] / values[0]:.2f}" if values[0] else ""
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + f" | {growth} |")


def draw(what: str, sizes: Sequence[int], columns: dict[str, list[float]], plots: Path | None, name: str) -> None:
    """Draw the *columns* that are times per operation into a file of the folder *plots*; without one, do nothing."""
    if plots is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        print(f"\nmatplotlib is not installed, so {name} is not drawn. `pip install '.[bench]'` adds it.")
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text as text, and ids that are the same each time: small files with small differences.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for column, values in columns.items():
            if column.endswith("µs"):
                axes.plot(sizes, values, marker="o", label=column.removesuffix(", µs"))
        axes.set(xscale="log", xlabel=what, ylabel="µs per operation")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        plots.mkdir(parents=True, exist_ok=True)
        figure.savefig(plots / name, metadata={"Date": None})


# Single operations, one commit each


_Job = Callable[[ourdb.OurDB, list[int]], None]


def _operations(
    folder: Path, sizes: Sequence[int], jobs: dict[str, _Job], *, warm: bool = False
) -> dict[str, list[float]]:
    databases = [ourdb.new(path=folder / f"{size}") for size in sizes]
    if warm:
        for db in databases:
            _gets(db, list(db))
    chosen = random.Random(1)
    times: dict[str, list[list[float]]] = {name: [[] for _ in sizes] for name in jobs}
    fresh = itertools.count(SPARE)
    for _ in range(ROUNDS):
        for number, (db, size) in enumerate(zip(databases, sizes, strict=True)):
            added = list(itertools.islice(fresh, OPERATIONS))
            read = [chosen.randrange(size) for _ in range(OPERATIONS)]
            for name, job in jobs.items():
                ids = added if job in (_sets, _deletes) else read
                start = time.perf_counter()
                job(db, ids)
                times[name][number].append((time.perf_counter() - start) / OPERATIONS * 1e6)
    for db in databases:
        db.close()
    return {name: [statistics.median(rounds) for rounds in by_size] for name, by_size in times.items()}


def _sets(db: ourdb.OurDB, ids: list[int]) -> None:
    for record_id in ids:
        db.set(id=record_id, data=DATA)


def _gets(db: ourdb.OurDB, ids: list[int]) -> None:
    for record_id in ids:
        db.get(record_id)


def _preads(db: ourdb.OurDB, ids: list[int]) -> None:
    """What the machine itself takes longer for, the more bytes the reads are spread over."""
    size = 12 + len(DATA)
    fd = os.open(Path(db.path) / "0.db", os.O_RDONLY)
    for record_id in ids:
        os.pread(fd, size, record_id * size)
    os.close(fd)


def _deletes(db: ourdb.OurDB, ids: list[int]) -> None:
    for record_id in ids:
        db.delete(record_id)


def _table_allocation(path: Path, size: int) -> float:
    return (path / "lookup" / "data").stat().st_blocks * 512 / (size * 6)


# In processes of their own


def child(module: str, job: str, path: Path, size: int) -> float:
    """Run a job of *module* in a fresh interpreter and return the number that it prints."""
    command = [sys.executable, "-m", module, job, str(path), str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _median(job: str, path: Path, size: int) -> float:
    return statistics.median(child("bench.scale", job, path, size) for _ in range(ROUNDS))


def _empty(path: Path) -> float:
    ourdb.new(path=path).close()
    return _median("open", path, 0)


def _after_kill(path: Path, size: int) -> float:
    found = []
    for _ in range(ROUNDS):
        killed = subprocess.run([sys.executable, "-m", "bench.scale", "kill", str(path), str(size)], check=False)
        assert killed.returncode == -signal.SIGKILL
        found.append(child("bench.scale", "open", path, size))
    return statistics.median(found)


def _job_open(path: Path, _size: int) -> float:
    start = time.perf_counter()
    db = ourdb.new(path=path)
    took = time.perf_counter() - start
    db.close()
    return took


def _job_memory(path: Path, size: int) -> float:
    before = anonymous()
    highest = before
    with ourdb.new(path=path, incremental_mode=False) as db:
        for first in range(0, size, 1000):
            db.set_many((record_id, DATA) for record_id in range(first, min(first + 1000, size)))
            highest = max(highest, anonymous())
    return highest - before


def _job_memory_at_once(path: Path, size: int) -> float:
    before = anonymous()
    with ourdb.new(path=path, incremental_mode=False) as db, db.transaction():
        for record_id in range(size):
            db.set(id=record_id, data=DATA)
        return anonymous() - before


def _job_kill(path: Path, _size: int) -> float:
    db = ourdb.new(path=path)
    for record_id in range(SPARE, SPARE + OPERATIONS):
        db.set(id=record_id, data=DATA)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def anonymous() -> int:
    """Return the bytes of this process's memory that no file is behind; the highest ever where that can't be told."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _jobs = {"open": _job_open, "memory": _job_memory, "memory-at-once": _job_memory_at_once, "kill": _job_kill}
    print(_jobs[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
