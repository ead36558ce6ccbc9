"""A shell to look around in a filesystem inside a database: `python -m vfs_db.shell PATH`, or `vfs-shell PATH`."""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the shell with *argv* (default: the command line) and return its exit status: 0, 1 (a command failed), 2 (usage)."""
    if argv is None:
        import argparse
        import gc

        # What a start makes is there until the process ends; looking for garbage in it, then and at the end, takes as
        # long as opening a filesystem.
        gc.freeze()
        # argparse looks on the disk for a translation of each of its words, and imports tables of all languages for that:
        # more than a millisecond, for nothing, as the shell's own words have none.
        argparse._ = str  # type: ignore[attr-defined]
    from vfs_db.shell.program import run

    status = run(argv)
    if argv is None:
        gc.freeze()
    return status
