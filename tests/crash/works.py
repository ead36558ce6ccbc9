"""Pieces of work, each all or nothing, that are killed and failed at each of their calls to the operating system."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

import ourdb
import vfs_db
from ourdb.db import OurDB
from ourdb.disk import Disk
from ourdb.rebuilding import rebuild
from tests.crash.cuts import opened, tree_of
from tests.power_cut import QuickDisk
from vfs_db import DatabaseVFS

__all__ = ["WORKS", "SameBootDisk", "Work"]

WIDE: Final[dict[str, Any]] = {"record_nr_max": 60, "keysize": 6, "file_size": 700, "incremental_mode": False}
NARROW: Final[dict[str, Any]] = WIDE | {"keysize": 3, "file_size": 1 << 29}
TREE: Final[dict[str, Any]] = WIDE | {"record_nr_max": 400, "file_size": 9000}


class SameBootDisk(QuickDisk):
    """A disk whose syncs cost nothing, on the machine as it runs: a kill takes nothing that was written."""

    boot_id = Disk.boot_id


Opened = AbstractContextManager[Any]


@attrs.frozen
class Work:
    """*prepare* a folder; `do` opens what is in it, lets *change* loose on it, and closes; `look` gives what it holds then.

    *open_to_read* opens it without writing; None where a kill may leave what can't be read yet.
    """

    name: str
    change: Callable[[Any], object]
    prepare: Callable[[Path], object]
    open: Callable[[Path, Disk], Opened]
    found: Callable[[Any], Any]
    open_to_read: Callable[[Path], Opened] | None

    def do(self, folder: Path, disk: Disk) -> None:
        """Do it; the file `acknowledged` says that the change was told to be done."""
        with self.open(folder, disk) as handle:
            self.change(handle)
            (folder / "acknowledged").touch()

    def look(self, folder: Path, disk: Disk | None = None) -> Any:
        """Return what is in *folder*; it is sound, and stays the same when it is closed and opened once more."""
        with self.open(folder, disk or SameBootDisk()) as handle:
            found = self.found(handle)
            assert list(handle.check()) == []
        with self.open(folder, SameBootDisk()) as handle:
            assert self.found(handle) == found
        return found

    def read(self, folder: Path) -> Any:
        """Return what a reader finds in *folder*, as it was left; None where nothing may be found."""
        if self.open_to_read is None:
            return None
        with self.open_to_read(folder) as handle:
            return self.found(handle)


# Databases


def _content(db: OurDB) -> dict[int, list[bytes]]:
    return {record_id: db.get_history(record_id, 100) for record_id in db}


def _open_wide(folder: Path, disk: Disk) -> Opened:
    return OurDB(str(folder / "db"), WIDE, disk=disk)


def _open_narrow(folder: Path, disk: Disk) -> Opened:
    return OurDB(str(folder / "db"), NARROW, disk=disk)


def _open_full(folder: Path, disk: Disk) -> Opened:
    return OurDB(str(folder / "db"), WIDE, synchronous="full", disk=disk)


def _open_or_repair(folder: Path, disk: Disk) -> Opened:
    try:
        return OurDB(str(folder / "db"), {}, disk=disk)
    except ourdb.OurDBError:
        rebuild(str(folder / "db"), {}, disk=disk)
        return OurDB(str(folder / "db"), {}, disk=disk)


def _read_db(folder: Path) -> Opened:
    return OurDB(str(folder / "db"), {}, read_only=True)


def _fill(db: OurDB) -> None:
    for number in range(12):
        db.set(id=number % 8, data=b"%d-" % number * 30)
    db.delete(3)


def _filled(config: dict[str, Any]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        with OurDB(str(folder / "db"), config, disk=SameBootDisk()) as db:
            _fill(db)
            db.export_data(str(folder / "exported"))
            db.set(id=9, data=b"not in the exported table")

    return prepare


def _killed(folder: Path) -> None:
    with OurDB(str(folder / "open"), WIDE, disk=SameBootDisk()) as db:
        _fill(db)
        db.sync()
        db.set_many([(number, b"y" * number * 20) for number in range(20, 30)])
        db.delete_many([1, 22])
        shutil.copytree(folder / "open", folder / "db")
    shutil.rmtree(folder / "open")


def _damaged(folder: Path) -> None:
    _killed(folder)
    identity = folder / "db" / "lookup" / ".ourdb"
    raw = bytearray(identity.read_bytes())
    raw[20] ^= 1
    identity.write_bytes(raw)


def _nothing(_: object) -> None:
    pass


def _transaction(db: OurDB) -> None:
    with db.transaction():
        db.set_many([(number, b"in a transaction" * number) for number in range(5, 20)])
        db.delete(6)
        db.set(id=1, data=b"")


def _import(db: OurDB) -> None:
    db.import_data(str(Path(db.path).parent / "exported"))


def _database(name: str, change: Callable[[OurDB], object], **parts: Any) -> Work:
    given: dict[str, Any] = {
        "prepare": _filled(WIDE),
        "open": _open_wide,
        "found": _content,
        "open_to_read": _read_db,
    } | parts
    return Work(name, change, **given)


# Filesystems


@contextmanager
def _open_tree(folder: Path, disk: Disk) -> Iterator[DatabaseVFS]:
    with ExitStack() as stack:
        databases = [
            stack.enter_context(OurDB(str(folder / "tree" / name), TREE, disk=disk)) for name in ("data", "metadata")
        ]
        yield stack.enter_context(vfs_db.new(*databases))


@contextmanager
def _read_tree(folder: Path) -> Iterator[DatabaseVFS]:
    with ExitStack() as stack:
        databases = [
            stack.enter_context(OurDB(str(folder / "tree" / name), {}, read_only=True)) for name in ("data", "metadata")
        ]
        yield stack.enter_context(vfs_db.new(*databases))


def _grow(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e")
    fs.file_write("d/e/one", b"1" * 3000)
    fs.file_write("d/two", b"2" * 70_000)
    fs.file_write("three", b"3" * 50)


def _grown(folder: Path) -> None:
    with _open_tree(folder, SameBootDisk()) as fs:
        _grow(fs)


def _killed_tree(folder: Path) -> None:
    with opened(str(folder / "open"), SameBootDisk(), config=TREE) as fs:
        _grow(fs)
        fs.sync()
        fs.rename("three", "d/e/one")
        fs.delete("d/two")
        shutil.copytree(folder / "open", folder / "tree")
    shutil.rmtree(folder / "open")


def _tree(name: str, change: Callable[[DatabaseVFS], object], prepare: Callable[[Path], None] = _grown) -> Work:
    return Work(name, change, prepare, _open_tree, tree_of, _read_tree)


WORKS: Final = (
    _database("creation", lambda db: db.set(id=1, data=b"first"), prepare=_nothing, open_to_read=None),
    _database("set", lambda db: db.set(id=1, data=b"new" * 400)),
    _database("set, full", lambda db: db.set(id=1, data=b"new" * 400), open=_open_full),
    _database("delete", lambda db: db.delete(2)),
    _database("transaction", _transaction),
    _database("transaction, full", _transaction, open=_open_full),
    _database("import", _import),
    _database("compact", lambda db: db.compact()),
    _database("compact, narrow", lambda db: db.compact(), prepare=_filled(NARROW), open=_open_narrow),
    _database("recovery", _nothing, prepare=_killed),
    _database("repair", _nothing, prepare=_damaged, open=_open_or_repair, open_to_read=None),
    _tree("rename over", lambda fs: fs.rename("three", "d/e/one")),
    _tree("move of a tree", lambda fs: fs.rename("d/e", "moved")),
    _tree("copy", lambda fs: fs.copy("d", "copy")),
    _tree("removal of a tree", lambda fs: fs.remove_tree("d")),
    _tree("write", lambda fs: fs.file_write("d/two", b"again" * 9000)),
    _tree("recovery of two", _nothing, prepare=_killed_tree),
)
