"""Work on files: a filesystem in OurDB, and the operating system's own, a table of paths in sqlite3, a zip archive."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import vfs_db
from bench.measure import Group, Peer, Work

__all__ = ["GROUPS"]

DATA: Final = bytes(range(256)) * 4
PIECE: Final = os.urandom(2**20)
CHUNK: Final = 65535
LIBRARY: Final = Path(os.__file__).parent


def _paths(percent: int) -> list[str]:
    """Return 100 folders x 100 files, or less."""
    folders = max(percent, 1)
    return [f"folder{folder}/file{number}" for folder in range(folders) for number in range(100)]


def _folders(paths: list[str]) -> list[str]:
    return sorted({os.path.dirname(path) for path in paths})


class _Rounds:
    """Files that are new in each round, in the same folders.

    Deleting the last round's files would keep the disk busy in the next, and new folders are put where the operating
    system has yet to read its maps from the disk.
    """

    def __init__(self, percent: int) -> None:
        self._paths = _paths(percent)
        self._numbers = itertools.count()
        self.count = len(self._paths)
        self.paths: list[str] = []

    def begin(self) -> list[str]:
        """Choose the paths of the next round, and return the folders that they are in."""
        number = next(self._numbers)
        self.paths = [f"{path}-{number}" for path in self._paths]
        return _folders(self.paths)


def _make_folders(fs: vfs_db.DatabaseVFS, folders: list[str]) -> None:
    with fs.transaction():
        for name in folders:
            fs.makedirs(name, exist_ok=True)


def _make_files(fs: vfs_db.DatabaseVFS, paths: list[str]) -> None:
    _make_folders(fs, _folders(paths))
    with fs.transaction():
        for path in paths:
            fs.file_create(path)
            fs.file_write(path, DATA)


def _filled(folder: Path, paths: list[str]) -> vfs_db.DatabaseVFS:
    fs = vfs_db.open(folder / "image")
    _make_files(fs, paths)
    return fs


def _make_host_folders(folder: Path, folders: list[str]) -> None:
    for name in folders:
        (folder / "host" / name).mkdir(parents=True, exist_ok=True)


def _fill_host(folder: Path, paths: list[str]) -> list[str]:
    _make_host_folders(folder, _folders(paths))
    host = [str(folder / "host" / path) for path in paths]
    for path in host:
        with open(path, "wb") as file:
            file.write(DATA)
    return host


# Creating and writing


@contextmanager
def create(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)
    with vfs_db.open(folder / "image") as fs:

        def run() -> None:
            for path in rounds.paths:
                fs.file_write(path, DATA)

        yield Work(rounds.count, run, lambda: _make_folders(fs, rounds.begin()))


@contextmanager
def create_then_write(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)
    with vfs_db.open(folder / "image") as fs:

        def run() -> None:
            for path in rounds.paths:
                fs.file_create(path)
                fs.file_write(path, DATA)

        yield Work(rounds.count, run, lambda: _make_folders(fs, rounds.begin()))


@contextmanager
def create_in_one_transaction(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)
    with vfs_db.open(folder / "image") as fs:

        def run() -> None:
            with fs.transaction():
                for path in rounds.paths:
                    fs.file_write(path, DATA)

        yield Work(rounds.count, run, lambda: _make_folders(fs, rounds.begin()))


@contextmanager
def host_create(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)

    def run() -> None:
        host = f"{folder}/host/"
        for path in rounds.paths:
            with open(host + path, "wb") as file:
                file.write(DATA)

    yield Work(rounds.count, run, lambda: _make_host_folders(folder, rounds.begin()))


@contextmanager
def sqlite_create(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)
    with contextlib.closing(sqlite3.connect(folder / "sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("CREATE TABLE file (path TEXT PRIMARY KEY, data BLOB)")

        def run() -> None:
            for path in rounds.paths:
                connection.execute("INSERT INTO file VALUES (?, ?)", (path, DATA))

        yield Work(rounds.count, run, rounds.begin)


@contextmanager
def zip_create(folder: Path, percent: int) -> Iterator[Work]:
    rounds = _Rounds(percent)

    def run() -> None:
        with zipfile.ZipFile(folder / f"{rounds.paths[0].rpartition('-')[2]}.zip", "w") as opened:
            for path in rounds.paths:
                opened.writestr(path, DATA)

    yield Work(rounds.count, run, rounds.begin)


# Reading


def _shuffled(paths: list[str]) -> list[str]:
    return random.Random(1).sample(paths, len(paths))


@contextmanager
def read(folder: Path, percent: int) -> Iterator[Work]:
    paths = _paths(percent)
    with _filled(folder, paths) as fs:
        order = _shuffled(paths)

        def run() -> None:
            for path in order:
                fs.file_read(path)

        yield Work(len(paths), run)


@contextmanager
def host_read(folder: Path, percent: int) -> Iterator[Work]:
    order = _shuffled(_fill_host(folder, _paths(percent)))

    def run() -> None:
        for path in order:
            with open(path, "rb") as file:
                file.read()

    yield Work(len(order), run)


@contextmanager
def zip_read(folder: Path, percent: int) -> Iterator[Work]:
    paths = _paths(percent)
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        for path in paths:
            archive.writestr(path, DATA)
    with zipfile.ZipFile(folder / "archive.zip") as archive:
        order = _shuffled(paths)

        def run() -> None:
            for path in order:
                archive.read(path)

        yield Work(len(paths), run)


@contextmanager
def stat(folder: Path, percent: int) -> Iterator[Work]:
    paths = [f"top/{path}" for path in _paths(percent)]
    with _filled(folder, paths) as fs:
        order = _shuffled(paths)

        def run() -> None:
            for path in order:
                fs.stat(path)

        run()
        yield Work(len(paths), run)


@contextmanager
def host_stat(folder: Path, percent: int) -> Iterator[Work]:
    order = _shuffled(_fill_host(folder, [f"top/{path}" for path in _paths(percent)]))

    def run() -> None:
        for path in order:
            os.stat(path)

    yield Work(len(order), run)


def _library(folder: Path, percent: int) -> Path:
    """Copy the standard library, or a part of it."""
    if percent < 100:
        return Path(shutil.copytree(LIBRARY / "email", folder / "library"))
    ignored = shutil.ignore_patterns("site-packages", "dist-packages")
    return Path(shutil.copytree(LIBRARY, folder / "library", symlinks=True, ignore=ignored))


@contextmanager
def walk(folder: Path, percent: int) -> Iterator[Work]:
    library = _library(folder, percent)
    with vfs_db.open(folder / "image") as fs:
        fs.import_tree(library, "/library")

        def run() -> None:
            for path, _, names in fs.walk("/library"):
                for name in names:
                    fs.stat(f"{path}/{name}")

        run()
        yield Work(sum(1 + len(names) for _, _, names in os.walk(library)), run)


@contextmanager
def host_walk(folder: Path, percent: int) -> Iterator[Work]:
    library = str(_library(folder, percent))

    def run() -> None:
        for path, _, names in os.walk(library):
            for name in names:
                os.stat(f"{path}/{name}")

    yield Work(sum(1 + len(names) for _, _, names in os.walk(library)), run)


# Deleting


@contextmanager
def delete(folder: Path, percent: int) -> Iterator[Work]:
    paths = _paths(percent)
    with vfs_db.open(folder / "image") as fs:

        def run() -> None:
            for path in paths:
                fs.file_delete(path)

        yield Work(len(paths), run, lambda: _make_files(fs, paths))


@contextmanager
def host_delete(folder: Path, percent: int) -> Iterator[Work]:
    paths = _paths(percent)
    host = [str(folder / "host" / path) for path in paths]

    def run() -> None:
        for path in host:
            os.unlink(path)

    yield Work(len(paths), run, lambda: _fill_host(folder, paths))


# One large file


def _pieces(percent: int) -> int:
    return max(256 * percent // 100, 2)


def _write_large(fs: vfs_db.DatabaseVFS, pieces: int) -> None:
    with fs.open("/large", "wb") as file:
        for _ in range(pieces):
            file.write(PIECE)


@contextmanager
def write_large(folder: Path, percent: int) -> Iterator[Work]:
    pieces = _pieces(percent)
    with vfs_db.open(folder / "image") as fs:

        def remove() -> None:
            if fs.exists("/large"):
                fs.delete("/large")
                fs.compact()

        yield Work(pieces, lambda: _write_large(fs, pieces), remove)


@contextmanager
def host_write_large(folder: Path, percent: int) -> Iterator[Work]:
    pieces = _pieces(percent)
    path = folder / "large"

    def run() -> None:
        with open(path, "wb") as file:
            file.writelines(PIECE for _ in range(pieces))

    yield Work(pieces, run, lambda: path.unlink(missing_ok=True))


def _drop(path: Path) -> None:
    """Let the operating system forget what it has cached of the file at *path*, where it can be asked to."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)  # what is not on the disk yet is not dropped
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


