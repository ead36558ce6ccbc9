"""Whole trees from the host and to it: all of it comes back, and nothing lands where it should not."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS, Directory, MemoryDatabase, codec


def tree(folder: Path) -> dict[str, Any]:
    """Return what is below *folder*: kind, mode, seconds of modification, content."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        key = str(path.relative_to(folder))
        when = int(status.st_mtime)
        if path.is_symlink():
            found[key] = ("link", os.readlink(path), when)
        elif path.is_dir():
            found[key] = ("directory", stat.S_IMODE(status.st_mode), when)
        else:
            found[key] = ("file", stat.S_IMODE(status.st_mode), when, path.read_bytes())
    return found


def make_tree(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a" / "small").write_bytes(b"small")
    (folder / "a" / "none").write_bytes(b"")
    (folder / "a" / "b" / "big").write_bytes(os.urandom(20 * CHUNK_SIZE + 5))
    (folder / "a" / "b" / "exact").write_bytes(os.urandom(16 * CHUNK_SIZE))
    (folder / "ünï 🎈\n").write_bytes(b"odd name")
    os.fsencode(folder)
    with open(os.fsencode(folder) + b"/caf\xe9", "wb") as file:
        file.write(b"foreign bytes")
    (folder / "link").symlink_to("a/small")
    (folder / "a" / "dangling").symlink_to("/no/where")
    (folder / "a" / "small").chmod(0o751)
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, (1000, 1_000_000 + number), follow_symlinks=False)
    (folder / "a" / "b").chmod(0o500)


@pytest.fixture
def host(tmp_path: Path) -> Any:
    folder = tmp_path / "host"
    folder.mkdir()
    make_tree(folder)
    yield folder
    for path in tmp_path.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


