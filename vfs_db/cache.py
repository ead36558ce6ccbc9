"""A bounded cache: two generations, the older of which is forgotten when the younger is full.

What is used while in the older generation comes back to the younger; so what is in use stays, at the cost of two lookups.
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Cache"]

_T = TypeVar("_T")


class Cache(Generic[_T]):
    """Holds values of at most twice *weight_max* together. Reading `young` needs no lock, all else does."""

    def __init__(self, weight_max: int) -> None:
        self.young: dict[int, _T] = {}
        self._old: dict[int, _T] = {}
        self._weight_max = weight_max
        self._weight = 0

    def get(self, key: int) -> _T | None:
        """Return the value of *key*, None if it is not held."""
        value = self.young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: int, value: _T, weight: int = 1) -> None:
        """Hold *value* under *key*."""
        self._old.pop(key, None)
        if self._weight + weight > self._weight_max:
            self._old = self.young
            self.young = {}
            self._weight = 0
            self._old.pop(key, None)
        self._weight += weight
        self.young[key] = value

    def pop(self, key: int) -> None:
        """Forget *key*."""
        self.young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self.young = {}
        self._old = {}
        self._weight = 0
