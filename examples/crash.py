"""Kill a process that writes, and show that everything it had acknowledged is there.

python examples/crash.py
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile

import vfs_db


def write_without_end(folder: str) -> None:
    """Write files, and print the name of each once it is written."""
    with vfs_db.open(folder) as fs:
        for number in itertools.count():
            with fs.transaction():
                fs.write_text(f"file{number}", f"content of {number}")
                fs.link_create(f"/file{number}", f"link{number}")
            print(number, flush=True)


def crash(folder: str, after: int) -> int:
    """Kill a writer with SIGKILL once it has acknowledged *after* files; return how many it had acknowledged."""
    command = [sys.executable, __file__, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [next(writer.stdout) for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.read().splitlines(keepends=True)
    return sum(line.endswith("\n") for line in acknowledged)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_without_end(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        count = crash(scratch, 500)
        with vfs_db.open(scratch) as fs:
            there = sum(fs.read_text(f"link{number}") == f"content of {number}" for number in range(count))
            problems = list(fs.check())
        print(f"acknowledged before SIGKILL: {count}, there afterwards: {there}, problems: {len(problems)}")
        sys.exit(0 if there == count and not problems else 1)
