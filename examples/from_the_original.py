"""Move an image that the original wrote into a filesystem that can be written, and show what came along.

    python examples/from_the_original.py SOURCE DESTINATION

SOURCE holds two OurDB folders, `data` and `metadata`, as the original leaves them. It is only read.
"""

from __future__ import annotations

import os
import sys

import ourdb
import vfs_db


def convert(source: str, destination: str) -> int:
    """Convert, list, and return how many entries were damaged in the source."""
    problems = vfs_db.convert(source, destination)
    for problem in problems:
        print(f"not moved whole: {problem}")
    with vfs_db.open(destination) as fs:
        fs.print(sys.stdout)
        assert list(fs.check()) == []
    return len(problems)


def show(source: str) -> None:
    """Say what the two databases hold, without writing to them."""
    for name in ("data", "metadata"):
        with ourdb.new(path=os.path.join(source, name), read_only=True) as db:
            print(f"{name}: {len(db)} records")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    show(sys.argv[1])
    sys.exit(1 if convert(sys.argv[1], sys.argv[2]) else 0)
