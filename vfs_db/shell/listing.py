"""How entries are shown: mode letters, sizes, times, columns, colours."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.path import join

__all__ = [
    "LongLines",
    "Row",
    "as_given",
    "as_json",
    "cells",
    "colored",
    "columns",
    "entry_row",
    "human_size",
    "mode_letters",
    "shown_time",
]

_KINDS: Final = {0: stat.S_IFREG, 1: stat.S_IFDIR, 2: stat.S_IFLNK}
_HALF_YEAR_SECONDS: Final = 365.2425 * 86400 / 2


def as_given(operand: str, full: str, found: str) -> str:
    """Return *found*, a path at or below *full*, the way *operand*, which means *full*, began it."""
    rest = found[len(full.rstrip("/")) :].lstrip("/")
    return (join(operand, rest) if operand.rstrip("/") else f"/{rest}") if rest else operand


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
    is_recent = 0 <= time.time() - seconds < _HALF_YEAR_SECONDS
    return shown_time(seconds, "%b %e %H:%M" if is_recent else "%b %e  %Y")


def shown_time(seconds: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in local form, or as it is if it is none: an image may hold any 64 bits."""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(int(seconds))


class Row(NamedTuple):
    """What a line of `ls -l` tells; *size* in bytes, *modified_at* in seconds since 1970."""

    letters: str
    links: int
    owner: str
    group: str
    size: int
    modified_at: int
    name: str


def entry_row(name: str, entry: FSEntry, show: Callable[[str], str]) -> Row:
    """Return the row of *entry*, shown as *name*; *show* makes owner and group what may be shown."""
    metadata = entry.get_metadata()
    owner, group = show(metadata.owner), show(metadata.group)
    links = 2 if isinstance(entry, Directory) else 1  # as `attributes.stat_of` has it
    return Row(mode_letters(entry), links, owner, group, _size(entry), metadata.modified_at, name)


def _size(entry: FSEntry) -> int:
    # A link's size is its target's length, as lstat(2) has it.
    return len(entry.target.encode("utf-8", "surrogateescape")) if isinstance(entry, Symlink) else entry.metadata.size


class LongLines:
    """Makes the lines of `ls -l`, some rows at a time; a column that was wide once stays wide."""

    def __init__(self, *, human: bool) -> None:
        self._human = human
        self._widths = [0, 0, 0, 0, 0]

    def lines(self, rows: Iterable[Row]) -> list[str]:
        """Return a line for each of *rows*."""
        texts = [
            (
                str(row.links),
                row.owner,
                row.group,
                human_size(row.size) if self._human else str(row.size),
                _time(row.modified_at),
            )
            for row in rows
        ]
        self._widths = [max([old, *(len(row[at]) for row in texts)]) for at, old in enumerate(self._widths)]
        links, owner, group, size, when = self._widths
        return [
            f"{row.letters} {text[0]:>{links}} {text[1]:{owner}} {text[2]:{group}} {text[3]:>{size}} "
            f"{text[4]:>{when}} {row.name}"
            for row, text in zip(rows, texts, strict=True)
        ]


def cells(text: str) -> int:
    """Return how many columns of a terminal *text* takes: letters of East Asia and most emoji take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def columns(names: Sequence[str], width: int) -> Iterator[list[tuple[str, int]]]:
    """Yield rows of (name, spaces after it): *names* in columns, filled downwards, as many as go within *width*."""
    widths = [cells(name) + 2 for name in names]
    count = min(len(names), max(1, (width + 2) // 3))
    while count > 1:
        rows = -(-len(names) // count)
        widest = [max(widths[start : start + rows]) for start in range(0, len(names), rows)]
        if sum(widest) - 2 <= width:
            break
        count = min(count - 1, len(widest) - 1 or 1)
    rows = -(-len(names) // max(count, 1))
    widest = [max(widths[start : start + rows]) for start in range(0, len(names), rows or 1)]
    for row in range(rows):
        places = range(row, len(names), rows)
        yield [
            (names[at], 0 if at == places[-1] else widest[column] - widths[at] + 2) for column, at in enumerate(places)
        ]


def colored(text: str, entry: FSEntry) -> str:
    """Return *text*, a name, in the colour that `ls` gives to the kind of *entry*."""
    if isinstance(entry, Directory):
        color = "01;34"
    elif isinstance(entry, Symlink):
        color = "01;36"
    elif entry.metadata.mode & 0o111:
        color = "01;32"
    else:
        return text
    return f"\x1b[{color}m{text}\x1b[0m"


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
