"""Small databases and filesystems as bytes: what is damaged, and what they held."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

import ourdb
import vfs_db
from ourdb.identity import identity_path
from vfs_db.chunk_tree import ChunkIds
from vfs_db.codec import encode
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.id_list import NO_IDS, id_list
from vfs_db.metadata import FileType, Metadata
from vfs_db.name_tree import Children, page_ids
from vfs_db.page import IdPage, NamePage, encode_page

Files = dict[str, bytes]
Value = tuple[bytes, ...]
"""A record's versions, newest first."""
State = dict[int, Value]


def read_files(folder: str, below: str = "") -> Files:
    """Return all files below *folder*: relative path -> bytes."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                found.update(read_files(entry.path, f"{below}{entry.name}/"))
            else:
                with open(entry.path, "rb", buffering=0) as file:
                    found[below + entry.name] = file.read()
    return found


def read_image(folder: str) -> Files:
    """Return all files below *folder*, the preallocated space of a journal shortened."""
    files = read_files(folder)
    for name, data in files.items():
        if os.path.basename(name) == "journal":
            files[name] = data[: len(data.rstrip(b"\0")) + 4096]
    return files


def write_files(folder: str, files: Files) -> None:
    """Make *folder* hold *files* and nothing else."""
    _remove_others(folder, "", files, {os.path.dirname(name) for name in files})
    for name, data in files.items():
        path = f"{folder}/{name}"
        try:
            file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = open(path, "wb", buffering=0)  # noqa: SIM115
        with file:
            file.write(data)


def _remove_others(folder: str, below: str, files: Files, folders: set[str]) -> None:
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if not entry.is_dir():
                if name not in files:
                    os.unlink(entry.path)
            elif any(one == name or one.startswith(name + "/") for one in folders):
                _remove_others(entry.path, name + "/", files, folders)
            else:
                shutil.rmtree(entry.path)


@attrs.frozen
class Slot:
    """Where a record's bytes are: slot (file, start, end), and for each version, newest first, its record."""

    slot: tuple[str, int, int]
    versions: tuple[tuple[str, int, int], ...]


@attrs.define
class Image:
    """A database as bytes; *states*: what it held after each commit since the last checkpoint, the last one first."""

    name: str
    files: Files
    config: dict[str, Any]
    states: list[State]
    slots: dict[int, Slot]

    @property
    def state(self) -> State:
        return self.states[0]


def state_of(db: ourdb.OurDB) -> State:
    """Return all that *db* holds."""
    return {one: tuple(db.get_history(one, 100)) for one in db}


def slots_of(db: ourdb.OurDB, prefix: str = "") -> dict[int, Slot]:
    """Return where each record of *db* is."""
    slots = {}
    keysize = db.config.keysize
    store = db._store
    for one in db:
        location = store.locate(one)
        versions = []
        while location:
            header = store.files.header(location)
            position = location & 0xFFFFFFFF
            versions.append((f"{prefix}{location >> 32}.db", position, position + 12 + header.data_size))
            location = header.previous
        slots[one] = Slot((f"{prefix}lookup/data", one * keysize, one * keysize + keysize), tuple(versions))
    return slots


def _steps(db: ourdb.OurDB, states: list[State], *, from_step: int = 0) -> None:
    """Do the same to every database: sets, history, an empty record, a large one, a delete, a transaction."""
    is_incremental = db.incremental_mode

    def put(one: int, data: bytes) -> None:
        db.set(data=data, id=None if is_incremental and one not in db else one)

    def several() -> None:
        with db.transaction():
            put(6, b"six")
            put(7, b"seven")
            db.delete(3)

    steps: list[Callable[[], None]] = [
        lambda: put(1, b"one"),
        lambda: put(2, b"two" * 9),
        lambda: put(3, b"three"),
        lambda: put(1, b"one again"),
        lambda: put(4, b""),
        lambda: put(5, b"five, followed by zeros" + bytes(20)),
        several,
        lambda: put(1, b"one for the third time"),
        lambda: put(7, b"seven again"),
        lambda: put(8, bytes(range(100))),
    ]
    for step in steps[from_step:]:
        step()
        states.insert(0, state_of(db))


