"""Bad input: each gets the error that `os` raises, with errno and path, and leaves everything as it was."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ourdb
import vfs_db
from vfs_db import DamagedEntry, DatabaseVFS, InvalidName, MemoryDatabase, codec

Call = Callable[[DatabaseVFS], object]

CASES: list[tuple[str, int, str, Call]] = [
    ("read nothing", errno.ENOENT, "no", lambda fs: fs.file_read("no")),
    ("read in nothing", errno.ENOENT, "no/x", lambda fs: fs.file_read("no/x")),
    ("read below a file", errno.ENOTDIR, "f/x", lambda fs: fs.file_read("f/x")),
    ("read a directory", errno.EISDIR, "d", lambda fs: fs.file_read("d")),
    ("read a dangling link", errno.ENOENT, "dangling", lambda fs: fs.file_read("dangling")),
    ("read a loop", errno.ELOOP, "loop", lambda fs: fs.file_read("loop")),
    ("list below a loop", errno.ELOOP, "loop/x", lambda fs: fs.dir_list("loop/x")),
    ("write a directory", errno.EISDIR, "d", lambda fs: fs.file_write("d", b"x")),
    ("write the root", errno.EISDIR, "/", lambda fs: fs.file_write("/", b"x")),
    ("write in nothing", errno.ENOENT, "no/x", lambda fs: fs.file_write("no/x", b"x")),
    ("concatenate to a directory", errno.EISDIR, "d", lambda fs: fs.file_concatenate("d", b"x")),
    ("create what is there", errno.EEXIST, "f", lambda fs: fs.file_create("f")),
    ("create the root", errno.EEXIST, "/", lambda fs: fs.file_create("/")),
    ("create over a dangling link", errno.EEXIST, "dangling", lambda fs: fs.file_create("dangling")),
    ("create in nothing", errno.ENOENT, "no/x", lambda fs: fs.file_create("no/x")),
    ("create below a file", errno.ENOTDIR, "f/x", lambda fs: fs.file_create("f/x")),
    ("make a directory that is there", errno.EEXIST, "d", lambda fs: fs.dir_create("d")),
    ("make the root", errno.EEXIST, "", lambda fs: fs.dir_create("")),
    ("make a directory in nothing", errno.ENOENT, "no/x", lambda fs: fs.dir_create("no/x")),
    ("make directories over a file", errno.EEXIST, "d/g", lambda fs: fs.makedirs("d/g")),
    ("make directories below a file", errno.ENOTDIR, "d/g/x", lambda fs: fs.makedirs("d/g/x")),
    ("make directories that are there", errno.EEXIST, "d", lambda fs: fs.makedirs("d")),
    ("link what is there", errno.EEXIST, "f", lambda fs: fs.link_create("x", "f")),
    ("link in nothing", errno.ENOENT, "no/x", lambda fs: fs.link_create("x", "no/x")),
    ("link without a target", errno.ENOENT, "", lambda fs: fs.link_create("", "new")),
    ("link with a long target", errno.ENAMETOOLONG, "x" * 4096, lambda fs: fs.link_create("x" * 4096, "new")),
    ("link with NUL in the target", errno.EINVAL, "a\0b", lambda fs: fs.link_create("a\0b", "new")),
    ("list a file", errno.ENOTDIR, "f", lambda fs: fs.dir_list("f")),
    ("list nothing", errno.ENOENT, "no", lambda fs: fs.dir_list("no")),
    ("scan a file", errno.ENOTDIR, "f", lambda fs: fs.scandir("f")),
    ("read a file's target", errno.EINVAL, "f", lambda fs: fs.link_read("f")),
    ("read nothing's target", errno.ENOENT, "no", lambda fs: fs.link_read("no")),
    ("delete nothing", errno.ENOENT, "no", lambda fs: fs.delete("no")),
    ("delete a full directory", errno.ENOTEMPTY, "d", lambda fs: fs.delete("d")),
    ("delete the root", errno.EPERM, "/", lambda fs: fs.delete("/")),
    ("delete a directory as a file", errno.EISDIR, "empty", lambda fs: fs.file_delete("empty")),
    ("delete a file as a directory", errno.ENOTDIR, "f", lambda fs: fs.dir_delete("f")),
    ("delete a link as a directory", errno.ENOTDIR, "link", lambda fs: fs.dir_delete("link")),
    ("delete a file as a link", errno.EINVAL, "f", lambda fs: fs.link_delete("f")),
    ("delete a full directory as such", errno.ENOTEMPTY, "d", lambda fs: fs.dir_delete("d")),
    ("delete the root as a directory", errno.EPERM, "/", lambda fs: fs.dir_delete("/")),
    ("remove the root", errno.EPERM, "/", lambda fs: fs.remove_tree("/")),
    ("remove nothing", errno.ENOENT, "no", lambda fs: fs.remove_tree("no")),
    ("rename nothing", errno.ENOENT, "no", lambda fs: fs.rename("no", "x")),
    ("rename into nothing", errno.ENOENT, "f", lambda fs: fs.rename("f", "no/x")),
    ("rename below a file", errno.ENOTDIR, "empty", lambda fs: fs.rename("empty", "f/x")),
    ("rename the root", errno.EPERM, "/", lambda fs: fs.rename("/", "x")),
    ("move the root", errno.EPERM, "/", lambda fs: fs.move("/", "d/x")),
    ("rename into itself", errno.EINVAL, "d", lambda fs: fs.rename("d", "d/sub/x")),
    ("rename a file onto a directory", errno.EISDIR, "f", lambda fs: fs.rename("f", "empty")),
    ("rename a directory onto a file", errno.ENOTDIR, "empty", lambda fs: fs.rename("empty", "f")),
    ("rename onto a full directory", errno.ENOTEMPTY, "empty", lambda fs: fs.rename("empty", "d")),
    ("rename onto a directory above", errno.ENOTEMPTY, "d/g", lambda fs: fs.rename("d/g", "/")),
    ("rename to a long name", errno.ENAMETOOLONG, "f", lambda fs: fs.rename("f", "n" * 256)),
    ("copy nothing", errno.ENOENT, "no", lambda fs: fs.copy("no", "x")),
    ("copy into nothing", errno.ENOENT, "f", lambda fs: fs.copy("f", "no/x")),
    ("copy into itself", errno.EINVAL, "d", lambda fs: fs.copy("d", "d/sub/x")),
    ("copy onto itself", errno.EINVAL, "f", lambda fs: fs.copy("f", "f")),
    ("copy the root", errno.EINVAL, "/", lambda fs: fs.copy("/", "x")),
    ("copy onto a directory", errno.EEXIST, "d", lambda fs: fs.copy("d", "empty")),
    ("copy a file onto a directory", errno.EISDIR, "f", lambda fs: fs.copy("f", "empty")),
    ("copy a directory onto a file", errno.EEXIST, "d", lambda fs: fs.copy("d", "f")),
    ("stat nothing", errno.ENOENT, "no", lambda fs: fs.stat("no")),
    ("stat a dangling link", errno.ENOENT, "dangling", lambda fs: fs.stat("dangling")),
    ("chmod nothing", errno.ENOENT, "no", lambda fs: fs.chmod("no", 0o644)),
    ("utime nothing", errno.ENOENT, "no", lambda fs: fs.utime("no")),
    ("chown to a long name", errno.EINVAL, "f", lambda fs: fs.chown("f", "u" * 256, None)),
    ("truncate nothing", errno.ENOENT, "no", lambda fs: fs.truncate("no", 0)),
    ("truncate a directory", errno.EISDIR, "d", lambda fs: fs.truncate("d", 0)),
    ("truncate below zero", errno.EINVAL, "f", lambda fs: fs.truncate("f", -1)),
    ("truncate too far", errno.EFBIG, "/f", lambda fs: fs.truncate("f", 1 << 40)),
    ("touch what must not be there", errno.EEXIST, "f", lambda fs: fs.touch("f", exist_ok=False)),
    ("open nothing", errno.ENOENT, "no", lambda fs: fs.open("no")),
    ("open a directory", errno.EISDIR, "d", lambda fs: fs.open("d")),
    ("open a directory for writing", errno.EISDIR, "d", lambda fs: fs.open("d", "w")),
    ("open what must not be there", errno.EEXIST, "f", lambda fs: fs.open("f", "x")),
    ("open a link that must not be there", errno.EEXIST, "dangling", lambda fs: fs.open("dangling", "x")),
    ("create a long name", errno.ENAMETOOLONG, "é" * 128, lambda fs: fs.file_create("é" * 128)),
    ("look up a long name", errno.ENAMETOOLONG, "d/" + "n" * 256, lambda fs: fs.get("d/" + "n" * 256)),
    ("create a name with NUL", errno.EINVAL, "a\0b", lambda fs: fs.file_create("a\0b")),
    ("look up a name with NUL", errno.EINVAL, "a\0b", lambda fs: fs.get("a\0b")),
    ("create a name that is no UTF-8", errno.EINVAL, "a\ud800", lambda fs: fs.file_create("a\ud800")),
]


def fill(fs: DatabaseVFS) -> None:
    fs.makedirs("d/sub")
    fs.dir_create("empty")
    fs.file_write("f", b"f")
    fs.file_write("d/g", b"g")
    fs.link_create("f", "link")
    fs.link_create("/no", "dangling")
    fs.link_create("loop", "loop")


def state(fs: DatabaseVFS) -> dict[str, Any]:
    return {path: (entry, fs.file_read(path) if entry.is_file() else b"") for path, entry in fs.find("/")}


@pytest.mark.parametrize(("code", "path", "call"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_error_is_that_of_os_and_changes_nothing(fs: DatabaseVFS, code: int, path: str, call: Call) -> None:
    fill(fs)
    before = state(fs)
    for attempt in (_alone, _within_a_transaction):
        with pytest.raises(OSError) as caught:
            attempt(fs, call)
        assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]
        assert caught.value.filename == path
        assert type(caught.value) in (type(OSError(code, "")), InvalidName)
        assert state(fs) == before


def _alone(fs: DatabaseVFS, call: Call) -> None:
    call(fs)


def _within_a_transaction(fs: DatabaseVFS, call: Call) -> None:
    failure: list[OSError] = []
    with fs.transaction():
        try:
            call(fs)
        except OSError as error:
            failure.append(error)
    raise failure[0]


def test_invalid_names_are_value_errors_too(fs: DatabaseVFS) -> None:
    with pytest.raises(ValueError, match="NUL"):
        fs.file_create("a\0b")


def test_forty_links_are_followed_and_no_more(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"f")
    fs.link_create("/f", "l1")
    for number in range(2, 42):
        fs.link_create(f"/l{number - 1}", f"l{number}")
    assert fs.file_read("l40") == b"f"
    with pytest.raises(OSError, match="symbolic links") as caught:
        fs.file_read("l41")
    assert caught.value.errno == errno.ELOOP


def test_links_that_multiply_end(fs: DatabaseVFS) -> None:
    """Each level doubles the links to follow: the count over all of the path stops it."""
    fs.link_create("/", "l0")
    for number in range(1, 30):
        fs.link_create(f"l{number - 1}/l{number - 1}", f"l{number}")
    with pytest.raises(OSError, match="symbolic links"):
        fs.stat("l29")


def test_full_directory_is_refused_before_anything_changes() -> None:
    """A version 1 entry holds what fits 65535 bytes."""
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), strict_v1=True)
    fs.dir_create("d")
    with fs.transaction():
        for number in range(16_350):
            fs.file_create(f"d/{number}")
    count = len(fs.get("d").children)  # type: ignore[union-attr]
    with pytest.raises(OSError, match="Too many links") as caught:
        for number in range(16_350, 17_000):
            fs.file_create(f"d/{number}")
            count += 1
    assert caught.value.errno == errno.EMLINK
    assert len(codec.encode(fs.get("d"))) > 65535 - 4
    assert len(fs.dir_list("d")) == count
    fs.delete("d/5")
    fs.file_create("d/fits again")
    with pytest.raises(OSError, match="Too many links"):
        fs.rename("d", "d" * 255)
    assert list(fs.check()) == []


def test_file_of_too_many_chunks_is_refused() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), strict_v1=True)
    fs.file_write("f", b"before")
    with fs.open("f", "r+b", buffering=0) as file:
        file.seek(2 << 30)
        with pytest.raises(OSError, match="File too large"):
            file.write(b"x")
        assert file.tell() == 2 << 30
    assert fs.file_read("f") == b"before"


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fill(fs)
    return vfs_db.new(data, metadata), data, metadata


@pytest.mark.parametrize("record", [None, b"", b"\x01\x00garbage", b"\x09\x00" + bytes(80)])
def test_damaged_entry_is_eio_and_does_not_hide_the_rest(
    damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase], record: bytes | None
) -> None:
    fs, _, metadata = damaged
    file_id = fs.get("d/g").metadata.id
    fs.refresh()
    if record is None:
        metadata.delete(file_id)
    else:
        metadata.set(id=file_id, data=record)
    with pytest.warns(DamagedEntry, match=f"/d: .*entry {file_id}"):
        assert [entry.metadata.name for entry in fs.dir_list("d")] == ["sub"]
    assert fs.get("d/sub").is_dir()
    for call in (lambda: fs.file_read("d/g"), lambda: fs.file_create("d/new"), lambda: fs.exists("d/g")):
        with pytest.raises(OSError, match=f"entry {file_id}") as caught:
            call()
        assert caught.value.errno == errno.EIO
    with pytest.raises(OSError, match="not empty"):
        fs.rename("empty", "d")
    assert any(problem.entry_id == file_id and problem.kind == "unreadable" for problem in fs.check())
    assert fs.file_read("f") == b"f"
    fs.remove_tree("d")
    assert {problem.kind for problem in fs.check()} <= {"orphan"}, "the content of a file that nobody knows any more"
    fs.repair()
    assert list(fs.check()) == []


def test_missing_chunk_is_eio(damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]) -> None:
    fs, data, _ = damaged
    file = fs.file_write("big", b"x" * 200_000)
    data.delete(file.chunk_ids[1])
    for call in (lambda: fs.file_read("big"), lambda: fs.copy("big", "copy")):
        with pytest.raises(OSError, match=f"chunk {file.chunk_ids[1]}") as caught:
            call()
        assert caught.value.errno == errno.EIO
    with fs.open("big", "rb") as opened:
        assert opened.read(1000) == b"x" * 1000
    assert not fs.exists("copy")
    fs.delete("big")


def test_chunks_of_a_wrong_size_are_eio(damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]) -> None:
    fs, data, _ = damaged
    file = fs.file_write("big", b"x" * 200_000)
    data.set(id=file.chunk_ids[3], data=b"short")
    with pytest.raises(OSError, match=r"says 200000 bytes, its 4 chunks have 196610") as caught:
        fs.file_read("big")
    assert caught.value.filename == "/big"


def test_entry_under_a_wrong_id_is_eio(damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]) -> None:
    fs, _, metadata = damaged
    first, second = fs.get("f").metadata.id, fs.get("d").metadata.id
    fs.refresh()
    metadata.set(id=first, data=metadata.get(second))
    with pytest.warns(DamagedEntry, match=f"the record holds entry {second}"):
        fs.dir_list("/")


def test_circle_of_directories_never_loops(damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]) -> None:
    """/d/sub lists /d again, and /d says that it is in /d/sub."""
    fs, _, metadata = damaged
    top, sub = fs.get("d"), fs.get("d/sub")
    assert isinstance(top, vfs_db.Directory)
    assert isinstance(sub, vfs_db.Directory)
    moved = vfs_db.Directory(top.metadata, sub.metadata.id, top.children)
    circle = vfs_db.Directory(sub.metadata, sub.parent_id, [top.metadata.id])
    metadata.set(id=top.metadata.id, data=codec.encode(moved))
    metadata.set(id=sub.metadata.id, data=codec.encode(circle))
    fs.refresh()
    with pytest.raises(OSError, match="circle") as caught:
        top.get_path()
    assert caught.value.errno == errno.EIO
    assert not fs.exists("d"), "what names another directory as its parent is not in this one"
    assert {problem.kind for problem in fs.check()} == {"stale", "orphan"}
    fs.repair()
    assert list(fs.check()) == []
    assert fs.file_read(f"lost+found/#{top.metadata.id}/g") == b"g"


def test_directory_that_lists_itself_never_loops(damaged: tuple[DatabaseVFS, MemoryDatabase, MemoryDatabase]) -> None:
    fs, _, metadata = damaged
    entry = fs.get("d")
    loop = vfs_db.Directory(entry.metadata, entry.metadata.id, [entry.metadata.id])
    root = fs.root_get()
    metadata.set(id=entry.metadata.id, data=codec.encode(loop))
    fs.refresh()
    assert fs.root_get() == root
    assert list(fs.walk("d")) == []
    with pytest.raises(OSError, match="circle"):
        entry.get_path()


def test_databases_that_hold_something_else_are_refused() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    metadata.set(id=1, data=b"something else")
    with pytest.raises(OSError, match="record 1 of the metadata database is no entry"):
        vfs_db.new(data, metadata)
    metadata = MemoryDatabase()
    metadata.set(id=5, data=b"something else")
    with pytest.raises(OSError, match="one has 1 records, but there is no root directory"):
        vfs_db.new(data, metadata)
    with pytest.raises(OSError, match="one has 1 records"):
        vfs_db.new(metadata, MemoryDatabase())
    metadata = MemoryDatabase()
    metadata.set(id=0, data=b"something else")
    with pytest.raises(OSError, match="record 0"):
        vfs_db.new(data, metadata)
    metadata = MemoryDatabase(incremental_mode=True)
    metadata.set(data=b"x")
    metadata.delete(1)
    with pytest.raises(OSError, match="gives id 2 where a new one gives 1"):
        vfs_db.new(MemoryDatabase(incremental_mode=True), metadata)
    assert (len(data), len(metadata)) == (0, 0), "nothing was written"
    with pytest.raises(ValueError, match="a database each"):
        vfs_db.new(data, data)


def test_file_as_the_root_is_refused() -> None:
    metadata = MemoryDatabase()
    entry = vfs_db.File(vfs_db.Metadata(1, "", vfs_db.FileType.file), 0)
    metadata.set(id=1, data=codec.encode(entry))
    with pytest.raises(OSError, match="not the root directory"):
        vfs_db.new(MemoryDatabase(), metadata)


def test_folder_that_is_none_or_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        vfs_db.open(tmp_path / "missing", read_only=True)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        vfs_db.open(tmp_path / "file")
    (tmp_path / "odd" / "data").mkdir(parents=True)
    (tmp_path / "odd" / "data" / "0.db").write_bytes(b"\0no database")
    with pytest.raises(ourdb.OurDBError):
        vfs_db.open(tmp_path / "odd")


def test_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fs.file_write("f", b"f")
        with pytest.raises(ourdb.DatabaseLocked):
            vfs_db.open(tmp_path)
        fs.file_write("g", b"g")
        assert fs.file_read("f") == b"f"


def test_read_only_writes_nothing(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fill(fs)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with vfs_db.open(tmp_path, read_only=True) as fs:
        assert fs.file_read("link") == b"f"
        for call in (
            lambda: fs.file_write("f", b"x"), lambda: fs.delete("f"), lambda: fs.rename("f", "g"), lambda: fs.touch("f"),
            lambda: fs.open("f", "w"), lambda: fs.makedirs("x"), lambda: fs.copy("f", "g"), fs.repair,
        ):  # fmt: skip
            with pytest.raises(OSError, match="read_only=True") as caught:
                call()
            assert caught.value.errno == errno.EROFS
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files


def test_flipped_bytes_on_disk_are_eio(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fs.file_write("f", b"content that is long enough to be found" * 10)
    path = tmp_path / "data" / "0.db"
    raw = bytearray(path.read_bytes())
    at = raw.index(b"long enough")
    raw[at] ^= 0xFF
    path.write_bytes(raw)
    with vfs_db.open(tmp_path) as fs:
        with pytest.raises(OSError, match="CRC mismatch") as caught:
            fs.file_read("f")
        assert caught.value.errno == errno.EIO
        assert isinstance(caught.value.__cause__, ourdb.CorruptRecord)
        assert {problem.kind for problem in fs.check()} >= {"chunk", "database"}


def test_warnings_name_the_damage_once_per_listing() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fs.file_create("a")
    fs.file_create("b")
    metadata.delete(2)
    metadata.delete(3)
    fs.refresh()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fs.dir_list() == []
    assert [one.category for one in caught] == [DamagedEntry]


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "f").write_bytes(b"")
        with pytest.raises(NotADirectoryError):
            vfs_db.open(tmp_path / "f" / "vfs")
        return
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        vfs_db.open(tmp_path / "vfs")


def test_of_a_mode_only_the_permissions_are_kept(fs: DatabaseVFS) -> None:
    fs.file_create("f", stat.S_IFDIR | 0o644)
    fs.dir_create("d", -1)
    fs.makedirs("e/e", stat.S_IFREG | 0o1755)
    fs.touch("t", stat.S_IFDIR | 0o600)
    fs.chmod("t", stat.S_IFDIR | 0o640)
    modes = [fs.get(path).metadata.mode for path in ("f", "d", "e", "e/e", "t")]
    assert modes == [0o644, 0o7777, 0o1755, 0o1755, 0o640]


@pytest.mark.parametrize("when", [float("inf"), float("-inf"), float("nan"), 1e30, "1"])
def test_times_that_are_none_are_refused_as_the_system_does(fs: DatabaseVFS, tmp_path: Path, when: Any) -> None:
    fs.touch("f")
    host = tmp_path / "f"
    host.touch()
    with pytest.raises((ValueError, TypeError, OverflowError)) as wanted:
        os.utime(host, (when, 1))
    with pytest.raises(wanted.type):
        fs.utime("f", (when, 1))
    with pytest.raises(TypeError):
        fs.utime("f", ns=(1.0, 2))  # type: ignore[arg-type]