def test_tree_comes_back_equal(fs: DatabaseVFS, host: Path, tmp_path: Path) -> None:
    made = fs.import_tree(host, "here")
    assert type(made) is Directory
    assert fs.file_read("here/link") == b"small"
    assert fs.link_read("here/a/dangling") == "/no/where"
    fs.export_tree("here", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(host)
    assert (tmp_path / "out").stat().st_mode == host.stat().st_mode


def test_tree_comes_back_equal_from_another_handle(tmp_path: Path, host: Path) -> None:
    with vfs_db.open(tmp_path / "vfs") as fs:
        fs.import_tree(host, "/")
    with vfs_db.open(tmp_path / "vfs", read_only=True) as fs:
        fs.export_tree("/", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(host)


def test_importing_again_replaces_and_merges(fs: DatabaseVFS, host: Path) -> None:
    fs.import_tree(host, "here")
    small_id = fs.get("here/a/small").metadata.id
    fs.file_write("here/a/small", b"changed")
    fs.file_write("here/a/own", b"own")
    fs.delete("here/link")
    fs.file_write("here/link", b"a file now")
    fs.import_tree(host, "here")
    assert fs.file_read("here/a/small") == b"small"
    assert fs.get("here/a/small").metadata.id == small_id
    assert fs.file_read("here/a/own") == b"own"
    assert fs.link_read("here/link") == "a/small"


def test_exporting_again_replaces_and_merges(fs: DatabaseVFS, host: Path, tmp_path: Path) -> None:
    fs.import_tree(host, "here")
    out = tmp_path / "out"
    fs.export_tree("here", out)
    (out / "a" / "b").chmod(0o700)
    (out / "a" / "small").write_bytes(b"changed")
    (out / "a" / "own").write_bytes(b"own")
    fs.export_tree("here", out)
    assert (out / "a" / "small").read_bytes() == b"small"
    assert (out / "a" / "own").read_bytes() == b"own"


def test_progress_is_told_of_each_piece_and_entry(fs: DatabaseVFS, host: Path, tmp_path: Path) -> None:
    total = sum(path.stat().st_size for path in host.rglob("*") if path.is_file() and not path.is_symlink())
    for transfer in (
        lambda report: fs.import_tree(host, "here", report),
        lambda report: fs.export_tree("here", tmp_path / "out", report),
    ):
        calls: list[tuple[str, int]] = []
        transfer(lambda path, size, calls=calls: calls.append((path, size)))
        assert sum(size for _, size in calls) == total
        assert sum(1 for path, size in calls if size and path.endswith("b/big")) > 1
        done = [path for path, size in calls if size == 0]
        assert len(done) == len(set(done)) >= len(list(host.rglob("*")))


def test_failing_import_changes_nothing(fs: DatabaseVFS, host: Path) -> None:
    fs.file_write("here", b"a file in the way")
    with pytest.raises(FileExistsError):
        fs.import_tree(host, "here")
    fs.delete("here")
    os.mkfifo(host / "pipe")
    with pytest.raises(OSError, match="neither a file, a folder nor a link") as caught:
        fs.import_tree(host, "here")
    assert caught.value.filename == str(host / "pipe")
    assert not fs.exists("here")
    with pytest.raises(NotADirectoryError):
        fs.import_tree(host / "a" / "small", "here")
    with pytest.raises(FileNotFoundError):
        fs.import_tree(host / "missing", "here")
    assert fs.dir_list() == []


def test_interrupted_import_changes_nothing(fs: DatabaseVFS, host: Path) -> None:
    count = 0

    def interrupt(_path: str, _size: int) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fs.import_tree(host, "here", interrupt)
    assert fs.dir_list() == []


def test_links_are_followed_only_when_asked_and_circles_end(fs: DatabaseVFS, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "d").mkdir(parents=True)
    (host / "d" / "f").write_bytes(b"f")
    (host / "link").symlink_to("d")
    fs.import_tree(host, "plain")
    fs.import_tree(host, "followed", follow_symlinks=True)
    assert fs.is_symlink("plain/link")
    assert fs.get("followed/link").is_dir()
    assert fs.file_read("followed/link/f") == b"f"
    (host / "d" / "up").symlink_to(host)
    with pytest.raises(OSError, match="contains itself"):
        fs.import_tree(host, "circle", follow_symlinks=True)
    assert not fs.exists("circle")


def hostile(name: str) -> DatabaseVFS:
    """Return a filesystem whose /dir holds a file called *name*, as no method of ours would make it."""
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fs.dir_create("dir")
    file = fs.file_write("dir/f", b"evil")
    entry = vfs_db.File(file.metadata.named(name), file.parent_id, file.chunk_ids)
    metadata.set(id=file.metadata.id, data=codec.encode(entry))
    return vfs_db.new(data, metadata)


@pytest.mark.parametrize("name", ["..", ".", "", "../evil", "/evil", "a/b", "a\0b"])
def test_hostile_names_write_nothing_outside(name: str, tmp_path: Path) -> None:
    fs = hostile(name)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="can be no file's name") as caught:
        fs.export_tree("/", tmp_path / "in" / "out")
    assert caught.value.errno == errno.EINVAL
    assert {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - before} == {"in"}
    assert not list((tmp_path / "in" / "out" / "dir").iterdir())


def test_link_and_directory_of_one_name_write_nothing_outside(tmp_path: Path) -> None:
    """The image lists `d` twice: first a link that leads out, then a directory with a file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fs.link_create(str(outside), "d")
    fs.dir_create("e")
    fs.file_write("e/f", b"evil")
    entry = fs.get("e")
    assert isinstance(entry, Directory)
    metadata.set(id=entry.metadata.id, data=codec.encode(Directory(entry.metadata.named("d"), 1, entry.children)))
    fs = vfs_db.new(data, metadata)
    with pytest.raises(FileExistsError):
        fs.export_tree("/", tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_links_that_are_in_the_way_are_not_followed(fs: DatabaseVFS, tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (outside / "f").write_bytes(b"precious")
    (out / "f").symlink_to(outside / "f")
    fs.file_write("f", b"new")
    fs.export_tree("/", out)
    assert (outside / "f").read_bytes() == b"precious"
    assert (out / "f").read_bytes() == b"new"
    (out / "d").symlink_to(outside)
    fs.makedirs("d")
    with pytest.raises(FileExistsError):
        fs.export_tree("/", out)
    assert sorted(path.name for path in outside.iterdir()) == ["f"]


def test_directory_in_the_way_of_a_file_is_refused(fs: DatabaseVFS, tmp_path: Path) -> None:
    (tmp_path / "out" / "f").mkdir(parents=True)
    fs.file_write("f", b"f")
    with pytest.raises(IsADirectoryError):
        fs.export_tree("/", tmp_path / "out")


def test_set_id_bits_are_not_given_to_the_host(fs: DatabaseVFS, tmp_path: Path) -> None:
    fs.file_write("f", b"f")
    fs.chmod("f", 0o6755)
    fs.export_tree("/", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "f").stat().st_mode) == 0o755


def test_exporting_what_is_no_directory(fs: DatabaseVFS, tmp_path: Path) -> None:
    fs.file_write("f", b"f")
    with pytest.raises(NotADirectoryError):
        fs.export_tree("f", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        fs.export_tree("missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_sees_one_state(on_disk: DatabaseVFS, tmp_path: Path) -> None:
    """What is written while the export goes on is not in it."""
    fs = on_disk
    for number in range(20):
        fs.file_write(f"f{number}", b"old")
    is_first = True

    def change(_path: str, _size: int) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            for number in range(20):
                fs.file_write(f"f{number}", b"new" * 30_000)
            fs.file_write("another", b"new")

    fs.export_tree("/", tmp_path / "out", change)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        f"f{number}": b"old" for number in range(20)
    }


Fill = Callable[[DatabaseVFS], object]


def test_big_file_is_streamed(tmp_path: Path) -> None:
    """A file of many pieces goes in and out without being held in memory as a whole."""
    import tracemalloc

    source = tmp_path / "host"
    source.mkdir()
    with open(source / "big", "wb") as file:
        file.writelines(bytes([number]) * (1 << 20) for number in range(64))
    with vfs_db.open(tmp_path / "vfs") as fs:
        tracemalloc.start()
        fs.import_tree(source, "/")
        fs.export_tree("/", tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 24 << 20
    assert (tmp_path / "out" / "big").read_bytes() == (source / "big").read_bytes()


def test_exporting_refuses_to_replace_when_told_so(fs: DatabaseVFS, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "f").write_bytes(b"mine")
    fs.file_write("f", b"theirs")
    with pytest.raises(FileExistsError) as caught:
        fs.export_tree("/", out, may_replace=False)
    assert caught.value.filename == str(out / "f")
    asked: list[str] = []

    def refuse(path: str) -> bool:
        asked.append(path)
        return False

    fs.export_tree("/", out, may_replace=refuse)
    assert (asked, (out / "f").read_bytes()) == ([str(out / "f")], b"mine")
    fs.export_tree("/", out, may_replace=True)
    assert (out / "f").read_bytes() == b"theirs"
    with pytest.raises(FileExistsError):
        fs.export_file("f", out / "f", may_replace=False)


def test_importing_refuses_to_replace_when_told_so(fs: DatabaseVFS, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"new")
    fs.file_write("f", b"old")
    with pytest.raises(FileExistsError):
        fs.import_tree(source, "/", may_replace=False)
    fs.import_tree(source, "/", may_replace=lambda _path: False)
    assert fs.file_read("f") == b"old"
    with pytest.raises(FileExistsError):
        fs.import_file(source / "f", "f", may_replace=False)
    fs.import_file(source / "f", "f")
    assert fs.file_read("f") == b"new"


def test_updating_leaves_what_is_the_same(fs: DatabaseVFS, host: Path, tmp_path: Path) -> None:
    fs.import_tree(host, "here")
    small = fs.get("here/a/small").metadata
    fs.file_write("here/a/small", b"SMALL")  # of the same size
    fs.utime("here/a/small", (small.accessed_at, small.modified_at))
    fs.file_write("here/a/b/big", b"differs")
    fs.import_tree(host, "here", update=True, may_replace=lambda path: path.endswith("big"))
    assert fs.file_read("here/a/small") == b"SMALL"
    assert fs.file_read("here/a/b/big") == (host / "a" / "b" / "big").read_bytes()
    out = tmp_path / "out"
    fs.export_tree("here", out)
    (out / "a" / "b").chmod(0o700)
    inodes = {path: path.lstat().st_ino for path in out.rglob("*")}
    (out / "a" / "none").unlink()
    fs.export_tree("here", out, update=True, may_replace=False)
    assert (out / "a" / "none").read_bytes() == b""
    assert {path for path in inodes if path.lstat().st_ino != inodes[path]} <= {out / "a" / "none"}


def test_interrupted_export_leaves_whole_files_only(fs: DatabaseVFS, host: Path, tmp_path: Path) -> None:
    """Wherever it is interrupted: what is there is whole, what was there before is untouched or whole."""
    fs.import_tree(host / "a", "here")
    (host / "a" / "b").chmod(0o700)
    wanted = {path.name: path.read_bytes() for path in (host / "a").rglob("*") if path.is_file()}
    steps = 0

    def interrupt_at(last: int) -> bool:
        left = last

        def report(_path: str, _size: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        out = tmp_path / f"out{last}"
        (out / "b").mkdir(parents=True)
        (out / "b" / "big").write_bytes(b"old")
        try:
            fs.export_tree("here", out, report)
        except KeyboardInterrupt:
            (out / "b").chmod(0o700)
            found = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
            assert found.keys() <= wanted.keys()
            assert all(data == wanted[name] or (name, data) == ("big", b"old") for name, data in found.items())
            return True
        return False

    while interrupt_at(steps + 1):
        steps += 1
    assert steps > 6


def test_import_in_batches_keeps_whole_files_when_it_is_interrupted(fs: DatabaseVFS, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20):
        (source / f"{number:02}").write_bytes(bytes([number]) * 100_000)
    count = 0

    def interrupt(_path: str, size: int) -> None:
        nonlocal count
        count += bool(size)
        if count == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fs.import_tree(source, "here", interrupt, batch_size=500_000)
    names = [entry.metadata.name for entry in fs.dir_list("here")]
    assert 0 < len(names) < 15
    assert all(fs.file_read(f"here/{name}") == bytes([int(name)]) * 100_000 for name in names)
    assert list(fs.check()) == []
    fs.import_tree(source, "here", batch_size=500_000, update=True)
    assert len(fs.dir_list("here")) == 20


def test_deep_trees_go_in_and_out(fs: DatabaseVFS, tmp_path: Path) -> None:
    path = "/".join("d" * 300)
    fs.makedirs(path)
    fs.file_write(f"{path}/f", b"deep")
    fs.export_tree("/", tmp_path / "out")
    fs.import_tree(tmp_path / "out", "again")
    assert fs.file_read(f"again/{path}/f") == b"deep"


def test_usage_of_a_deep_tree(fs: DatabaseVFS) -> None:
    path = "/".join("d" * 1000)
    fs.makedirs(path)
    fs.file_write(f"{path}/f", b"deep")
    fs.file_write("d/g", b"g")
    found = list(fs.usage("d"))
    assert [(at, size) for at, _, size in found[:2]] == [(f"{path}/f", 4), (path, 4)]
    assert [(at, size) for at, _, size in found[-2:]] == [("d/g", 1), ("d", 5)]


@pytest.mark.parametrize("what", ["link", "pipe"])
@pytest.mark.parametrize("name", ["f", "d"])
def test_what_changes_while_it_is_imported_is_not_followed(
    fs: DatabaseVFS, tmp_path: Path, what: str, name: str
) -> None:
    secret, host = tmp_path / "secret", tmp_path / "host"
    secret.mkdir()
    (secret / "f").write_bytes(b"secret")
    (host / "d").mkdir(parents=True)
    (host / "f").write_bytes(b"x")
    fs.dir_create("t")
    fs.file_write("t/f", b"before")

    def change(_path: str) -> bool:  # asked when the folder is known, and the file too, but neither was opened
        if name == "f":
            (host / "f").unlink()
        else:
            (host / "d").rmdir()
        if what == "link":
            (host / name).symlink_to(secret / "f" if name == "f" else secret)
        else:
            os.mkfifo(host / name)
        return True

    with pytest.raises(OSError, match="links|argument|directory"):
        fs.import_tree(host, "t", may_replace=change)
    assert [path for path, _ in fs.find("t")] == ["t", "t/f"]
    assert fs.file_read("t/f") == b"before"


@pytest.mark.parametrize("moment", ["/t/f", "/t/d/f"])
def test_folder_that_becomes_a_link_while_it_is_exported_to_is_not_followed(
    fs: DatabaseVFS, tmp_path: Path, moment: str
) -> None:
    """Neither for its files, which come after those above it, nor for its mode, which comes last."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir(0o755)
    fs.makedirs("t/d", mode=0o700)
    fs.file_write("t/f", b"x")
    fs.file_write("t/d/f", b"x")

    def change(path: str, size: int) -> None:
        if (path, size) == (moment, 0):
            (out / "d").rename(out / "was")
            (out / "d").symlink_to(outside)

    with pytest.raises(NotADirectoryError):
        fs.export_tree("/t", out, change)
    assert list(outside.iterdir()) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_a_slash_at_the_end_asks_for_a_directory(fs: DatabaseVFS, tmp_path: Path) -> None:
    fs.dir_create("d")
    fs.file_write("d/f", b"1")
    fs.link_create("d", "to_d")
    fs.dir_create("e")
    fs.copy_into("to_d/", "e")
    assert fs.file_read("e/f") == b"1"
    with pytest.raises(NotADirectoryError):
        fs.copy_into("to_d", "e")
    with pytest.raises(NotADirectoryError):
        fs.export_file("d/f/", tmp_path / "f")
    (tmp_path / "host").write_bytes(b"2")
    for path in ("new/", "d/f/"):
        with pytest.raises(IsADirectoryError):
            fs.import_file(tmp_path / "host", path)
    assert not fs.exists("new")


def test_errors_of_an_export_name_the_path_that_was_asked_for(fs: DatabaseVFS, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    fs.file_write("f", b"1" * 3000)
    wanted = str(tmp_path / "missing" / "f")
    with pytest.raises(FileNotFoundError) as caught:
        fs.export_file("f", wanted)
    assert (caught.value.filename, caught.value.filename2) == (wanted, None)
    wanted = str(tmp_path / "f")
    with pytest.raises(IsADirectoryError) as caught_too:
        fs.export_file("f", wanted, lambda _path, _size: os.mkdir(wanted))
    assert (caught_too.value.filename, caught_too.value.filename2) == (wanted, None)
    os.rmdir(wanted)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as full:
            fs.export_file("f", wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.filename == wanted
    assert not list(tmp_path.rglob(".vfs-part*"))


@pytest.mark.parametrize(
    ("target", "code"), [("a\0b", errno.EINVAL), ("", errno.ENOENT), ("x" * 5000, errno.ENAMETOOLONG)]
)
def test_a_target_that_the_host_refuses_is_an_error_with_the_link_s_path(
    target: str, code: int, tmp_path: Path
) -> None:
    metadata = MemoryDatabase()
    fs = vfs_db.new(MemoryDatabase(), metadata)
    link = attrs.evolve(fs.link_create("x", "l"), target=target)
    metadata.set(id=link.metadata.id, data=codec.encode(link))
    fs.refresh()
    with pytest.raises(OSError, match="l'$") as caught:
        fs.export_tree("/", tmp_path / "out")
    assert (caught.value.errno, caught.value.filename) == (code, str(tmp_path / "out" / "l"))
    assert os.listdir(tmp_path / "out") == []
