"""Sets of ids, and maps from ids to ids, in few bytes: ids are given out in order, so of each run most are there."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["IdMap", "IdSet"]

_RUN: Final = 16


class IdSet:
    """Ids, 0 and up: two bytes each where they are dense, at most a hundred where each stands alone."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: dict[int, int] = {}
        """Id // 64 -> a bit for each of 64 ids; empty when the set is, which is quicker to see than to ask for an id."""

    def add(self, one_id: int) -> None:
        """Put one id in."""
        run = one_id >> 6
        self.runs[run] = self.runs.get(run, 0) | 1 << (one_id & 63)

    def update(self, ids: Iterable[int]) -> None:
        """Put *ids* in."""
        runs = self.runs
        for one_id in ids:
            run = one_id >> 6
            runs[run] = runs.get(run, 0) | 1 << (one_id & 63)

    def discard(self, one_id: int) -> None:
        """Take *one_id* out, if it is there."""
        run = one_id >> 6
        left = self.runs.get(run, 0) & ~(1 << (one_id & 63))
        if left:
            self.runs[run] = left
        else:
            self.runs.pop(run, None)

    def __contains__(self, one_id: object) -> bool:
        return isinstance(one_id, int) and bool(self.runs.get(one_id >> 6, 0) >> (one_id & 63) & 1)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __iter__(self) -> Iterator[int]:
        for run, bits in self.runs.items():
            left = bits
            while left:
                lowest = left & -left
                yield (run << 6) + lowest.bit_length() - 1
                left ^= lowest

    def highest(self) -> int:
        """Return the highest id, 0 of none. Costs a look at each run."""
        run = max(self.runs, default=0)
        return max(0, (run << 6) + self.runs.get(run, 0).bit_length() - 1)


class IdMap:
    """Ids, each with another that is not 0: 15 bytes each where they are dense, some 250 where each stands alone."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[int, array[int]] = {}

    def setdefault(self, one_id: int, value: int) -> int:
        """Return the value of *one_id*, which becomes *value* where it has none."""
        run = self._runs.get(one_id // _RUN)
        if run is None:
            run = self._runs[one_id // _RUN] = array("I", bytes(4 * _RUN))
        at = one_id % _RUN
        if not run[at]:
            run[at] = value
        return run[at]

    def __contains__(self, one_id: int) -> bool:
        run = self._runs.get(one_id // _RUN)
        return run is not None and bool(run[one_id % _RUN])

    def highest(self) -> int:
        """Return the highest id, 0 of none."""
        last = max(self._runs, default=0)
        run = self._runs.get(last, ())
        return max((last * _RUN + at for at, value in enumerate(run) if value), default=0)
