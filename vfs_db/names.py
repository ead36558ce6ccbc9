"""What is kept of the names in one directory, in few bytes: those that were looked up, and a hash of every other.

A hash says where to look, not what is there: the entry that it leads to is read, and asked for its name and its directory.
"""

from __future__ import annotations

import errno
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from vfs_db import codec
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.page import Page

__all__ = ["KNOWN_WEIGHT", "Names", "key_of", "listed", "read_names"]

KNOWN_WEIGHT: Final = 200
"""Bytes that a name which was looked up takes: its text, its id, its place in a dictionary."""
_HASH_WEIGHT: Final = 8
_ID_MASK: Final = 0xFFFF_FFFF


def key_of(name: bytes) -> int:
    """Return what stands for *name* among hashes. Differs from process to process, so that nobody can choose collisions."""
    return hash(name) & _ID_MASK


class Names(dict[str, int]):
    """Names and their entries' ids: all that are in a directory, or those looked up or changed, and hashes of the others.

    *damage*: why some of the directory's entries could not be read.
    """

    __slots__ = ("_hashes", "damage")

    def __init__(self, keys: Iterable[tuple[int, int]] | None = None) -> None:
        """Take (key, id) of every name in the directory, where a key is what `key_of` gives. None: all will be put in."""
        super().__init__()
        self.damage = ""
        self._hashes = None if keys is None else array("Q", sorted(key << 32 | one_id for key, one_id in keys))

    def copied(self) -> Names:
        """Return names of their own that can be changed."""
        names = Names()
        names.update(self)
        names.damage = self.damage
        names._hashes = None if self._hashes is None else self._hashes[:]
        return names

    def weight(self) -> int:
        """Return about how many bytes are held."""
        return KNOWN_WEIGHT * (len(self) + 1) + _HASH_WEIGHT * len(self._hashes or ())

    def ids_of(self, name: str) -> list[int]:
        """Return the ids of the entries that may have *name*, which is not among those looked up: a few at most."""
        hashes = self._hashes
        if hashes is None:
            return []
        try:
            low = key_of(name.encode("utf-8", "surrogateescape")) << 32
        except UnicodeEncodeError:
            return []
        at = bisect_left(hashes, low)
        found = []
        while at < len(hashes) and hashes[at] ^ low <= _ID_MASK:
            found.append(hashes[at] & _ID_MASK)
            at += 1
        return found

    @property
    def is_complete(self) -> bool:
        """Say whether every name is here, and there are no hashes."""
        return self._hashes is None

    def forget_hashes(self, name: str, is_gone: Callable[[int, str], bool]) -> None:
        """Forget which entries may have *name*, as far as *is_gone* says that they have it no more."""
        hashes = self._hashes
        if hashes is None:
            return
        low = key_of(name.encode("utf-8", "surrogateescape")) << 32
        at = bisect_left(hashes, low)
        while at < len(hashes) and hashes[at] ^ low <= _ID_MASK:
            one_id = hashes[at] & _ID_MASK
            if is_gone(one_id, name):
                del hashes[at]
            else:
                at += 1


def listed(directory: Directory, known: Mapping[int, FSEntry | Page]) -> Names | None:
    """Return the names in *directory* where all its entries are *known*, else None; the first of two equal ones counts."""
    names = Names()
    for one_id in directory.children:
        entry = known.get(one_id)
        if not isinstance(entry, (Directory, File, Symlink)):
            return None
        if entry.parent_id == directory.metadata.id:
            names.setdefault(entry.metadata.name, one_id)
    return names


def read_names(
    ids: Sequence[int],
    known: Mapping[int, FSEntry | Page],
    get: Callable[[int], bytes],
    get_checked: Callable[[int], bytes],
) -> Names:
    """Return the names of the entries *ids*, of which those *known* are not read.

    *get* reads a record in whatever way is quick; when it fails, *get_checked* is asked for every one, and raises OSError.
    What can't be read (EIO, ENOTSUP) is left out, and noted.
    """
    with suppress(Exception):  # one by one it is met again, and told
        return Names([(_key(one_id, known.get(one_id), get), one_id) for one_id in ids])
    keys = []
    damage = ""
    for one_id in ids:
        try:
            keys.append((_key(one_id, known.get(one_id), get_checked), one_id))
        except codec.CorruptEntry as error:
            damage = damage or f"entry {one_id}: {error}"
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ENOTSUP):
                raise
            damage = damage or str(error.strerror)
    names = Names(keys)
    names.damage = damage
    return names


def _key(entry_id: int, entry: FSEntry | Page | None, get: Callable[[int], bytes]) -> int:
    if entry is None:
        return key_of(codec.name_of(get(entry_id), entry_id))
    if isinstance(entry, (Directory, File, Symlink)):
        return key_of(entry.metadata.name.encode("utf-8", "surrogateescape"))
    raise codec.CorruptEntry("the record holds a page")