def clean(root: Path, name: str, **options: Any) -> Image:
    """Return the image of a database that was closed."""
    folder = str(root / name)
    states: list[State] = []
    with ourdb.new(path=folder, **options) as db:
        _steps(db, states)
        slots = slots_of(db)
    return Image(name, read_image(folder), options, states[:1], slots)


def killed(root: Path, name: str, *, synced: bool, **options: Any) -> Image:
    """Return the image that a killed writer leaves: a journal, and, if *synced*, a table that knows the first steps."""
    folder = str(root / name)
    db = ourdb.new(path=folder, **options)
    states: list[State] = [{}]
    _steps(db, states)
    if synced:
        db.sync()
        states = states[:1]
        db.set(id=2, data=b"two, after the checkpoint")
        states.insert(0, state_of(db))
        with db.transaction():
            db.set(id=5, data=b"five, after the checkpoint")
            db.delete(6)
        states.insert(0, state_of(db))
    files = read_image(folder)
    slots = slots_of(db)
    db.close()
    return Image(name, files, options, states, slots)


def foreign(root: Path, name: str, **options: Any) -> Image:
    """Return the image of a folder that only the reference has written."""
    image = clean(root, name, **options)
    del image.files[identity_path("")]
    return image


SMALL: dict[str, Any] = {"record_nr_max": 20, "record_size_max": 100, "incremental_mode": False}


def databases(root: Path) -> list[Image]:
    """Return an image of each kind."""
    return [
        clean(root, "key-value, 6", **SMALL, keysize=6, file_size=100),
        clean(root, "incremental, 2", **(SMALL | {"incremental_mode": True})),
        clean(root, "key-value, 3", **SMALL, keysize=3),
        clean(root, "incremental, 4", **(SMALL | {"incremental_mode": True}), keysize=4),
        killed(root, "killed, 6", synced=False, **SMALL, keysize=6, file_size=100),
        killed(root, "killed after a checkpoint, 6", synced=True, **SMALL, keysize=6, file_size=100),
        killed(root, "killed, full, 2", synced=False, **SMALL, synchronous="full"),
        foreign(root, "foreign, 6", **SMALL, keysize=6, file_size=100),
    ]


# Filesystems

SMALL_FS: dict[str, Any] = {"record_nr_max": 40, "record_size_max": 100, "incremental_mode": False, "keysize": 4}


@attrs.frozen
class Node:
    """What is at a path: its kind, its content (or a link's target), and the places of all bytes that it rests on."""

    kind: str
    content: bytes
    places: tuple[tuple[str, int, int], ...]


Tree = dict[str, Node]


@attrs.define
class TreeImage:
    """A filesystem as bytes, and the trees that it held since the last checkpoint, the last one first."""

    name: str
    files: Files
    trees: list[Tree]


def _pages_of(entry: FSEntry) -> list[int]:
    if type(entry) is Directory and isinstance(entry.children, Children):
        return list(page_ids(entry.children))
    return list(entry.chunk_ids.page_ids()) if type(entry) is File and isinstance(entry.chunk_ids, ChunkIds) else []


def tree_of(fs: vfs_db.DatabaseVFS) -> Tree:
    """Return all that is in *fs*."""
    assert isinstance(fs.db_data, ourdb.OurDB)
    assert isinstance(fs.db_metadata, ourdb.OurDB)
    data, metadata = slots_of(fs.db_data, "data/"), slots_of(fs.db_metadata, "metadata/")

    def of(slot: Slot) -> tuple[tuple[str, int, int], ...]:
        return (slot.slot, slot.versions[0])

    found: Tree = {}
    rests_on = {"/": of(metadata[1])}
    for path, entry in fs.find("/"):
        above = rests_on[os.path.dirname(path)]
        places = above + of(metadata[entry.metadata.id])
        for page_id in _pages_of(entry):
            places += of(metadata[page_id])
        rests_on[path] = places
        if type(entry) is File:
            content = fs.file_read(path)
            for one in entry.chunk_ids:
                places += of(data[one])
            found[path] = Node("file", content, places)
        elif type(entry) is Symlink:
            found[path] = Node("link", os.fsencode(entry.target), places)
        elif path != "/":
            found[path] = Node("directory", b"", places)
    return found


