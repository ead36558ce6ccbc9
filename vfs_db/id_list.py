"""A list of ids, kept as the bytes that an entry holds on disk.

Four bytes per id instead of an object each, and adding one to a long list copies memory instead of encoding it anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

__all__ = ["NO_IDS", "IdList", "id_list"]

_U32: Final = struct.Struct("<I")


class IdList(Sequence[int]):
    """An immutable sequence of u32 ids. Equal to any sequence of the same ids."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes = b"") -> None:
        self.packed = packed

    def added(self, ids: Iterable[int]) -> IdList:
        """Return a list with *ids* at the end."""
        return IdList(self.packed + b"".join(map(_U32.pack, ids)))

    def added_one(self, one_id: int) -> IdList:
        """Return a list with *one_id* at the end."""
        return IdList(self.packed + _U32.pack(one_id))

    def without(self, one_id: int) -> IdList:
        """Return a list without the first *one_id*. Raises ValueError when it isn't there."""
        at = self.index(one_id) * 4
        return IdList(self.packed[:at] + self.packed[at + 4 :])

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Return the first index of *value* from *start* on. Raises ValueError."""
        if isinstance(value, int) and 0 <= value < 1 << 32:
            key = _U32.pack(value)
            end = len(self.packed) if stop is None else min(stop * 4, len(self.packed))
            at = self.packed.find(key, start * 4, end)
            while at >= 0:
                if at % 4 == 0:
                    return at // 4
                at = self.packed.find(key, at + 1, end)
        raise ValueError(f"{value!r} is not in the list")

    def __contains__(self, value: object) -> bool:
        try:
            self.index(value)
        except ValueError:
            return False
        return True

    def __len__(self) -> int:
        return len(self.packed) // 4

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> IdList: ...
    def __getitem__(self, index: int | slice) -> int | IdList:
        if index.__class__ is int and index >= 0:
            try:
                only: int = _U32.unpack_from(self.packed, index * 4)[0]
            except struct.error:
                raise IndexError(f"index {index} of a list of {len(self)} ids") from None
            return only
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return IdList(self.packed[start * 4 : max(start, stop) * 4])
            return id_list([self[at] for at in range(start, stop, step)])
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"index {index} of a list of {count} ids")
        value: int = _U32.unpack_from(self.packed, index % count * 4)[0]
        return value

    def __iter__(self) -> Iterator[int]:
        return iter(struct.unpack(f"<{len(self)}I", self.packed))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IdList):
            return self.packed == other.packed
        if isinstance(other, (list, tuple)):
            return list(self) == list(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.packed)

    def __repr__(self) -> str:
        return repr(list(self))


def id_list(ids: Iterable[int]) -> IdList:
    """Return *ids* as an IdList. Raises ValueError for one outside 0 to 2^32 - 1."""
    if isinstance(ids, IdList):
        return ids
    ids = list(ids)
    try:
        return IdList(struct.pack(f"<{len(ids)}I", *ids))
    except struct.error as error:
        raise ValueError(f"ids must be integers from 0 to 4294967295, found {ids!r:.200}") from error


NO_IDS: Final = IdList()