class _Reopened:
    """A filesystem with one large file; what its handle knows to be sound is forgotten by `reopen`."""

    def __init__(self, folder: Path, percent: int) -> None:
        self._folder = folder / "image"
        self.pieces = _pieces(percent)
        self.fs = vfs_db.open(self._folder)
        _write_large(self.fs, self.pieces)

    def reopen(self) -> None:
        self.fs.close()
        self.fs = vfs_db.open(self._folder)

    def reopen_cold(self) -> None:
        """Reopen, with nothing of the files in the operating system's cache."""
        self.fs.close()
        for path in self._folder.rglob("*"):
            if path.is_file():
                _drop(path)
        self.fs = vfs_db.open(self._folder)

    def read(self) -> None:
        with self.fs.open("/large", "rb") as file:
            while file.read(2**20):
                pass

    def read_at(self, positions: list[int]) -> None:
        with self.fs.open("/large", "rb", buffering=0) as file:
            for position in positions:
                file.seek(position)
                file.read(4096)


@contextmanager
def read_large_first(folder: Path, percent: int) -> Iterator[Work]:
    image = _Reopened(folder, percent)
    yield Work(image.pieces, image.read, image.reopen)
    image.fs.close()


@contextmanager
def read_large_again(folder: Path, percent: int) -> Iterator[Work]:
    image = _Reopened(folder, percent)
    image.reopen()
    image.read()
    yield Work(image.pieces, image.read)
    image.fs.close()