def filesystem(root: Path, name: str, *, is_killed: bool, large: bool = False, **options: Any) -> TreeImage:
    """Return the image of a small filesystem, closed or *is_killed*."""
    folder = root / name
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    data = ourdb.new(path=str(folder / "data"), **SMALL_FS)
    metadata = ourdb.new(path=str(folder / "metadata"), **SMALL_FS)
    fs = vfs_db.new(data, metadata, **options)
    trees: list[Tree] = [tree_of(fs)]

    def note() -> None:
        trees.insert(0, tree_of(fs))

    for step in (
        lambda: fs.dir_create("a"),
        lambda: fs.dir_create("a/b"),
        lambda: fs.write_text("a/one", "one\n"),
        lambda: fs.write_text("a/b/two", "two\n" * 20),
        lambda: fs.link_create("a/b/two", "link"),
        lambda: fs.write_text("a/one", "one, another time\n"),
        lambda: fs.file_create("empty"),
        lambda: fs.write_text("gone", "this is deleted"),
        lambda: fs.delete("gone"),
        lambda: fs.move("a/b", "c"),
    ):
        step()
        note()
    if large:
        fs.file_create("large")
        note()
        fs.file_write("large", bytes(range(256)) * 600)
        note()
    files = read_image(str(folder)) if is_killed else {}
    fs.close()
    if not is_killed:
        files, trees = read_files(str(folder)), trees[:1]
    return TreeImage(name, files, trees)


def paged(root: Path, name: str) -> TreeImage:
    """Return the image of a filesystem with lists in pages, shorter ones than a filesystem would put into pages."""
    folder = str(root / name)
    entries: list[FSEntry | NamePage | IdPage] = [
        Directory(Metadata(1, "", FileType.directory, 0, 0, 0, 0, 0o755), 0, id_list([2])),
        Directory(Metadata(2, "many", FileType.directory, 0, 0, 0, 0, 0o755), 1, Children(3, 4, 2, None)),
        NamePage(3, 2, 1, (b"", b"c"), (4, 5)),
        NamePage(4, 2, 0, (b"a", b"b"), (6, 7)),
        NamePage(5, 2, 0, (b"c", b"d"), (8, 9)),
        File(Metadata(6, "a", FileType.file, 3, 0, 0, 0, 0o644), 2, id_list([1])),
        File(Metadata(7, "b", FileType.file, 5, 0, 0, 0, 0o644), 2, ChunkIds(10, 1, 7, None)),
        Directory(Metadata(8, "c", FileType.directory, 0, 0, 0, 0, 0o755), 2, NO_IDS),
        Symlink(Metadata(9, "d", FileType.symlink, 0, 0, 0, 0, 0o777), 2, "a"),
        IdPage(10, 7, 0, id_list([2])),
    ]
    with ourdb.new(path=f"{folder}/data", **SMALL_FS) as data:
        data.set(id=1, data=b"aaa")
        data.set(id=2, data=b"bbbbb")
    with ourdb.new(path=f"{folder}/metadata", **SMALL_FS) as metadata:
        for one in entries:
            if isinstance(one, (NamePage, IdPage)):
                metadata.set(id=one.id, data=encode_page(one))
            else:
                metadata.set(id=one.metadata.id, data=encode(one))
    with vfs_db.open(folder) as fs:
        assert list(fs.check()) == []
        tree = tree_of(fs)
    return TreeImage(name, read_image(folder), [tree])


def filesystems(root: Path) -> list[TreeImage]:
    """Return an image of each kind."""
    return [
        filesystem(root, "version 1", is_killed=False),
        filesystem(root, "version 2", is_killed=False, ns_times=True),
        filesystem(root, "killed", is_killed=True),
        paged(root, "pages"),
    ]


Kind = Callable[[Path], list[Image] | list[TreeImage]]
"""What makes images in a folder."""
