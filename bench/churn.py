"""Years of use: files made, written and deleted a million times, in a filesystem that holds a thousand.

One handle does it all. Ten times on the way it compacts, and what could have grown is measured: the ids given out, the
disk space after compacting, the memory of this process, and how long a copy of it takes to open in a fresh one.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import statistics
from pathlib import Path
from typing import Final

import vfs_db
from bench.scale import anonymous, child

__all__ = ["report"]

HELD: Final = 1000
CYCLES: Final = 1_000_000
SAMPLES: Final = 10
OPENS: Final = 7
DATA: Final = bytes(range(256)) * 4


def report(folder: Path, percent: int, plots: Path | None) -> None:
    """Churn, print a line for each measurement, and draw them into the folder *plots*, if one is given."""
    columns = _churn(folder, max(CYCLES * percent // 100, SAMPLES))
    done = [int(number) for number in columns.pop("cycles")]
    print(f"| a filesystem of {HELD:,} files, after | " + " | ".join(columns) + " |")
    print("| ---: |" + " ---: |" * len(columns))
    for row in zip(done, *columns.values(), strict=True):
        print(f"| {row[0]:,} | " + " | ".join(f"{value:,.2f}".removesuffix(".00") for value in row[1:]) + " |")
    _draw(done, columns, plots)


def _churn(folder: Path, cycles: int) -> dict[str, list[float]]:
    choose = random.Random(1)
    columns: dict[str, list[float]] = {
        "cycles": [],
        "highest id": [],
        "on disk, MiB": [],
        "on disk after compact, MiB": [],
        "open, ms": [],
        "memory, MiB": [],
    }
    image, copy = folder / "churn", folder / "copy"
    with vfs_db.open(image) as fs:
        names = [f"{number % 10}/{number}" for number in range(HELD)]
        for number in range(10):
            fs.dir_create(str(number))
        for name in names:
            fs.file_write(name, DATA)
        highest = fs.last_inserted_id
        for sample in range(SAMPLES + 1):
            for number in range(cycles // SAMPLES if sample else 0):
                at = choose.randrange(HELD)
                fs.file_delete(names[at])
                names[at] = f"{choose.randrange(10)}/{sample}.{number}"
                fs.file_create(names[at])
                highest = max(highest, fs.last_inserted_id)
                fs.file_write(names[at], DATA[: choose.randrange(1, len(DATA))])
            fs.sync()
            before = _allocated(image)
            fs.compact(keep_history=False)
            fs.backup(copy)
            opens = [child("bench.scale_files", "open", copy, 0) for _ in range(OPENS)]
            shutil.rmtree(copy)
            values = (
                sample * (cycles // SAMPLES), highest, before, _allocated(image), statistics.median(opens) * 1e3,
                anonymous() / 2**20,
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        assert list(fs.check()) == []
        assert sum(len(files) for _, _, files in fs.walk()) == HELD
    return columns


def _allocated(image: Path) -> float:
    """Return how much disk space *image* takes, in MiB."""
    return sum(path.stat().st_blocks for path in image.rglob("*")) * 512 / 2**20


def _draw(done: list[int], columns: dict[str, list[float]], plots: Path | None) -> None:
    if plots is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        print("\nmatplotlib is not installed, so churn.svg is not drawn. `pip install '.[bench]'` adds it.")
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "churn"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for name, values in columns.items():
            first = next(value for value in values if value)
            if name != "on disk, MiB":
                axes.plot(done, [value / first for value in values], marker="o", label=name.partition(",")[0])
        axes.set(xlabel=f"files deleted and made anew, of {HELD:,}", ylabel="of what it was at first")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        plots.mkdir(parents=True, exist_ok=True)
        figure.savefig(plots / "churn.svg", metadata={"Date": None})
