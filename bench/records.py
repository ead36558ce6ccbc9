"""Work on numbered records of 100 bytes: ourdb, and what else one would take."""

from __future__ import annotations

import contextlib
import dbm.dumb
import importlib.util
import itertools
import os
import random
import shelve
import sqlite3
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import ourdb
from bench.measure import Contender, Group, Peer, Work

__all__ = ["GROUPS"]

DATA: Final = bytes(range(100))
_HEADER: Final = bytes(12)  # the bare file holds as many bytes a record as ourdb's

Synchronous = Literal["full", "normal", "off"]


def _sqlite(folder: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "sqlite", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, data BLOB)")
    return connection


# set, one commit each


def ourdb_set(synchronous: Synchronous, count: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, 10)
        with ourdb.new(path=folder / "db", incremental_mode=False, synchronous=synchronous) as db:
            numbers = itertools.count(1)

            def run() -> None:
                put = db.set
                for record_id in itertools.islice(numbers, n):
                    put(id=record_id, data=DATA)

            yield Work(n, run)

    return contender


def sqlite_set(synchronous: str, count: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, 10)
        with contextlib.closing(_sqlite(folder, synchronous)) as connection:
            numbers = itertools.count(1)

            def run() -> None:
                execute = connection.execute
                for record_id in itertools.islice(numbers, n):
                    execute("INSERT INTO record VALUES (?, ?)", (record_id, DATA))

            yield Work(n, run)

    return contender


def bare_pwrite(count: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, 10)
        fd = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)
        numbers = itertools.count()
        size = len(_HEADER) + len(DATA)

        def run() -> None:
            pwrite = os.pwrite
            for number in itertools.islice(numbers, n):
                pwrite(fd, _HEADER + DATA, number * size)

        yield Work(n, run)
        os.close(fd)

    return contender


def mapping_set(opened: Callable[[Path], Any], count: int) -> Contender:
    """A dbm or a shelf: a mapping of text to bytes that writes at each assignment, at least to the operating system."""

    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, 10)
        with contextlib.closing(opened(folder / "mapping")) as mapping:
            numbers = itertools.count(1)

            def run() -> None:
                for record_id in itertools.islice(numbers, n):
                    mapping[str(record_id)] = DATA

            yield Work(n, run)

    return contender


# get at random


def _ids(n: int, reads: int) -> list[int]:
    chosen = random.Random(1)
    return [chosen.randrange(1, n + 1) for _ in range(reads)]


