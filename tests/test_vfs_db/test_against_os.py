"""The same operations on our filesystem and on the operating system's: same results, same errno, same tree."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ourdb
import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS, MemoryDatabase

# Names at the top and below differ, so that a relative link never finds something from the root only; there we differ
# on purpose (the second try).
TOP = ["A", "B", "C"]
BELOW = ["x", "y", "z"]

paths = st.builds(
    lambda top, below: "/".join([top, *below]), st.sampled_from(TOP), st.lists(st.sampled_from(BELOW), max_size=3)
)
dotted_paths = st.builds(lambda path, tail: path + tail, paths, st.sampled_from(["", "/", "/.", "/..", "/./y", "//z"]))
odd_paths = st.one_of(
    paths,
    paths,
    paths,
    dotted_paths,
    st.just(""),
    st.builds(lambda path: path + "/" + "n" * 256, paths),
)
targets = st.one_of(
    st.builds(lambda path: "/" + path, paths),
    st.sampled_from(["x", "y/z", "./y", "z"]),
)
contents = st.one_of(
    st.binary(max_size=20), st.sampled_from([CHUNK_SIZE, CHUNK_SIZE + 1, 3]).map(lambda size: b"c" * size)
)
modes = st.sampled_from(["rb", "r+b", "wb", "w+b", "xb", "x+b", "ab", "a+b"])
offsets = st.sampled_from([0, 1, 10, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 5, 2 * CHUNK_SIZE])

operations = st.one_of(
    st.tuples(st.just("create"), odd_paths),
    st.tuples(st.just("mkdir"), odd_paths),
    st.tuples(st.just("makedirs"), paths, st.booleans()),
    st.tuples(st.just("symlink"), odd_paths, targets),
    st.tuples(st.just("write"), odd_paths, contents),
    st.tuples(st.just("append"), odd_paths, contents),
    st.tuples(st.just("patch"), paths, offsets, contents),
    st.tuples(st.just("use"), odd_paths, modes, offsets, contents, st.one_of(st.none(), offsets)),
    st.tuples(st.just("truncate"), odd_paths, offsets),
    st.tuples(st.just("read"), odd_paths),
    st.tuples(st.just("listdir"), odd_paths),
    st.tuples(st.just("readlink"), odd_paths),
    st.tuples(st.just("stat"), odd_paths),
    st.tuples(st.just("lstat"), odd_paths),
    st.tuples(st.just("unlink"), odd_paths),
    st.tuples(st.just("rmdir"), odd_paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("rename"), dotted_paths, dotted_paths),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("chmod"), dotted_paths, st.sampled_from([0o755, 0o700, 0o4711])),
    st.tuples(st.just("utime"), dotted_paths, st.integers(0, 1 << 31)),
    st.tuples(st.just("kinds"), dotted_paths),
    st.tuples(st.just("rmtree"), dotted_paths),
    st.tuples(st.just("copytree"), paths, paths),
    st.tuples(st.just("walk"), paths),
)


def _shape(found: os.stat_result) -> tuple[int, int, int | None]:
    is_directory = stat.S_ISDIR(found.st_mode)
    return stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), None if is_directory else found.st_size


def _used(file: IO[bytes], offset: int, data: bytes, size: int | None) -> list[Any]:
    """Read, write and cut an open file, as far as its mode allows, and return all that it says."""
    seen: list[Any] = [file.readable(), file.writable(), file.tell()]
    if file.readable():
        seen += [file.read(5), file.tell()]
    if file.writable():
        seen += [file.seek(offset), file.write(data), file.flush(), file.tell(), file.truncate(size)]
    if file.readable():
        seen += [file.seek(0), file.read()]
    return seen


class OnDisk:
    """The operations on a real folder, whose links lead to where they would lead if it were the root."""

    def __init__(self, folder: str) -> None:
        self.root = folder

    def at(self, path: str) -> str:
        """Return the host's path; '..' at the top stays at the top."""
        kept: list[str] = []
        for part in path.split("/"):
            if part == ".." and not kept:
                continue
            if part not in ("", "."):
                kept.append(part)
        return os.path.join(self.root, *kept)

    def given(self, path: str) -> str:
        """Return the host's path for what the reference has not: a slash at the end counts, as it does to the system."""
        return self.at(path) + "/" * path.endswith("/") + "/." * path.endswith("/.")

    def movable(self, path: str) -> str:
        """Return the host's path; the root can't be deleted or moved (EPERM is our word for it)."""
        found = self.at(path)
        if os.path.samestat(os.lstat(found), os.lstat(self.root)):
            raise OSError(errno.EPERM, "the root", path)
        return found

    def create(self, path: str) -> None:
        os.close(os.open(self.at(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def mkdir(self, path: str) -> None:
        os.mkdir(self.at(path))

    def makedirs(self, path: str, exist_ok: bool) -> None:
        os.makedirs(self.at(path), exist_ok=exist_ok)

    def symlink(self, path: str, target: str) -> None:
        os.symlink(self.root + target if target.startswith("/") else target, self.at(path))

    def write(self, path: str, data: bytes) -> None:
        Path(self.at(path)).write_bytes(data)

    def append(self, path: str, data: bytes) -> None:
        with open(self.at(path), "ab") as file:
            file.write(data)

    def patch(self, path: str, offset: int, data: bytes) -> None:
        with open(self.given(path), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def use(self, path: str, mode: str, offset: int, data: bytes, size: int | None) -> list[Any]:
        with open(self.given(path), mode) as file:
            return _used(cast("IO[bytes]", file), offset, data, size)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.given(path), size)

    def read(self, path: str) -> bytes:
        return Path(self.at(path)).read_bytes()

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(self.at(path)))

    def readlink(self, path: str) -> str:
        return os.readlink(self.at(path)).removeprefix(self.root)

    def stat(self, path: str) -> Any:
        return _shape(os.stat(self.given(path)))

    def lstat(self, path: str) -> Any:
        found = os.lstat(self.given(path))
        if stat.S_ISLNK(found.st_mode):
            return "link"
        return _shape(found)

    def unlink(self, path: str) -> None:
        os.unlink(self.movable(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.movable(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self.at(old), self.at(new))

    move = rename

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.given(path), mode)

    def utime(self, path: str, when: int) -> int:
        os.utime(self.given(path), (when, when))
        return int(os.stat(self.given(path)).st_mtime)

    def kinds(self, path: str) -> list[bool]:
        return [ask(self.given(path)) for ask in (os.path.lexists, os.path.isdir, os.path.isfile, os.path.islink)]

    def rmtree(self, path: str) -> None:
        if self.given(path) != self.at(path) and not stat.S_ISDIR(os.lstat(self.at(path)).st_mode):
            raise OSError(errno.ENOTDIR, "of a link, rmtree would delete what is in the folder, and then fail")
        if os.path.isdir(self.at(path)) and not os.path.islink(self.at(path)):
            shutil.rmtree(self.movable(path))
        else:
            os.unlink(self.movable(path))

    def copytree(self, old: str, new: str) -> None:
        old, new = self.at(old), self.at(new)
        if os.path.isdir(old) and not os.path.islink(old):
            if os.path.lexists(new) and os.path.samestat(os.lstat(old), os.lstat(new)):
                raise OSError(errno.EINVAL, "onto itself")
            if (os.path.realpath(os.path.dirname(new)) + "/").startswith(os.path.realpath(old) + "/"):
                os.stat(os.path.dirname(new))
                if os.path.lexists(new):
                    raise OSError(errno.EEXIST, "exists")
                raise OSError(errno.EINVAL, "into itself")
            if os.path.lexists(new):
                raise OSError(errno.EEXIST, "exists")
            os.mkdir(new)
            os.rmdir(new)
            shutil.copytree(old, new, symlinks=True)
        else:
            os.lstat(old)
            os.lstat(os.path.dirname(new))
            if os.path.lexists(new):
                if os.path.samestat(os.lstat(old), os.lstat(new)):
                    raise OSError(errno.EINVAL, "onto itself")
                if os.path.isdir(new) and not os.path.islink(new):
                    raise OSError(errno.EISDIR, "directory")
                os.unlink(new)
            shutil.copy2(old, new, follow_symlinks=False)

    def walk(self, path: str) -> Any:
        return sorted(
            (os.path.relpath(where, self.root), sorted(directories), sorted(files))
            for where, directories, files in os.walk(self.at(path))
        )


class OnOurs:
    """The same operations on our filesystem."""

    def __init__(self, fs: DatabaseVFS) -> None:
        self.fs = fs

    def create(self, path: str) -> None:
        self.fs.file_create(path)

    def mkdir(self, path: str) -> None:
        self.fs.dir_create(path)

    def makedirs(self, path: str, exist_ok: bool) -> None:
        self.fs.makedirs(path, exist_ok=exist_ok)

    def symlink(self, path: str, target: str) -> None:
        self.fs.link_create(target, path)

    def write(self, path: str, data: bytes) -> None:
        self.fs.file_write(path, data)

    def append(self, path: str, data: bytes) -> None:
        self.fs.file_concatenate(path, data)

    def patch(self, path: str, offset: int, data: bytes) -> None:
        with self.fs.open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def use(self, path: str, mode: str, offset: int, data: bytes, size: int | None) -> list[Any]:
        with self.fs.open(path, mode) as file:
            return _used(cast("IO[bytes]", file), offset, data, size)

    def truncate(self, path: str, size: int) -> None:
        self.fs.truncate(path, size)

    def read(self, path: str) -> bytes:
        return self.fs.file_read(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(entry.metadata.name for entry in self.fs.dir_list(path))

    def readlink(self, path: str) -> str:
        return self.fs.link_read(path)

    def stat(self, path: str) -> Any:
        return _shape(self.fs.stat(path))

    def lstat(self, path: str) -> Any:
        found = self.fs.lstat(path)
        return "link" if stat.S_ISLNK(found.st_mode) else _shape(found)

    def unlink(self, path: str) -> None:
        self.fs.file_delete(path)

    def rmdir(self, path: str) -> None:
        self.fs.dir_delete(path)

    def rename(self, old: str, new: str) -> None:
        self.fs.rename(old, new)

    def move(self, old: str, new: str) -> None:
        self.fs.move(old, new)

    def chmod(self, path: str, mode: int) -> None:
        self.fs.chmod(path, mode)

    def utime(self, path: str, when: int) -> int:
        self.fs.utime(path, (when, when))
        return int(self.fs.stat(path).st_mtime)

    def kinds(self, path: str) -> list[bool]:
        return [ask(path) for ask in (self.fs.lexists, self.fs.is_dir, self.fs.is_file, self.fs.is_symlink)]

    def rmtree(self, path: str) -> None:
        self.fs.remove_tree(path)

    def copytree(self, old: str, new: str) -> None:
        self.fs.copy(old, new)

    def walk(self, path: str) -> Any:
        return sorted(
            (os.path.normpath(where).strip("/"), sorted(directories), sorted(files))
            for where, directories, files in self.fs.walk(path)
        )


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ("ok", result) or ("error", errno name)."""
    try:
        return "ok", function(*arguments)
    except OSError as error:
        return "error", errno.errorcode.get(error.errno or 0, str(error))


def tree_on_disk(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for where, directories, files in os.walk(folder):
        for name in directories + files:
            path = os.path.join(where, name)
            key = os.path.relpath(path, folder)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", os.readlink(path).removeprefix(folder))
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("directory", stat.S_IMODE(status.st_mode))
            else:
                found[key] = ("file", stat.S_IMODE(status.st_mode), Path(path).read_bytes())
    return found


def tree_in_ours(fs: DatabaseVFS) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, entry in fs.find("/"):
        key = path.strip("/")
        if not key:
            continue
        if isinstance(entry, vfs_db.Symlink):
            found[key] = ("link", entry.target)
        elif isinstance(entry, vfs_db.Directory):
            found[key] = ("directory", entry.metadata.mode)
        else:
            found[key] = ("file", entry.metadata.mode, fs.file_read(path))
        assert entry.get_path() == "/" + key
    return found


def run(fs: DatabaseVFS, folder: str, steps: list[tuple[Any, ...]]) -> None:
    disk, ours = OnDisk(folder), OnOurs(fs)
    for name, *arguments in steps:
        expected = outcome(getattr(disk, name), *arguments)
        found = outcome(getattr(ours, name), *arguments)
        assert found == expected, (name, arguments)
    assert tree_in_ours(fs) == tree_on_disk(folder)
    assert [str(problem) for problem in fs.check()] == []


def run_in_new_folder(make: Callable[[str], DatabaseVFS], steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as top:
        folder = os.path.join(top, "os")
        os.mkdir(folder)
        with make(top) as fs:
            run(fs, folder, steps)


def in_memory(_folder: str) -> DatabaseVFS:
    return vfs_db.new(MemoryDatabase(), MemoryDatabase())


def in_ourdb(folder: str) -> DatabaseVFS:
    return vfs_db.open(os.path.join(folder, "vfs"))


def in_incremental_ourdb(folder: str) -> DatabaseVFS:
    return vfs_db.new(ourdb.new(path=os.path.join(folder, "data")), ourdb.new(path=os.path.join(folder, "metadata")))


MAKERS = {"memory": in_memory, "ourdb": in_ourdb, "incremental": in_incremental_ourdb}


@pytest.fixture(autouse=True)
def usual_umask() -> Any:
    old = os.umask(0o022)
    yield
    os.umask(old)


SLASHED = (
    *(("use", mode, 0, b"12", None) for mode in ("rb", "r+b", "wb", "w+b", "xb", "ab")),
    ("read",), ("write", b"new"), ("append", b"more"), ("truncate", 1), ("create",), ("mkdir",), ("makedirs", False),
    ("makedirs", True), ("symlink", "y"), ("listdir",), ("readlink",), ("stat",), ("lstat",), ("kinds",), ("unlink",),
    ("rmdir",), ("rename", "moved"), ("rename", "A"), ("rename", "empty/"), ("copytree", "copied"), ("chmod", 0o700),
    ("utime", 5), ("rmtree",), ("walk",),
)  # fmt: skip


@pytest.mark.parametrize("end", ["", "/", "//", "/."])
@pytest.mark.parametrize("step", SLASHED, ids=lambda step: "-".join(map(str, step[:2])))
def test_a_slash_at_the_end_does_what_the_system_does(step: tuple[Any, ...], end: str) -> None:
    """To what the reference has it says nothing, which is the contract; `OnDisk.at` takes it away there."""
    tree: list[tuple[Any, ...]] = [
        ("write", "f", b"1234"), ("makedirs", "full/x", False), ("mkdir", "empty"), ("mkdir", "A"),
        ("symlink", "to_f", "f"), ("symlink", "to_full", "full"), ("symlink", "to_empty", "/empty"),
        ("symlink", "slashed_f", "f/"), ("symlink", "slashed_empty", "empty/"), ("symlink", "dangling", "nothing"),
        ("symlink", "loop", "loop"),
    ]  # fmt: skip
    name, *more = step
    makes = name in ("write", "append") or (name == "use" and more[0] in ("wb", "w+b", "ab", "a+b"))
    for path in (
        "f", "full", "empty", "to_f", "to_full", "to_empty", "slashed_f", "slashed_empty", "dangling", "loop", "new", "f/x",
        "new/x", "full/new",
    ):  # fmt: skip
        if path != "slashed_f" or not makes:  # the system says EISDIR then, we ENOTDIR
            run_in_new_folder(in_memory, [*tree, (name, path + end, *more)])


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(operations, min_size=1, max_size=40))
def test_random_operations_do_what_the_system_does(kind: str, steps: list[tuple[Any, ...]]) -> None:
    run_in_new_folder(MAKERS[kind], steps)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=3500, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(operations, min_size=1, max_size=40))
def test_very_many_random_operations_do_what_the_system_does(kind: str, steps: list[tuple[Any, ...]]) -> None:
    run_in_new_folder(MAKERS[kind], steps)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(operations, min_size=1, max_size=20),
    undone=st.lists(operations, min_size=1, max_size=20),
    inner=st.lists(operations, min_size=1, max_size=10),
    after=st.lists(operations, max_size=10),
    kind=st.sampled_from(list(MAKERS)),
)
def test_rolled_back_operations_leave_no_trace(
    kind: str,
    before: list[tuple[Any, ...]],
    undone: list[tuple[Any, ...]],
    inner: list[tuple[Any, ...]],
    after: list[tuple[Any, ...]],
) -> None:
    class Undo(Exception):
        pass

    def try_all(ours: OnOurs, steps: list[tuple[Any, ...]]) -> None:
        for name, *arguments in steps:
            outcome(getattr(ours, name), *arguments)

    with tempfile.TemporaryDirectory() as top:
        folder = os.path.join(top, "os")
        os.mkdir(folder)
        with MAKERS[kind](top) as fs:
            run(fs, folder, before)
            with pytest.raises(Undo), fs.transaction():
                try_all(OnOurs(fs), undone)
                raise Undo
            assert tree_in_ours(fs) == tree_on_disk(folder)
            with fs.transaction():
                for name, *arguments in after:
                    assert outcome(getattr(OnOurs(fs), name), *arguments) == outcome(
                        getattr(OnDisk(folder), name), *arguments
                    )
                with pytest.raises(Undo), fs.transaction():
                    try_all(OnOurs(fs), inner)
                    raise Undo
                assert tree_in_ours(fs) == tree_on_disk(folder)
            run(fs, folder, undone)
