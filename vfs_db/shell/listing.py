"""How entries are shown: mode letters, sizes, times, columns."""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from typing import Final

from vfs_db.entries import Directory, FSEntry, Symlink

__all__ = ["as_json", "columns", "human_size", "long_lines", "mode_letters"]

_KINDS: Final = {0: stat.S_IFREG, 1: stat.S_IFDIR, 2: stat.S_IFLNK}
_HALF_YEAR_SECONDS: Final = 365.2425 * 86400 / 2


def mode_letters(entry: FSEntry) -> str:
    """Return `drwxr-xr-x` and the like."""
    metadata = entry.get_metadata()
    return stat.filemode(_KINDS[int(metadata.file_type)] | metadata.mode)


def human_size(size: int) -> str:
    """Return *size* as `ls -h` shows it: 1023, 1.0K, 15M."""
    if size < 1024:
        return str(size)
    value = float(size)
    for unit in "KMGTPE":
        value /= 1024
        if value < 1023.95 or unit == "E":
            break
    # Rounded up, as coreutils does: what is shown is never less than what is there.
    if value < 9.95:
        return f"{-(-value * 10 // 1) / 10:.1f}{unit}"
    return f"{int(-(-value // 1))}{unit}"


def _time(seconds: int) -> str:
    moment = time.localtime(seconds)
    is_recent = 0 <= time.time() - seconds < _HALF_YEAR_SECONDS
    return time.strftime("%b %e %H:%M" if is_recent else "%b %e  %Y", moment)


def long_lines(named: Sequence[tuple[str, FSEntry]], *, human: bool) -> list[str]:
    """Return the lines of `ls -l` for (shown name, entry)."""
    rows = []
    for name, entry in named:
        metadata = entry.get_metadata()
        # A link's size is its target's length, as lstat(2) has it.
        count = len(entry.target.encode("utf-8", "surrogateescape")) if isinstance(entry, Symlink) else metadata.size
        size = human_size(count) if human else str(count)
        arrow = f" -> {entry.target}" if isinstance(entry, Symlink) else ""
        rows.append(
            (mode_letters(entry), metadata.owner, metadata.group, size, _time(metadata.modified_at), name + arrow)
        )
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    return [
        f"{mode} 1 {owner:{widths[1]}} {group:{widths[2]}} {size:>{widths[3]}} {when:>{widths[4]}} {name}"
        for mode, owner, group, size, when, name in rows
    ]


def columns(names: list[str], width: int) -> list[str]:
    """Return *names* in columns, filled downwards, within *width* characters."""
    if not names:
        return []
    longest = max(map(len, names)) + 2
    count = max(1, min(len(names), (width + 2) // longest))
    rows = -(-len(names) // count)
    return ["".join(name.ljust(longest) for name in names[row::rows]).rstrip() for row in range(rows)]


def as_json(path: str, entry: FSEntry) -> dict[str, object]:
    """Return an entry as the JSON that every command uses."""
    metadata = entry.get_metadata()
    value: dict[str, object] = {
        "path": path,
        "name": metadata.name,
        "type": metadata.file_type.name.lower(),
        "id": metadata.id,
        "size": metadata.size,
        "mode": f"{metadata.mode:04o}",
        "owner": metadata.owner,
        "group": metadata.group,
        "modified_at": metadata.modified_at,
        "created_at": metadata.created_at,
        "accessed_at": metadata.accessed_at,
    }
    if isinstance(entry, Symlink):
        value["target"] = entry.target
    if isinstance(entry, Directory):
        value.pop("size")
    return value
