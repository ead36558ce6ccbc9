"""An embedded store of settings that remembers each version of them, and takes changes back.

python examples/config_store.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
import tempfile

import ourdb

SETTINGS = 1


class Settings:
    """A dictionary under one record; each change is a commit, and OurDB keeps the earlier ones."""

    def __init__(self, path: str) -> None:
        self._db = ourdb.new(path=path, incremental_mode=False)
        if SETTINGS not in self._db:
            self._db.set(id=SETTINGS, data=b"{}")

    def all(self, back: int = 0) -> dict[str, object]:
        """Return the settings as they are, or as they were *back* changes ago."""
        values: dict[str, object] = json.loads(self._db.get_history(SETTINGS, back + 1)[back])
        return values

    def change(self, **values: object) -> None:
        """Set *values*; when this returns they survive a killed process."""
        self._save({**self.all(), **values})

    def undo(self) -> None:
        """Make the version before the present one the newest; undoing twice brings it back."""
        self._save(self.all(back=1))

    def _save(self, values: dict[str, object]) -> None:
        self._db.set(id=SETTINGS, data=json.dumps(values).encode())

    def close(self) -> None:
        """Make all durable."""
        self._db.close()


if __name__ == "__main__":
    settings = Settings(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    settings.change(colour="green", size=3)
    settings.change(colour="red")
    print("now:   ", settings.all())
    print("before:", settings.all(back=1))
    settings.undo()
    print("undone:", settings.all())
    settings.close()
