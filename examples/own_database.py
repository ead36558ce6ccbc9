"""A filesystem over a database of one's own: a dict, with a log of what is asked of it.

    python examples/own_database.py

The same three methods over Redis, S3 or an SQL table make a filesystem there.
"""

from __future__ import annotations

import logging

import vfs_db


class LoggedDict:
    """All that a database must have: get, set and delete."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)
        self._records: dict[int, bytes] = {}

    def get(self, id: int) -> bytes:
        """Return a record; KeyError, which is a LookupError, if there is none."""
        data = self._records[id]
        self._log.info("get %d: %d bytes", id, len(data))
        return data

    def set(self, *, data: bytes, id: int | None = None) -> int:
        """Store a record. Without an `incremental_mode` that is true, an id is always given."""
        assert id is not None
        self._log.info("set %d: %d bytes", id, len(data))
        self._records[id] = bytes(data)
        return id

    def delete(self, id: int) -> None:
        """Forget a record."""
        self._log.info("delete %d", id)
        del self._records[id]


if __name__ == "__main__":
    logging.basicConfig(format="%(name)-8s %(message)s", level=logging.INFO)
    content, entries = LoggedDict("data"), LoggedDict("metadata")
    fs = vfs_db.new(content, entries)
    fs.write_text("hello.txt", "Hello")
    fs.close()
    again = vfs_db.new(content, entries)
    print(again.read_text("hello.txt"), list(again.check()))
