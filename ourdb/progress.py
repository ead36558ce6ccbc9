"""How far long work has come, told to whoever asked: bytes done, of how many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from ourdb.record_files import RecordFiles
from ourdb.snapshot import Snapshot

__all__ = ["Progress", "Work", "bytes_in", "records_in"]

Progress = Callable[[int, int], object]
"""Called with the bytes done and those in all, often, and never after the work has ended; an error from it ends the work."""

_ITEMS: Final = 64
_T = TypeVar("_T")


class Work:
    """Counts what is done and tells *progress*; without one it does nothing, and *in_all* is not asked how much there is."""

    def __init__(self, progress: Progress | None, in_all: Callable[[], int]) -> None:
        self._progress = progress
        self._in_all = 0 if progress is None else in_all()
        self._done = 0

    def add(self, size: int) -> None:
        """Count *size* more bytes as done."""
        if self._progress is not None and self._in_all:
            self._done = min(self._done + size, self._in_all)
            self._progress(self._done, self._in_all)

    def over(self, items: Iterable[_T], count: Callable[[], int], size: int | None = None) -> Iterator[_T]:
        """Pass *items* on, some *count* of them, which make *size* bytes together (None: the rest), each as many as another."""
        if self._progress is None:
            return iter(items)
        return self._counted(items, max(1, count()), self._in_all - self._done if size is None else size)

    def _counted(self, items: Iterable[_T], count: int, size: int) -> Iterator[_T]:
        start = self._done
        for number, item in enumerate(items):
            if number % _ITEMS == 0:
                self.add(start + size * min(number, count) // count - self._done)
            yield item
        self.add(start + size - self._done)


def bytes_in(files: RecordFiles) -> int:
    """Return the size of all record files together."""
    return sum(map(files.size, files.numbers()))


def records_in(then: Snapshot) -> int:
    """Return how many records there are, without a pass over all of them as `len` makes; beside a writer, about how many."""
    table = then.store.table
    return table.count() + sum(
        bool(location) - bool(table.slot(record_id)) for record_id, location in then.changes().items()
    )
