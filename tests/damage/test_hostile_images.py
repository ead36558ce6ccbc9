"""Images made to harm: bounded time and memory, clear errors, and nothing written outside the folder named."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import ourdb
import vfs_db
from tests.damage.images import read_files
from tests.damage.limits import limited
from vfs_db import codec
from vfs_db.chunk_tree import ChunkIds
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.id_list import IdList, id_list
from vfs_db.metadata import FileType, Metadata
from vfs_db.name_tree import Children
from vfs_db.page import IdPage, NamePage, Page, encode_page

OURS = (OSError, ourdb.OurDBError)
SECONDS = 10.0
STAYS = ("chunk", "page", "shared", "unsupported")
"""Content that is not there, or that two claim, can't be mended; what a newer version may read is left to it."""


def _metadata(one_id: int, name: str, kind: FileType, size: int = 0) -> Metadata:
    return Metadata(one_id, name, kind, size, 0, 0, 0, 0o755)


def directory(one_id: int, name: str, parent: int, children: IdList | list[int]) -> FSEntry:
    ids = children if isinstance(children, IdList) else id_list(children)
    return Directory(_metadata(one_id, name, FileType.directory), parent, ids)


def file(one_id: int, name: str, parent: int, size: int, chunk_ids: IdList | list[int]) -> FSEntry:
    ids = chunk_ids if isinstance(chunk_ids, IdList) else id_list(chunk_ids)
    return File(_metadata(one_id, name, FileType.file, size), parent, ids)


def link(one_id: int, name: str, parent: int, target: str) -> FSEntry:
    return Symlink(_metadata(one_id, name, FileType.symlink), parent, target)


def root(*children: int) -> FSEntry:
    return directory(1, "", 0, list(children))


Chunks = dict[int, bytes]
Made = tuple[list[FSEntry | Page], Chunks]


def _paged(children: Children, *pages: Page) -> Made:
    return [root(2), directory(2, "large", 1, children), file(9, "f", 2, 1, [1]), *pages], {1: b"x"}


def _listed(chunk_ids: ChunkIds, size: int, *pages: Page) -> Made:
    return [root(2), file(2, "f", 1, size, chunk_ids), *pages], {1: b"x"}


CHUNK = bytes(65535)

HOSTILE: dict[str, Callable[[], Made]] = {
    "a circle of directories": lambda: ([root(2), directory(2, "a", 3, [3]), directory(3, "b", 2, [2])], {}),
    "a circle through the root": lambda: ([root(2), directory(2, "a", 1, [3, 1]), directory(3, "b", 2, [2, 1])], {}),
    "its own parent": lambda: ([root(2), directory(2, "a", 2, [2])], {}),
    "a root that lists itself": lambda: ([directory(1, "", 1, [1, 1])], {}),
    "two parents": lambda: (
        [root(2, 3), directory(2, "a", 1, [4]), directory(3, "b", 1, [4]), file(4, "f", 2, 1, [1])],
        {1: b"x"},
    ),
    "one name twice": lambda: ([root(2, 3), file(2, "f", 1, 1, [1]), file(3, "f", 1, 1, [2])], {1: b"x", 2: b"y"}),
    "listed a thousand times": lambda: ([root(*[2] * 1000), file(2, "f", 1, 1, [1])], {1: b"x"}),
    "chunks shared": lambda: ([root(2, 3), file(2, "a", 1, 1, [1]), file(3, "b", 1, 1, [1])], {1: b"x"}),
    "one chunk 3000 times": lambda: ([root(2), file(2, "f", 1, 65535 * 3000, [1] * 3000)], {1: CHUNK}),
    "chunks missing": lambda: ([root(2), file(2, "f", 1, 65536, [1, 7])], {1: CHUNK}),
    "a chunk that is empty": lambda: ([root(2), file(2, "f", 1, 1, [1])], {1: b""}),
    "a size of 2^63": lambda: ([root(2), file(2, "f", 1, 2**63, [1])], {1: b"x"}),
    "a size of 2^64 - 1 and no chunk": lambda: ([root(2), file(2, "f", 1, 2**64 - 1, [])], {}),
    "a size off by 2^63": lambda: ([root(2), file(2, "f", 1, 2**63 + 1, [1])], {1: b"x"}),
    "pages that say 4 billion names": lambda: _paged(Children(3, 2**32 - 1, 2, None), NamePage(3, 2, 0, (b"f",), (9,))),
    "a page below itself": lambda: _paged(Children(3, 2, 2, None), NamePage(3, 2, 1, (b"", b"g"), (3, 3))),
    "a page of another directory": lambda: _paged(Children(3, 2, 2, None), NamePage(3, 1, 0, (b"f",), (9,))),
    "a page whose names are ids of pages": lambda: _paged(Children(3, 1, 2, None), NamePage(3, 2, 0, (b"f",), (3,))),
    "pages that say 4 billion chunks": lambda: _listed(
        ChunkIds(3, 2**32 - 1, 2, None), 65535 * (2**32 - 1), IdPage(3, 2, 0, id_list([1]))
    ),
    "pages of chunks in a circle": lambda: _listed(
        ChunkIds(3, 4000, 2, None), 65535 * 4000, IdPage(3, 2, 1, id_list([4, 4])), IdPage(4, 2, 1, id_list([3, 3]))
    ),
    "one page of chunks a million times": lambda: _listed(
        ChunkIds(3, 10**9, 2, None),
        65535 * 10**9,
        IdPage(3, 2, 2, id_list([4] * 1000)),
        IdPage(4, 2, 1, id_list([5] * 1000)),
        IdPage(5, 2, 0, id_list([1] * 1000)),
    ),
    "links in a circle": lambda: ([root(2, 3), link(2, "a", 1, "b"), link(3, "b", 1, "a")], {}),
    "a link to itself, 40 times deeper each": lambda: (
        [root(*range(2, 42)), *(link(one, f"l{one}", 1, f"l{one + 1}/l{one + 1}") for one in range(2, 42))],
        {},
    ),
}
NAMES = (
    "..",
    ".",
    "",
    "/etc/passwd",
    "../../../../tmp/outside",
    "a\0b",
    "a/b",
    "n" * 60_000,
    "\udcff\udcfe",
    "-rf",
    "\x1b[2J",
)