def ourdb_get(records: int, reads: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        with ourdb.new(path=folder / "db", incremental_mode=False) as db:
            db.set_many((record_id, DATA) for record_id in range(1, n + 1))
            ids = _ids(n, wanted)

            def run() -> None:
                get = db.get
                for record_id in ids:
                    get(record_id)

            yield Work(wanted, run)

    return contender


def sqlite_get(records: int, reads: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        with contextlib.closing(_sqlite(folder, "NORMAL")) as connection:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO record VALUES (?, ?)", ((i, DATA) for i in range(1, n + 1)))
            connection.execute("COMMIT")
            ids = _ids(n, wanted)

            def run() -> None:
                execute = connection.execute
                for record_id in ids:
                    execute("SELECT data FROM record WHERE id = ?", (record_id,)).fetchone()

            yield Work(wanted, run)

    return contender


def bare_pread(records: int, reads: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        size = len(_HEADER) + len(DATA)
        (folder / "bare").write_bytes((_HEADER + DATA) * (n + 1))
        fd = os.open(folder / "bare", os.O_RDONLY)
        ids = _ids(n, wanted)

        def run() -> None:
            pread = os.pread
            for record_id in ids:
                pread(fd, size, record_id * size)

        yield Work(wanted, run)
        os.close(fd)

    return contender


def mapping_get(opened: Callable[[Path], Any], records: int, reads: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        with contextlib.closing(opened(folder / "mapping")) as mapping:
            for record_id in range(1, n + 1):
                mapping[str(record_id)] = DATA
            ids = _ids(n, wanted)

            def run() -> None:
                for record_id in ids:
                    mapping[str(record_id)]

            yield Work(wanted, run)

    return contender


# many in one commit


def ourdb_set_many(batches: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(batches * percent // 100, 1)
        with ourdb.new(path=folder / "db", incremental_mode=False) as db:
            numbers = itertools.count(1)

            def run() -> None:
                for _ in range(n):
                    db.set_many((record_id, DATA) for record_id in itertools.islice(numbers, 1000))

            yield Work(n * 1000, run)

    return contender


def sqlite_executemany(batches: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(batches * percent // 100, 1)
        with contextlib.closing(_sqlite(folder, "NORMAL")) as connection:
            numbers = itertools.count(1)

            def run() -> None:
                for _ in range(n):
                    items = ((record_id, DATA) for record_id in itertools.islice(numbers, 1000))
                    connection.execute("BEGIN")
                    connection.executemany("INSERT INTO record VALUES (?, ?)", items)
                    connection.execute("COMMIT")

            yield Work(n * 1000, run)

    return contender


# history


def _with_history(folder: Path, n: int) -> ourdb.OurDB:
    db = ourdb.new(path=folder / "db", incremental_mode=False)
    for _ in range(10):
        db.set_many((record_id, DATA) for record_id in range(1, n + 1))
    return db


def ourdb_history(records: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(records * percent // 100, 10)
        with _with_history(folder, n) as db:

            def run() -> None:
                get_history = db.get_history
                for record_id in range(1, n + 1):
                    get_history(record_id, 10)

            yield Work(n * 10, run)

    return contender


def ourdb_get_beside_history(records: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(records * percent // 100, 10)
        with _with_history(folder, n) as db:

            def run() -> None:
                get = db.get
                for _ in range(10):
                    for record_id in range(1, n + 1):
                        get(record_id)

            yield Work(n * 10, run)

    return contender


# synchronous="full", threads that share an fsync


def ourdb_set_threads(threads: int, count: int) -> Contender:
    """The time per set is that of all threads together: 8 threads that each wait their turn are no faster than one."""

    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, threads)
        with ourdb.new(path=folder / "db", incremental_mode=False, synchronous="full") as db:
            numbers = itertools.count(1)

            def sets(of_thread: int) -> None:
                for _ in range(of_thread):
                    db.set(id=next(numbers), data=DATA)

            def run() -> None:
                workers = [threading.Thread(target=sets, args=(n // threads,)) for _ in range(threads)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()

            yield Work(n // threads * threads, run)

    return contender


# Peers that have to be installed: `pip install '.[bench]'`


def lmdb_set(count: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        import lmdb

        n = max(count * percent // 100, 10)
        with lmdb.open(str(folder / "lmdb"), map_size=2**30, sync=False) as environment:
            numbers = itertools.count(1)

            def run() -> None:
                for record_id in itertools.islice(numbers, n):
                    with environment.begin(write=True) as transaction:
                        transaction.put(record_id.to_bytes(4, "big"), DATA)

            yield Work(n, run)

    return contender


def lmdb_get(records: int, reads: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        import lmdb

        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        with lmdb.open(str(folder / "lmdb"), map_size=2**30, sync=False) as environment:
            with environment.begin(write=True) as transaction:
                for record_id in range(1, n + 1):
                    transaction.put(record_id.to_bytes(4, "big"), DATA)
            ids = _ids(n, wanted)

            def run() -> None:
                for record_id in ids:
                    with environment.begin() as reading:
                        reading.get(record_id.to_bytes(4, "big"))

            yield Work(wanted, run)

    return contender


@contextmanager
def _zodb(folder: Path) -> Iterator[tuple[Any, Callable[[], None]]]:
    import transaction
    import ZODB
    import ZODB.FileStorage
    from BTrees.IOBTree import IOBTree

    storage = ZODB.FileStorage.FileStorage(str(folder / "zodb.fs"))
    database = ZODB.DB(storage)
    connection = database.open()
    connection.root()["records"] = IOBTree()
    transaction.commit()
    yield connection.root()["records"], transaction.commit
    transaction.abort()
    connection.close()
    database.close()


def zodb_set(count: int) -> Contender:
    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n = max(count * percent // 100, 10)
        with _zodb(folder) as (records, commit):
            numbers = itertools.count(1)

            def run() -> None:
                for record_id in itertools.islice(numbers, n):
                    records[record_id] = DATA
                    commit()

            yield Work(n, run)

    return contender


def zodb_load(records: int, reads: int) -> Contender:
    """From the storage itself: one object a record, as its pickle."""

    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        from ZODB.Connection import TransactionMetaData
        from ZODB.FileStorage import FileStorage
        from ZODB.utils import load_current, p64

        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        storage = FileStorage(str(folder / "zodb.fs"))
        transaction = TransactionMetaData()
        storage.tpc_begin(transaction)
        for record_id in range(1, n + 1):
            storage.store(p64(record_id), p64(0), DATA, "", transaction)
        storage.tpc_vote(transaction)
        storage.tpc_finish(transaction)
        ids = _ids(n, wanted)

        def run() -> None:
            for record_id in ids:
                load_current(storage, p64(record_id))

        yield Work(wanted, run)
        storage.close()

    return contender


def zodb_get(records: int, reads: int) -> Contender:
    """Objects: those that ZODB's cache keeps are not read again, and it reads whole buckets of some 30 records."""

    @contextmanager
    def contender(folder: Path, percent: int) -> Iterator[Work]:
        n, wanted = max(records * percent // 100, 10), max(reads * percent // 100, 10)
        with _zodb(folder) as (stored, commit):
            stored.update(dict.fromkeys(range(1, n + 1), DATA))
            commit()
            ids = _ids(n, wanted)

            def run() -> None:
                for record_id in ids:
                    stored[record_id]

            yield Work(wanted, run, stored._p_jar.cacheMinimize)  # noqa: SLF001 - persistent's name for its connection

    return contender


def _semidbm(path: Path) -> Any:
    import semidbm

    return semidbm.open(str(path), "c")


def _dumb(path: Path) -> MutableMapping[Any, Any]:
    return dbm.dumb.open(str(path), "c")


def _shelf(path: Path) -> shelve.Shelf[Any]:
    return shelve.Shelf(_dumb(path))


def _installed(name: str, *peers: Peer) -> tuple[Peer, ...]:
    return peers if importlib.util.find_spec(name) is not None else ()


def _missing(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if importlib.util.find_spec(name) is None)


SETS: Final = 20_000
RECORDS: Final = 100_000
READS: Final = 100_000

GROUPS: Final = (
    Group(
        "set",
        "set, one commit each, normal",
        ourdb_set("normal", SETS),
        (
            Peer("sqlite3 WAL NORMAL", sqlite_set("NORMAL", SETS), 3, 4),
            Peer("sqlite3 WAL OFF", sqlite_set("OFF", SETS), 2),
            Peer("os.pwrite", bare_pwrite(SETS), 0.18, 0.3),
            *_installed("lmdb", Peer("lmdb, no sync", lmdb_set(SETS), None, 0.3)),
        ),
        missing=_missing("lmdb"),
    ),
    Group(
        "set-slow-peers",
        "set, one commit each, normal",
        ourdb_set("normal", 1000),
        (
            Peer("dbm.dumb", mapping_set(_dumb, 1000), 1, 3),
            Peer("shelve on dbm.dumb", mapping_set(_shelf, 1000), 1, 3),
            *_installed("semidbm", Peer("semidbm", mapping_set(_semidbm, 1000), 1, 3)),
            *_installed("ZODB", Peer("ZODB FileStorage", zodb_set(1000), 1, 3)),
        ),
        missing=_missing("semidbm", "ZODB"),
    ),
    Group(
        "get",
        "get at random, 100k records",
        ourdb_get(RECORDS, READS),
        (
            Peer("sqlite3 SELECT", sqlite_get(RECORDS, READS), 2.5, 3.5),
            Peer("os.pread", bare_pread(RECORDS, READS), 0.4, 0.55),
            *_installed("lmdb", Peer("lmdb", lmdb_get(RECORDS, READS), None, 0.3)),
        ),
        missing=_missing("lmdb"),
    ),
    Group(
        "get-slow-peers",
        "get at random, 10k records",
        ourdb_get(10_000, 20_000),
        (
            Peer("dbm.dumb", mapping_get(_dumb, 10_000, 20_000), 1, 3),
            Peer("shelve on dbm.dumb", mapping_get(_shelf, 10_000, 20_000), 1, 3),
            *_installed("semidbm", Peer("semidbm", mapping_get(_semidbm, 10_000, 20_000), 1, 3)),
            *_installed(
                "ZODB",
                Peer("ZODB FileStorage", zodb_load(10_000, 20_000), 1, 3),
                Peer("ZODB, objects in its cache", zodb_get(10_000, 20_000)),
            ),
        ),
        rounds=5,
        missing=_missing("semidbm", "ZODB"),
    ),
    Group(
        "set-many",
        "set_many by 1000",
        ourdb_set_many(50),
        (Peer("sqlite3 executemany", sqlite_executemany(50), 1.2, 2),),
    ),
    Group(
        "history",
        "get_history, depth 10, per version",
        ourdb_history(5000),
        (Peer("our get", ourdb_get_beside_history(5000), 0.7, 1.0),),
    ),
    Group(
        "full",
        "set, one commit each, full",
        ourdb_set("full", 400),
        (Peer("sqlite3 WAL FULL", sqlite_set("FULL", 400), 1.2, 1.6),),
    ),
    Group(
        "full-threads",
        "set, full, 8 threads, all together",
        ourdb_set_threads(8, 1600),
        (Peer("our one thread", ourdb_set("full", 400), 3, 6),),
    ),
)
