"""Bounded caches. `Cache` has two generations, the older of which is forgotten when the younger is full.

What is used while in the older generation comes back to the younger; so what is in use stays, at the cost of two lookups.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Final, Generic, TypeVar

__all__ = ["Cache", "Prefixes"]

_T = TypeVar("_T")

_PREFIXES_MAX: Final = 4 << 20
_PREFIX_WEIGHT: Final = 100
"""Bytes of a path's id, and its place in the dictionary."""


class Cache(Generic[_T]):
    """Holds values of at most twice *weight_max* together, and one besides. Reading `young` needs no lock, all else does."""

    def __init__(self, weight_max: int) -> None:
        self.young: dict[int, _T] = {}
        self._old: dict[int, _T] = {}
        self._weights: dict[int, int] = {}
        self._old_weights: dict[int, int] = {}
        self._weight_max = weight_max
        self._weight = 0

    def get(self, key: int) -> _T | None:
        """Return the value of *key*, None if it is not held."""
        value = self.young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: int, value: _T, weight: int) -> None:
        """Hold *value* under *key*."""
        self._old.pop(key, None)
        self._weight += weight - self._weights.get(key, 0)
        if self._weight > self._weight_max:
            self.young.pop(key, None)
            self._old, self._old_weights = self.young, self._weights
            self.young, self._weights = {}, {}
            self._weight = weight
        self.young[key] = value
        self._weights[key] = weight

    def grown(self, key: int, weight: int) -> _T | None:
        """Return the value of *key*, which the caller makes larger by *weight*; None if it is not held."""
        value = self.young.get(key)
        if value is not None and self._weight + weight <= self._weight_max:
            self._weights[key] += weight
            self._weight += weight
            return value
        return self._grown(key, weight)

    def _grown(self, key: int, weight: int) -> _T | None:
        value = self.get(key)
        if value is not None:
            weights = self._weights if key in self.young else self._old_weights
            self.put(key, value, weights[key] + weight)
        return value

    def pop(self, key: int) -> None:
        """Forget *key*."""
        self._weight -= self._weights.pop(key, 0)
        self.young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self.young, self._weights = {}, {}
        self._old, self._old_weights = {}, {}
        self._weight = 0


class Prefixes(dict[str, int]):
    """The ids of directories by path, where no link is passed. Any thread may use it: what is lost is looked for again."""

    __slots__ = ("_weight",)

    def __init__(self) -> None:
        super().__init__()
        self._weight = 0

    def keep(self, path: str, directory_id: int) -> None:
        """Hold *directory_id* under *path*, and none of the others where all would be too many bytes."""
        self._weight += _PREFIX_WEIGHT + getsizeof(path)
        if self._weight > _PREFIXES_MAX:
            self.clear()
            self._weight = _PREFIX_WEIGHT + getsizeof(path)
        self[path] = directory_id