def write_image(folder: Path, entries: list[FSEntry | Page], chunks: Chunks) -> str:
    """Write entries and chunks as records of two databases, as a program could that follows the format only."""
    with ourdb.new(path=str(folder / "data"), incremental_mode=False, record_nr_max=1000, keysize=4) as data:
        for one_id, chunk in chunks.items():
            data.set(id=one_id, data=chunk)
    with ourdb.new(path=str(folder / "metadata"), incremental_mode=False, record_nr_max=1000, keysize=4) as metadata:
        for one in entries:
            if isinstance(one, (NamePage, IdPage)):
                metadata.set(id=one.id, data=encode_page(one))
            else:
                metadata.set(id=one.metadata.id, data=codec.encode(one))
    return str(folder)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """The only folder that a test may write to besides the image; all around it stays as it was."""
    place = tmp_path / "around" / "place"
    (place / "inside").mkdir(parents=True)
    (tmp_path / "around" / "file").write_bytes(b"stays")
    (place / "file").write_bytes(b"stays")
    yield place / "inside"
    assert (sorted(os.listdir(tmp_path / "around")), sorted(os.listdir(place))) == (
        ["file", "place"],
        ["file", "inside"],
    )
    assert ((tmp_path / "around" / "file").read_bytes(), (place / "file").read_bytes()) == (b"stays", b"stays")
    assert not os.path.lexists("/tmp/outside")


def _try(call: Callable[[], object]) -> object:
    with suppress(*OURS):
        return call()
    return None


def _drain(found: Iterator[object]) -> None:
    for _ in found:
        pass


def _read_part(fs: vfs_db.DatabaseVFS, path: str) -> None:
    with fs.open(path, "rb") as opened:
        opened.read(100)


def read_all(fs: vfs_db.DatabaseVFS, inside: Path) -> None:
    """Do all that only reads, to the end or to one of our errors."""
    paths = ["/"]
    with suppress(*OURS):
        paths += [path for path, _ in fs.find("/")]
    assert len(paths) < 5000
    for path in paths:
        for name in ("file_read", "dir_list", "stat", "lstat", "link_read", "exists"):
            _try(lambda name=name, path=path: getattr(fs, name)(path))  # type: ignore[misc]
        _try(partial(_read_part, fs, path))
    for call in (
        lambda: _drain(fs.walk("/", followlinks=True)),
        lambda: fs.glob("**/*"),
        lambda: fs.print(io.StringIO()),
        lambda: fs.statvfs("/"),
        fs.stats,
        lambda: fs.export_tree("/", inside / "exported"),
        lambda: fs.backup(inside / "backup"),
        lambda: list(fs.check()),
    ):
        _try(call)


