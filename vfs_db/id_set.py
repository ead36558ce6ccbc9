"""A set of ids in few bytes: they are given out in order, so a set of many has most of each run of 64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["IdSet"]


class IdSet:
    """Ids, 0 and up: two bytes each where they are dense, at most a hundred where each stands alone."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[int, int] = {}
        """Id // 64 -> a bit for each of 64 ids."""

    def update(self, ids: Iterable[int]) -> None:
        """Put *ids* in."""
        runs = self._runs
        for one_id in ids:
            run = one_id >> 6
            runs[run] = runs.get(run, 0) | 1 << (one_id & 63)

    def discard(self, one_id: int) -> None:
        """Take *one_id* out, if it is there."""
        run = one_id >> 6
        left = self._runs.get(run, 0) & ~(1 << (one_id & 63))
        if left:
            self._runs[run] = left
        else:
            self._runs.pop(run, None)

    def __contains__(self, one_id: object) -> bool:
        return isinstance(one_id, int) and bool(self._runs.get(one_id >> 6, 0) >> (one_id & 63) & 1)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __iter__(self) -> Iterator[int]:
        for run, bits in self._runs.items():
            left = bits
            while left:
                lowest = left & -left
                yield (run << 6) + lowest.bit_length() - 1
                left ^= lowest
