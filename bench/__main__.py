"""`python -m bench`: one table of what the packages cost beside their peers, on this machine, now.

The ratio is the peer's time over ours, each the median of rounds that were run in turn; above 1 ours is faster.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import files, records, shell
from bench.measure import Group, Row, measure

GROUPS: tuple[Group, ...] = (*records.GROUPS, *files.GROUPS, *shell.GROUPS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named on the command line, or all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"any of {', '.join(group.name for group in GROUPS)}")
    parser.add_argument("--dir", type=Path, help="where to put the data (a new folder there); not on a memory disk")
    parser.add_argument("--percent", type=int, default=100, help="of the full sizes; less is quicker and says less")
    parser.add_argument("--scale", action="store_true", help="cost by number of records, 10^3 to 10^6, instead")
    parser.add_argument("--churn", action="store_true", help="what grows over a million creates and deletes, instead")
    parser.add_argument(
        "--plot", type=Path, help="with --scale or --churn: draw its tables into this folder (needs matplotlib)"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {group.name for group in GROUPS}
    if unknown:
        parser.error(f"no benchmark is called {min(unknown)}")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
        if options.churn:
            from bench import churn

            churn.report(Path(folder), options.percent, options.plot)
        elif options.scale:
            from bench import scale, scale_files

            scale.report(Path(folder), options.percent, options.plot)
            print()
            scale_files.report(Path(folder), options.percent, options.plot)
        else:
            chosen = [group for group in GROUPS if not options.names or group.name in options.names]
            _print_table(row for group in chosen for row in measure(group, Path(folder), options.percent))
            _print_missing(chosen)
        print(f"\n{machine(Path(folder))}")
    return 0


def _print_table(rows: Iterable[Row]) -> None:
    print("| work | ours, µs | peer | peer, µs | ratio | at least | aim | |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for row in rows:
        print(
            f"| {row.work} | {_microseconds(row.seconds)} | {row.peer} | {_microseconds(row.peer_seconds)} "
            f"| {row.ratio:.2f} | {_ratio(row.at_least)} | {_ratio(row.aim)} | {row.verdict} |",
            flush=True,
        )


def _print_missing(groups: Iterable[Group]) -> None:
    missing = sorted({name for group in groups for name in group.missing})
    if missing:
        print(f"\nNot installed, so not measured: {', '.join(missing)}. `pip install '.[bench]'` adds them.")


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.2f}" if seconds < 1e-3 else f"{seconds * 1e6:,.0f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def machine(folder: Path) -> str:
    """Describe what the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return (
        f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, {_filesystem(folder)}, "
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _filesystem(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown filesystem"
    found = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    holding = [(len(point), kind) for point, kind in found if folder.resolve().is_relative_to(point)]
    return max(holding)[1]


if __name__ == "__main__":
    sys.exit(main())