def change_all(fs: vfs_db.DatabaseVFS) -> None:
    """Do what changes a tree: all of it works, or fails with one of our errors."""
    names = ["a", "b", "f", "large", "a/b", "a/f"]
    for name in names:
        _try(lambda name=name: fs.file_write(name, b"new"))  # type: ignore[misc]
        _try(lambda name=name: fs.truncate(name, 5))  # type: ignore[misc]
        _try(lambda name=name: fs.copy(name, "copy of it"))  # type: ignore[misc]
        _try(lambda name=name: fs.move(name, f"{name} moved"))  # type: ignore[misc]
        _try(lambda name=name: fs.file_create(f"{name}/new"))  # type: ignore[misc]
        _try(lambda name=name: fs.remove_tree(name))  # type: ignore[misc]
    _try(lambda: fs.compact(keep_history=False))


def _opened(path: str, *, read_only: bool = False) -> vfs_db.DatabaseVFS | None:
    with suppress(*OURS):
        return vfs_db.open(path, read_only=read_only)
    return None


def assault(path: str, inside: Path) -> None:
    """Use the image in every way, then repair it: what is left is sound."""
    with warnings.catch_warnings(), limited(SECONDS):
        warnings.simplefilter("ignore", vfs_db.DamagedEntry)
        for number, read_only in enumerate((True, False)):
            fs = _opened(path, read_only=read_only)
            if fs is not None:
                read_all(fs, inside / str(number))
                fs.close()
        fs = _opened(path)
        if fs is None:
            return
        fs.repair()
        assert [str(problem) for problem in fs.check() if problem.kind not in STAYS] == []
        read_all(fs, inside / "repaired")
        change_all(fs)
        fs.repair()
        assert [str(problem) for problem in fs.check() if problem.kind not in STAYS] == []
        fs.close()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tree_does_no_harm(tmp_path: Path, outside: Path, kind: str) -> None:
    assault(write_image(tmp_path / "image", *HOSTILE[kind]()), outside)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [lambda name: file(2, name, 1, 1, [1]), lambda name: directory(2, name, 1, [])])
def test_a_hostile_name_leads_nowhere(tmp_path: Path, outside: Path, name: str, make: Callable[[str], FSEntry]) -> None:
    path = write_image(tmp_path / "image", [root(2, 3), make(name), file(3, "good", 1, 1, [2])], {1: b"x", 2: b"y"})
    with vfs_db.open(path) as fs:
        assert fs.file_read("good") == b"y"
    assault(path, outside)


def test_a_hostile_target_is_not_followed_on_the_host(tmp_path: Path, outside: Path) -> None:
    """An image may hold a link that leads out, and behind it a directory of the same name."""
    path = write_image(
        tmp_path / "image",
        [root(2, 3), link(2, "out", 1, str(outside.parent)), directory(3, "out", 1, [4]), file(4, "file", 3, 1, [1])],
        {1: b"x"},
    )
    assault(path, outside)


def test_entries_of_any_bytes_are_refused(tmp_path: Path, outside: Path) -> None:
    for at, raw in enumerate((b"", b"\1", b"\2", b"\1\1" + bytes(60000), b"\2\1vf" + b"\xff" * 200, b"\xff" * 65535)):
        path = write_image(tmp_path / str(at), [root(2, 3), file(3, "good", 1, 1, [1])], {1: b"y"})
        with ourdb.new(path=f"{path}/metadata") as metadata:
            metadata.set(id=2, data=raw)
        with limited(SECONDS), vfs_db.open(path) as fs:
            assert fs.file_read("good") == b"y"
        assault(path, outside)


# The database's files


def small(folder: Path) -> str:
    with ourdb.new(path=str(folder), incremental_mode=False, record_nr_max=100, keysize=4) as db:
        for one in range(5):
            db.set(id=one, data=b"%d" % one)
    return str(folder)


