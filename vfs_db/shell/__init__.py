"""A shell to look around in a filesystem inside a database: `python -m vfs_db.shell PATH`, or `vfs-shell PATH`."""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the shell with *argv* (default: the command line) and return its exit status: 0, 1 (a command failed), 2 (usage)."""
    from vfs_db.shell.program import run

    return run(argv)
