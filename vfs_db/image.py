"""Images of the reference's latest kind: every save of an entry stands under a new key, and only memory knew which is newest.

One scan finds it: keys ascending, the last readable record of an entry id wins. What no directory lists (records of deleted
entries linger under older keys) is not shown. Such an image is read, never written; `convert` makes a filesystem of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from vfs_db import codec
from vfs_db.database import Database

__all__ = ["Frozen", "NewestEntries", "is_image"]

_LOOK: Final = 64
"""Records looked at: the first change of an image saves its root once more, under another key."""


def is_image(metadata: Database) -> bool:
    """Say whether *metadata* keeps entries under keys that are not their ids. Looks at a few of its first records."""
    if not getattr(metadata, "incremental_mode", False) or not isinstance(metadata, Iterable):
        return False
    return any(key != entry_id for key, entry_id in islice(_entry_ids(metadata), _LOOK))


def _entry_ids(metadata: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - a database that can be iterated
    """Yield (key, id of the entry there), keys ascending; what can't be read is passed over."""
    for key in metadata:
        try:
            data = metadata.get(key)
            yield key, codec.decode(data).metadata.id
        except (codec.CorruptEntry, LookupError):
            continue
        except Exception as error:
            if type(error).__name__ != "CorruptRecord":  # the core imports no database
                raise


class Frozen:
    """A database of an image, for reading only."""

    read_only = True
    incremental_mode = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path: str = getattr(database, "path", os.curdir)

    def get(self, id: int) -> bytes:
        return self._database.get(id)

    def set(self, *, data: bytes, id: int | None = None) -> int:  # noqa: ARG002 - the protocol's
        raise PermissionError("an image of this kind is only read; convert() makes a filesystem of it")

    def delete(self, id: int) -> None:  # noqa: ARG002 - the protocol's
        raise PermissionError("an image of this kind is only read; convert() makes a filesystem of it")

    def close(self) -> None:
        close = getattr(self._database, "close", None)
        if close is not None:
            close()


class NewestEntries(Frozen):
    """The metadata database of an image, by entry id. Costs one scan, and some 100 bytes an entry in memory."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._key_of = {entry_id: key for key, entry_id in _entry_ids(database)}

    def get(self, id: int) -> bytes:
        return super().get(self._key_of[id])