def attack(path: str) -> None:
    """Open, read and repair; whatever comes is one of our errors."""
    with limited(SECONDS):
        for read_only in (True, False):
            with suppress(*OURS), ourdb.new(path=path, read_only=read_only) as db:
                for one in range(5):
                    _try(lambda one=one: db.get(one))  # type: ignore[misc]
                    _try(lambda one=one: db.get_history(one, 10**9))  # type: ignore[misc]
                _try(lambda: list(db.check()))
                _try(lambda: len(db))
                _try(db.stats)
                _try(lambda: db.get_many(db))
                if not read_only:
                    _try(lambda: db.set(id=1, data=b"new"))
                    _try(lambda: db.delete(2))
                    _try(db.sync)
                    _try(lambda: db.compact(keep_history=True))
        _try(lambda: ourdb.repair(path))


FILES = ("0.db", "lookup/data", "lookup/.ourdb", "lookup/.inc", "journal", "joined", "lookup", "1.db")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["fifo", "link to a file", "link to a folder", "dangling link", "folder", "socket"])
def test_what_is_no_file_in_place_of_a_file(tmp_path: Path, outside: Path, name: str, what: str) -> None:
    path = small(tmp_path / "db")
    victim = outside.parent / "file"
    elsewhere = outside.parent
    place = os.path.join(path, name)
    if os.path.lexists(place):
        os.rename(place, tmp_path / "moved away")
    if what == "fifo":
        os.mkfifo(place)
    elif what == "link to a file":
        os.symlink(victim, place)
    elif what == "link to a folder":
        os.symlink(elsewhere, place)
    elif what == "dangling link":
        os.symlink(elsewhere / "not there", place)
    elif what == "folder":
        os.mkdir(place)
    else:
        os.mknod(place, 0o140644)
    attack(path)


def test_a_lookup_folder_that_is_a_link_out_is_not_written_through(tmp_path: Path, outside: Path) -> None:
    path = small(tmp_path / "db")
    other = outside / "other"
    os.rename(f"{path}/lookup", other)
    before = read_files(str(other))
    os.symlink(other, f"{path}/lookup")
    attack(path)
    assert read_files(str(other)) == before


@pytest.mark.parametrize(
    "name", ["lookup/data", "lookup_dump.db/data", "lookup_data/data", "0.db", "journal", "joined"]
)
def test_a_sparse_file_of_100_gb(tmp_path: Path, name: str) -> None:
    path = small(tmp_path / "db")
    if name.startswith("lookup_"):
        os.rename(f"{path}/lookup", f"{path}/{name.partition('/')[0]}")
    with open(f"{path}/{name}", "ab") as file:
        try:
            file.truncate(100 * 10**9)
        except OSError:
            pytest.skip("no sparse files of that size here")
    attack(path)


@pytest.mark.parametrize("size", [0, 1, 3, 399, 401, 4 * 10**6, 2**33])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_lookup_table_of_a_wrong_size(tmp_path: Path, size: int, is_ours: bool) -> None:
    path = small(tmp_path / "db")
    os.truncate(f"{path}/lookup/data", size)
    if not is_ours:
        os.unlink(f"{path}/lookup/.ourdb")
    attack(path)


def test_a_history_that_leads_in_a_circle(tmp_path: Path) -> None:
    path = small(tmp_path / "db")
    with ourdb.new(path=path) as db:
        positions = [db.lookup(one).position for one in range(3)]
    for to in (positions[0], positions[1], positions[2], 2**31, 0xFFFFFFFF):
        with open(f"{path}/0.db", "r+b") as file:
            file.seek(positions[1] + 6)
            file.write(to.to_bytes(6, "big"))
        with ourdb.new(path=path) as db, limited(SECONDS):
            assert db.get(1) == b"1"
            if to >= positions[1]:
                with pytest.raises(ourdb.CorruptRecord):
                    db.get_history(1, 10)
        assert ourdb.repair(path).records == 5
        with ourdb.new(path=path) as db:
            assert (list(db.check()), db.get_history(1, 10)[0]) == ([], b"1")


@pytest.mark.parametrize("marker", [b"1", b"9999999999999999", b"65537 ", b"0 ", b"1 00000000", b"x" * 1000, b""])
def test_a_compaction_marker_that_nobody_wrote_removes_nothing(tmp_path: Path, marker: bytes) -> None:
    path = small(tmp_path / "db")
    for name in ("1.db", "2.db"):
        (tmp_path / "db" / name).write_bytes(b"\0kept")
    (tmp_path / "db" / "compact").write_bytes(marker)
    with limited(SECONDS), pytest.raises(ourdb.CorruptRecord, match="compact"):
        ourdb.new(path=path)
    assert {"1.db", "2.db"} <= set(os.listdir(path))


