"""`python -m tests.releases.make`: keep what this release writes, for later ones to open: `tests/releases/VERSION.tar.xz`.

To be run once, at a release. Never make an archive anew: it stands for folders that are out there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

import ourdb
import vfs_db
from tests.crash.cuts import tree_of

__all__ = ["content_of", "summary_of"]

HERE: Final = Path(__file__).parent
SMALL: Final[dict[str, Any]] = {"record_nr_max": 3000, "keysize": 6, "file_size": 5000}


def content_of(db: ourdb.OurDB) -> dict[str, list[str]]:
    """Return each id's versions, newest first, as hex, in what JSON can hold."""
    return {str(record_id): [version.hex() for version in db.get_history(record_id, 100)] for record_id in db}


def summary_of(fs: vfs_db.DatabaseVFS) -> dict[str, list[Any]]:
    """Return the tree, with a digest in place of each file's bytes, in what JSON can hold."""
    return {
        path: [hashlib.sha256(fact).hexdigest() if isinstance(fact, bytes) else fact for fact in facts]
        for path, facts in tree_of(fs).items()
    }


def _fill(db: ourdb.OurDB) -> None:
    ids = [db.set(data=b"%d" % number * 50) for number in range(60)]
    for record_id in ids[::3]:
        db.set(id=record_id, data=b"changed")
    db.delete_many(ids[::7])


def _grow(fs: vfs_db.DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.file_write("a/large", bytes(range(256)) * 600)
    fs.file_write("a/b/small", b"small")
    fs.link_create("/a/b", "link")
    fs.chmod("a/b/small", 0o600)
    fs.copy("a", "copy")
    fs.rename("copy/b", "moved")
    fs.delete("copy/large")
    with fs.transaction():  # more names than version 1 of an entry takes
        for number in range(1030):
            fs.file_create(f"a/b/{number}")


def _open(place: Path) -> vfs_db.DatabaseVFS:
    return vfs_db.new(*(ourdb.new(place / name, incremental_mode=False, **SMALL) for name in ("data", "metadata")))


def _make(folder: Path) -> dict[str, Any]:
    """Write the folders `closed`, `killed` (databases), `tree` and `killed-tree`; return what each holds."""
    made: dict[str, Any] = {}
    with ourdb.new(folder / "closed", **SMALL) as db:
        _fill(db)
        made["closed"] = content_of(db)
    with ourdb.new(folder / "killing", **SMALL) as db:
        _fill(db)
        db.sync()
        _fill(db)
        made["killed"] = content_of(db)
        shutil.copytree(folder / "killing", folder / "killed")
    with _open(folder / "tree") as fs:
        _grow(fs)
        made["tree"] = summary_of(fs)
    with _open(folder / "killing-tree") as fs:
        _grow(fs)
        made["killed-tree"] = summary_of(fs)
        shutil.copytree(folder / "killing-tree", folder / "killed-tree")
    return made


def _version() -> str:
    with (HERE.parents[1] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def main() -> None:
    target = HERE / f"{_version()}.tar.xz"
    with tempfile.TemporaryDirectory() as place, tarfile.open(target, "x:xz") as archive:
        made = _make(Path(place))
        raw = json.dumps(made).encode()
        info = tarfile.TarInfo("content.json")
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
        for name in sorted(made):
            archive.add(os.path.join(place, name), name)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    main()