@contextmanager
def read_large_cold(folder: Path, percent: int) -> Iterator[Work]:
    image = _Reopened(folder, percent)
    yield Work(image.pieces, image.read, image.reopen_cold)
    image.fs.close()


def _host_large(folder: Path, pieces: int) -> Path:
    path = folder / "large"
    with open(path, "wb") as written:
        written.writelines(PIECE for _ in range(pieces))
    return path


def _read_host(path: Path) -> None:
    with open(path, "rb") as file:
        while file.read(2**20):
            pass


@contextmanager
def host_read_large(folder: Path, percent: int) -> Iterator[Work]:
    pieces = _pieces(percent)
    path = _host_large(folder, pieces)
    _read_host(path)
    yield Work(pieces, lambda: _read_host(path))


@contextmanager
def host_read_large_cold(folder: Path, percent: int) -> Iterator[Work]:
    pieces = _pieces(percent)
    path = _host_large(folder, pieces)
    yield Work(pieces, lambda: _read_host(path), lambda: _drop(path))


def _one_position_a_chunk(size: int) -> list[int]:
    """Return positions in random order, no two in the same chunk, so that each read is the first of its chunk."""
    chosen = random.Random(1)
    starts = chosen.sample(range(size // CHUNK), size // CHUNK)
    return [start * CHUNK + chosen.randrange(CHUNK - 4096) for start in starts]


@contextmanager
def read_at_first(folder: Path, percent: int) -> Iterator[Work]:
    image = _Reopened(folder, percent)
    positions = _one_position_a_chunk(image.pieces * 2**20)
    yield Work(len(positions), lambda: image.read_at(positions), image.reopen)
    image.fs.close()


@contextmanager
def read_at_again(folder: Path, percent: int) -> Iterator[Work]:
    image = _Reopened(folder, percent)
    positions = _one_position_a_chunk(image.pieces * 2**20)
    image.reopen()
    image.read()
    yield Work(len(positions), lambda: image.read_at(positions))
    image.fs.close()


@contextmanager
def host_read_at(folder: Path, percent: int) -> Iterator[Work]:
    pieces = _pieces(percent)
    path = _host_large(folder, pieces)
    positions = _one_position_a_chunk(pieces * 2**20)
    fd = os.open(path, os.O_RDONLY)

    def run() -> None:
        for position in positions:
            os.pread(fd, 4096, position)

    run()
    yield Work(len(positions), run)
    os.close(fd)


GROUPS: Final = (
    Group(
        "create",
        "create and write 1 KB files one by one",
        create,
        (
            Peer("operating system", host_create, 0.6, 1),
            Peer("sqlite3 WAL NORMAL", sqlite_create, 0.7, 1.2),
            Peer("zipfile, stored", zip_create),
        ),
        rounds=5,
    ),
    Group(
        "create-then-write",
        "the same in two calls and two commits",
        create_then_write,
        (
            Peer("operating system", host_create, 0.6, 1),
            Peer("sqlite3 WAL NORMAL", sqlite_create, 0.7, 1.2),
        ),
        rounds=5,
    ),
    Group(
        "create-at-once",
        "the same in one transaction",
        create_in_one_transaction,
        (
            Peer("operating system", host_create, 1.5, 3),
            # A zip's members, too, are there only when all are written and its list of them is.
            Peer("zipfile, stored", zip_create, 1, 2),
        ),
        rounds=5,
    ),
    Group(
        "read",
        "read whole 1 KB files at random",
        read,
        (Peer("operating system", host_read, 0.9, 1.5), Peer("zipfile, stored", zip_read, 1, 2)),
        rounds=5,
    ),
    Group("stat", "stat by path, depth 3, warm", stat, (Peer("operating system", host_stat, 0.5, 1),), rounds=5),
    Group(
        "walk", "walk and stat the standard library", walk, (Peer("operating system", host_walk, 0.7, 1.5),), rounds=5
    ),
    Group(
        "delete", "delete 1 KB files one by one", delete, (Peer("operating system", host_delete, 0.25, 0.5),), rounds=5
    ),
    Group(
        "large-write",
        "write 256 MB, 1 MB at a time, per MB",
        write_large,
        (Peer("operating system", host_write_large, 0.4, 0.6),),
        rounds=3,
    ),
    Group(
        "large-read-cold",
        "read 256 MB, nothing of it in the system's cache, per MB",
        read_large_cold,
        (Peer("operating system", host_read_large_cold, 0.25, 0.4),),
        rounds=3,
    ),
    Group(
        "large-read",
        "read 256 MB, first time after opening, per MB",
        read_large_first,
        (Peer("operating system", host_read_large, 0.25, 0.4),),
        rounds=3,
    ),
    Group(
        "large-read-again",
        "read 256 MB again, per MB",
        read_large_again,
        (Peer("operating system", host_read_large, 0.5, 1),),
        rounds=3,
    ),
    Group(
        "read-at",
        "4 KB at random from 256 MB, first in its chunk",
        read_at_first,
        (Peer("os.pread", host_read_at, 0.04, 0.5),),
        rounds=3,
    ),
    Group(
        "read-at-again",
        "4 KB at random from 256 MB, again",
        read_at_again,
        (Peer("os.pread", host_read_at, 0.3),),
        rounds=3,
    ),
)