@pytest.mark.parametrize("target", [b"/etc", b"../../..", b"a\0b", b"\xff" * 60000, b""])
def test_a_pointer_to_elsewhere(tmp_path: Path, outside: Path, target: bytes) -> None:
    from zlib import crc32

    path = small(tmp_path / "db")
    for has_journal in (0, 1):
        raw = struct.pack("<8sBxH16s", b"OurDBjnd", has_journal, len(target), bytes(16)) + target
        (tmp_path / "db" / "joined").write_bytes(raw + struct.pack("<I", crc32(raw)))
        attack(path)


@pytest.mark.parametrize("how", ["delete", "in one batch"])
def test_a_damaged_record_is_deleted_without_harm_to_the_next(tmp_path: Path, how: str) -> None:
    """Its size may be what is damaged: zeros over it would run into the record behind it."""
    path = small(tmp_path / "db")
    with ourdb.new(path=path) as db:
        position = db.lookup(1).position
    with open(f"{path}/0.db", "r+b") as file:
        file.seek(position)
        file.write((40).to_bytes(2, "little"))
    with ourdb.new(path=path) as db:
        db.set(id=0, data=b"0")
        if how == "delete":
            db.delete(1)
        else:
            db.write_batch([], [1])
        db.sync()
        assert [db.get(one) for one in (0, 2, 3, 4)] == [b"0", b"2", b"3", b"4"]
        assert 1 not in db


def test_a_next_id_that_is_too_low_gives_out_no_id_in_use(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    with ourdb.new(path=path) as db:
        for one in range(1, 20):
            assert db.set(data=b"%d" % one) == one
    (tmp_path / "db" / "lookup" / ".inc").write_bytes(b"3")
    with ourdb.new(path=path) as db:
        assert db.set(data=b"new") == 20
        assert db.get(3) == b"3"


def test_a_counter_of_an_earlier_day_gives_out_no_id_in_use(tmp_path: Path) -> None:
    """The slot of record 0 may lead to an older record 0, which is whole."""
    path = str(tmp_path / "fs")
    with vfs_db.open(path) as fs:
        fs.write_text("first", "1")
    with ourdb.new(path=f"{path}/metadata") as metadata:
        old = metadata.get(0)
    with vfs_db.open(path) as fs:
        for one in range(100):
            fs.write_text(f"f{one}", f"{one}")
    with ourdb.new(path=f"{path}/metadata") as metadata:
        metadata.set(id=0, data=old)
    with vfs_db.open(path) as fs:
        fs.write_text("new", "new")
        assert [fs.read_text(f"f{one}") for one in range(100)] == [f"{one}" for one in range(100)]
        assert list(fs.check()) == []


@pytest.mark.parametrize("name", ["..", "/etc/passwd", "../../../../tmp/outside", "a/b", "a\0b", "out"])
def test_the_shell_gets_nothing_to_a_place_outside(tmp_path: Path, outside: Path, name: str) -> None:
    path = write_image(
        tmp_path / "image",
        [root(2, 3, 4), link(2, "out", 1, str(outside.parent)), file(3, name, 1, 1, [1]), directory(4, name, 1, [5]),
         file(5, "file", 4, 1, [2])],
        {1: b"x", 2: b"y"},
    )  # fmt: skip
    command = [sys.executable, "-m", "vfs_db.shell", "-r", "-c", f"get -r / {outside}/got", path]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)


def test_after_repair_what_is_deleted_leaves_no_torn_tail(tmp_path: Path) -> None:
    """A damaged record in the middle is behind the last that counts, once those behind it are deleted."""
    path = small(tmp_path / "db")
    with ourdb.new(path=path) as db:
        position = db.lookup(2).position
    with open(f"{path}/0.db", "r+b") as opened:
        opened.seek(position + 12)
        opened.write(b"?")
    report = ourdb.repair(path)
    assert (report.lost_ids, [lost[1:] for lost in report.lost]) == ([2], [(position, 13)])
    assert os.listdir(f"{path}/lookup.old").count(f"0.db.{position}") == 1
    with ourdb.new(path=path) as db:
        db.delete_many([3, 4])
        db.sync()
        assert list(db.check()) == []
        assert [db.get(0), db.get(1)] == [b"0", b"1"]
