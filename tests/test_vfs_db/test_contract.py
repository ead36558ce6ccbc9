"""What every method does, on files, directories and links; over every kind of database."""

from __future__ import annotations

import io
import os
import stat
import sys
import time
from collections.abc import Callable

import pytest

from vfs_db import CHUNK_SIZE, DatabaseVFS, Directory, File, FileType, Symlink


def names(fs: DatabaseVFS, path: str = "/") -> list[str]:
    return [entry.metadata.name for entry in fs.dir_list(path)]


def test_documented_usage(fs: DatabaseVFS) -> None:
    fs.dir_create("documents")
    fs.dir_create("documents/reports")
    fs.file_create("documents/reports/q1.txt")
    fs.file_write("documents/reports/q1.txt", b"Q1 Report Content")
    fs.link_create("documents/reports/q1.txt", "documents/latest.txt")
    shown = [f"{entry.get_path()} ({entry.get_metadata().size} bytes)" for entry in fs.dir_list("documents")]
    assert shown == ["/documents/reports (0 bytes)", "/documents/latest.txt (0 bytes)"]
    assert fs.file_read("documents/latest.txt") == b"Q1 Report Content"
    fs.destroy()
    with pytest.raises(ValueError, match="closed"):
        fs.dir_list("documents")


def test_attributes_of_the_filesystem(fs: DatabaseVFS) -> None:
    assert (fs.root_id, fs.block_size) == (1, 4096)
    made = fs.file_create("a")
    assert fs.last_inserted_id == made.metadata.id
    assert fs.db_data is not fs.db_metadata
    assert isinstance(fs.data_dir, str)
    assert isinstance(fs.metadata_dir, str)


def test_root(fs: DatabaseVFS) -> None:
    root = fs.root_get()
    assert (root.metadata.id, root.metadata.name, root.parent_id, root.metadata.mode) == (1, "", 0, 0o755)
    assert root.get_path() == "/"
    for path in ("", "/", ".", "..", "/..", "//", "./../."):
        assert fs.get(path) == root


def test_new_entries_have_the_reference_s_defaults(fs: DatabaseVFS) -> None:
    before = int(time.time())
    file, directory, link = fs.file_create("f"), fs.dir_create("d"), fs.link_create("f", "l")
    after = int(time.time())
    assert (type(file), type(directory), type(link)) == (File, Directory, Symlink)
    for entry, kind, mode in (
        (file, FileType.file, 0o644),
        (directory, FileType.directory, 0o755),
        (link, FileType.symlink, 0o777),
    ):
        metadata = entry.get_metadata()
        assert (metadata.file_type, metadata.mode, metadata.owner, metadata.group) == (kind, mode, "user", "user")
        assert before <= metadata.created_at == metadata.modified_at == metadata.accessed_at <= after
        assert (entry.is_file(), entry.is_dir(), entry.is_symlink()) == tuple(kind == one for one in (0, 1, 2))
        assert fs.get(metadata.name) == entry
    assert file.parent_id == directory.parent_id == link.parent_id == 1


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 7])
def test_content_comes_back(fs: DatabaseVFS, size: int) -> None:
    data = os.urandom(size)
    file = fs.file_write("f", data)
    assert file.metadata.size == size
    assert len(file.chunk_ids) == -(-size // CHUNK_SIZE)
    assert fs.file_read("f") == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_content(fs: DatabaseVFS, kind: type) -> None:
    fs.file_write("f", kind(b"some bytes"))
    fs.file_concatenate("f", kind(b" and more"))
    assert fs.file_read("f") == b"some bytes and more"


def test_text_is_no_content(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"before")
    with pytest.raises(TypeError):
        fs.file_write("f", "text")  # type: ignore[arg-type]
    assert fs.file_read("f") == b"before"


def test_writing_replaces_and_keeps_chunk_ids(fs: DatabaseVFS) -> None:
    first = fs.file_write("f", b"a" * (2 * CHUNK_SIZE + 1))
    second = fs.file_write("f", b"b" * (CHUNK_SIZE + 1))
    assert list(second.chunk_ids) == list(first.chunk_ids)[:2]
    assert fs.file_read("f") == b"b" * (CHUNK_SIZE + 1)
    assert fs.file_write("f", b"").chunk_ids == []
    assert fs.file_read("f") == b""


def test_writing_makes_a_missing_file_and_follows_links(fs: DatabaseVFS) -> None:
    fs.link_create("/made", "link")
    fs.file_write("link", b"through a dangling link")
    assert fs.file_read("made") == b"through a dangling link"
    fs.file_concatenate("new", b"x")
    assert fs.file_read("new") == b"x"
    assert type(fs.get("link")) is Symlink


@pytest.mark.parametrize("start", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, 2 * CHUNK_SIZE - 3])
@pytest.mark.parametrize("added", [0, 1, 5, CHUNK_SIZE, 2 * CHUNK_SIZE + 3])
def test_concatenating_adds_at_the_end(fs: DatabaseVFS, start: int, added: int) -> None:
    old, new = os.urandom(start), os.urandom(added)
    fs.file_write("f", old)
    assert fs.file_concatenate("f", new).metadata.size == start + added
    assert fs.file_read("f") == old + new


@pytest.mark.parametrize("old", [0, 10, CHUNK_SIZE, CHUNK_SIZE + 10])
@pytest.mark.parametrize("new", [0, 5, CHUNK_SIZE - 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 1])
def test_truncating_cuts_or_fills_with_zeros(fs: DatabaseVFS, old: int, new: int) -> None:
    data = os.urandom(old)
    fs.file_write("f", data)
    fs.truncate("f", new)
    assert fs.file_read("f") == data[:new] + bytes(max(0, new - old))


def test_reading_and_writing_text(fs: DatabaseVFS) -> None:
    fs.write_text("f", "zwölf\nBoxkämpfer\n")
    assert fs.file_read("f") == "zwölf\nBoxkämpfer\n".encode()
    assert fs.read_text("f") == "zwölf\nBoxkämpfer\n"
    fs.write_text("f", "é\n", encoding="latin-1", newline="\r\n")
    assert fs.file_read("f") == b"\xe9\r\n"
    assert fs.read_text("f", encoding="latin-1") == "é\n"


def test_listing_keeps_the_order_in_which_entries_came(fs: DatabaseVFS) -> None:
    for name in ("z", "a", "m", "B"):
        fs.file_create(name)
    fs.delete("a")
    fs.file_create("a")
    assert names(fs) == ["z", "m", "B", "a"]


def test_names_of_all_characters(fs: DatabaseVFS) -> None:
    foreign = b"caf\xe9".decode("utf-8", "surrogateescape")
    wanted = ["ünï", "日本語", "🎈", "a b", "tab\tnl\n", "*?[", "-rf", ".hidden", "...", "x" * 255, "é" * 127, foreign]
    for name in wanted:
        fs.file_write(name, name.encode("utf-8", "surrogateescape"))
    assert names(fs) == wanted
    for name in wanted:
        assert fs.file_read(name) == name.encode("utf-8", "surrogateescape")


def test_paths_are_normalised(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.file_write("//a/./b//f", b"f")
    for path in ("a/b/f", "/a/b/f", "a/b/../b/f", "../../a/b/f", "./a//b/f/", "a/b/./f"):
        assert fs.file_read(path) == b"f"
    assert fs.get("a/b/..").get_path() == "/a"


def test_exists(fs: DatabaseVFS) -> None:
    fs.file_create("f")
    fs.link_create("nowhere", "dangling")
    for path in ("/", "f", "/f", "dangling"):
        assert fs.exists(path)
        assert fs.lexists(path)
    for path in ("g", "f/x", "dangling/x", "n\0ul", "x" * 300):
        assert not fs.exists(path)
    assert (fs.is_file("f"), fs.is_dir("/"), fs.is_symlink("dangling")) == (True, True, True)
    assert (fs.is_file("/"), fs.is_dir("f"), fs.is_symlink("f"), fs.is_file("dangling")) == (False,) * 4
    fs.link_create("circle", "circle")
    for path in ("circle", "n" * 256, "f/below", "nul\0"):
        assert (fs.is_file(path), fs.is_dir(path)) == (False, False)


def test_links(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.file_write("a/b/f", b"f")
    fs.link_create("b/f", "a/relative")
    fs.link_create("/a/b", "absolute")
    fs.link_create("../a/relative", "a/chain")
    assert fs.file_read("a/relative") == fs.file_read("absolute/f") == fs.file_read("a/chain") == b"f"
    assert fs.link_read("a/chain") == "../a/relative"
    assert fs.stat("a/chain").st_size == 1
    assert fs.lstat("a/chain").st_size == len("../a/relative")
    assert stat.S_ISLNK(fs.lstat("a/chain").st_mode)
    assert type(fs.get("absolute")) is Symlink
    assert type(fs.get_followed("absolute")) is Directory
    assert names(fs, "absolute") == ["f"]
    assert fs.get("absolute/../relative").get_path() == "/a/relative", "'..' goes up from where the link leads"
    fs.link_delete("absolute")
    assert fs.exists("a/b")


def test_relative_target_is_tried_from_the_root_for_reading_only(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.file_write("a/b/f", b"f")
    fs.link_create("a/b/f", "a/link")
    assert fs.file_read("a/link") == b"f"
    assert fs.stat("a/link").st_size == 1
    with pytest.raises(FileNotFoundError):
        fs.file_write("a/link", b"g")
    with pytest.raises(FileNotFoundError):
        fs.truncate("a/link", 0)
    with fs.open("a/link") as file:
        assert file.read() == "f"
    fs.makedirs("a/a/b")
    fs.file_write("a/a/b/f", b"nearer")
    assert fs.file_read("a/link") == b"nearer"


def test_deleting(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e")
    fs.file_write("f", b"x" * 100_000)
    fs.link_create("f", "l")
    fs.delete("l")
    fs.delete("d/e")
    fs.delete("f")
    fs.delete("d")
    assert names(fs) == []
    fs.file_create("f")
    fs.link_create("f", "l")
    fs.dir_create("d")
    fs.file_delete("l")
    fs.file_delete("f")
    fs.dir_delete("d")
    assert names(fs) == []


def test_removing_a_tree_frees_all_of_it(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e/f")
    fs.file_write("keep", b"keep")
    for number in range(5):
        fs.file_write(f"d/e/f/{number}", b"x" * 70_000)
    fs.link_create("/keep", "d/link")
    fs.remove_tree("d")
    assert names(fs) == ["keep"]
    assert fs.file_read("keep") == b"keep"
    fs.remove_tree("keep")
    assert names(fs) == []


def test_renaming_in_a_directory_keeps_the_entry(fs: DatabaseVFS) -> None:
    made = fs.file_write("a", b"content")
    fs.utime("a", (100, 200))
    moved = fs.rename("a", "b")
    assert (moved.metadata.id, moved.metadata.name, moved.metadata.modified_at) == (made.metadata.id, "b", 200)
    assert made.get_path() == moved.get_path() == "/b"
    assert names(fs) == ["b"]
    assert fs.file_read("b") == b"content"


def test_moving_a_tree_keeps_what_is_in_it(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b/c")
    inner = fs.file_write("a/b/c/f", b"deep")
    fs.dir_create("x")
    moved = fs.move("a/b", "x/y")
    assert moved.get_path() == "/x/y"
    assert inner.get_path() == "/x/y/c/f"
    assert fs.file_read("x/y/c/f") == b"deep"
    assert not fs.exists("a/b")
    assert fs.get("x/y/c/../../..").get_path() == "/"


def test_moving_replaces_what_rename_2_replaces(fs: DatabaseVFS) -> None:
    fs.file_write("a", b"a")
    fs.file_write("b", b"b" * 70_000)
    fs.link_create("a", "l")
    fs.rename("a", "b")
    fs.rename("b", "l")
    assert (names(fs), fs.file_read("l")) == (["l"], b"a")
    fs.makedirs("d/e")
    fs.dir_create("empty")
    fs.rename("d", "empty")
    assert names(fs, "empty") == ["e"]
    fs.rename("empty", "empty")
    fs.rename("empty/.", "empty//")
    assert names(fs) == ["l", "empty"]


def test_moving_within_one_directory_and_back(fs: DatabaseVFS) -> None:
    fs.dir_create("d")
    fs.file_write("d/a", b"a")
    for _ in range(3):
        fs.rename("d/a", "d/b")
        fs.rename("d/b", "a")
        fs.rename("a", "d/a")
    assert (names(fs), names(fs, "d"), fs.file_read("d/a")) == (["d"], ["a"], b"a")


def test_copies_share_nothing(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    data = os.urandom(CHUNK_SIZE * 20)
    fs.file_write("a/big", data)
    fs.file_write("a/b/small", b"small")
    fs.link_create("../big", "a/b/link")
    fs.chmod("a/b/small", 0o600)
    fs.chown("a/b/small", "me", "us")
    fs.utime("a/b/small", (100, 200))
    fs.utime("a/b", (100, 300))
    copied = fs.copy("a", "c")
    assert copied.get_path() == "/c"
    assert fs.file_read("c/big") == fs.file_read("c/b/link") == data
    small = fs.get("c/b/small").metadata
    assert (small.mode, small.owner, small.group, small.modified_at) == (0o600, "me", "us", 200)
    assert fs.get("c/b").metadata.modified_at == 300
    fs.file_write("c/big", b"changed")
    fs.file_write("c/b/small", b"changed")
    fs.remove_tree("c/b")
    assert fs.file_read("a/big") == data
    assert fs.file_read("a/b/small") == b"small"


def test_copying_a_file_replaces_a_file_or_link(fs: DatabaseVFS) -> None:
    fs.file_write("a", b"a")
    fs.file_write("b", b"b")
    fs.link_create("b", "l")
    fs.copy("a", "b")
    assert fs.file_read("b") == b"a"
    fs.copy("a", "l")
    assert type(fs.get("l")) is File
    fs.link_create("a", "m")
    copied = fs.copy("m", "n")
    assert type(copied) is Symlink
    assert fs.link_read("n") == "a"


def test_making_directories(fs: DatabaseVFS) -> None:
    made = fs.makedirs("a/b/c", mode=0o700)
    assert made.get_path() == "/a/b/c"
    assert made.metadata.mode == 0o700
    assert fs.makedirs("a/b/c", exist_ok=True).metadata.id == made.metadata.id
    fs.link_create("/a/b", "link")
    fs.makedirs("link/x/y")
    assert fs.exists("a/b/x/y")


def test_touching(fs: DatabaseVFS) -> None:
    fs.touch("f", mode=0o600)
    assert fs.stat("f").st_mode == stat.S_IFREG | 0o600
    fs.file_write("f", b"content")
    fs.utime("f", (1, 1))
    fs.touch("f")
    assert fs.stat("f").st_mtime > 1
    assert fs.file_read("f") == b"content"
    fs.link_create("f", "link")
    fs.link_create("nowhere", "dangling")
    for path in ("f", "link", "dangling"):
        with pytest.raises(FileExistsError):
            fs.touch(path, exist_ok=False)
    assert not fs.exists("nowhere")
    fs.touch("dangling")
    assert fs.is_file("nowhere")


def test_attributes(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"x" * 1000)
    fs.link_create("f", "l")
    fs.chmod("l", 0o4751)
    fs.chown("l", 1000, "staff")
    fs.chown("f", None, -1)
    fs.utime("l", ns=(5_999_999_999, 7_000_000_000))
    found = fs.stat("f")
    assert found.st_mode == stat.S_IFREG | 0o4751
    assert (found.st_uid, found.st_gid, found.st_size, found.st_nlink) == (1000, 65534, 1000, 1)
    assert (found.st_atime, found.st_mtime, found.st_mtime_ns) == (5.0, 7.0, 7_000_000_000)
    assert (found.st_ino, found.st_blocks) == (fs.get("f").metadata.id, 2)
    assert (fs.get("f").metadata.owner, fs.get("f").metadata.group) == ("1000", "staff")
    fs.utime("l", (1, 2), follow_symlinks=False)
    fs.chmod("l", 0o700, follow_symlinks=False)
    assert (fs.lstat("l").st_mtime, fs.stat("l").st_mtime) == (2.0, 7.0)
    assert stat.S_IMODE(fs.lstat("l").st_mode) == 0o700
    fs.utime("f", (-5.5, -1.5))
    assert (fs.stat("f").st_atime, fs.stat("f").st_mtime) == (-6.0, -2.0)
    before = int(time.time())
    fs.utime("f")
    assert fs.stat("f").st_mtime >= before
    assert fs.stat("/").st_nlink == 2


def test_times_move_as_on_posix(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e")
    fs.file_write("d/f", b"f")

    def reset() -> None:
        for path in ("d", "d/e", "d/f"):
            fs.utime(path, (10, 20))

    def moved() -> set[str]:
        return {path for path in ("d", "d/e", "d/f") if fs.exists(path) and fs.stat(path).st_mtime > 20}

    reset()
    fs.file_read("d/f")
    fs.dir_list("d")
    fs.chmod("d/f", 0o600)
    assert moved() == set()
    assert fs.stat("d/f").st_atime == 10
    fs.file_write("d/f", b"g")
    assert moved() == {"d/f"}
    reset()
    fs.file_create("d/e/new")
    assert moved() == {"d/e"}
    reset()
    fs.rename("d/e/new", "d/e/newer")
    assert moved() == {"d/e"}
    reset()
    fs.rename("d/e/newer", "d/newest")
    assert moved() == {"d", "d/e"}
    reset()
    fs.delete("d/newest")
    assert moved() == {"d"}


def test_walk(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.dir_create("c")
    fs.file_create("a/f")
    fs.file_create("a/b/g")
    fs.link_create("/c", "a/link")
    fs.link_create("nowhere", "dangling")
    assert list(fs.walk()) == [
        ("/", ["a", "c"], ["dangling"]),
        ("/a", ["b", "link"], ["f"]),
        ("/a/b", [], ["g"]),
        ("/c", [], []),
    ]
    assert [path for path, _, _ in fs.walk("a", topdown=False)] == ["a/b", "a"]
    assert [path for path, _, _ in fs.walk("a", followlinks=True)] == ["a", "a/b", "a/link"]
    pruned = []
    for path, directories, _ in fs.walk():
        pruned.append(path)
        if "a" in directories:
            directories.remove("a")
    assert pruned == ["/", "/c"]
    errors: list[OSError] = []
    assert list(fs.walk("a/f", onerror=errors.append)) == []
    assert [type(error) for error in errors] == [NotADirectoryError]


def test_following_a_link_to_above_ends(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.link_create("/a", "a/b/up")
    assert [path for path, _, _ in fs.walk("a", followlinks=True)] == ["a", "a/b"]


def test_scandir(fs: DatabaseVFS) -> None:
    fs.dir_create("d")
    fs.file_write("f", b"123")
    fs.link_create("d", "l")
    with fs.scandir("/") as found:
        entries = {entry.name: entry for entry in found}
    assert [entries[name].path for name in "dfl"] == ["/d", "/f", "/l"]
    assert [entries[name].is_dir() for name in "dfl"] == [True, False, True]
    assert [entries[name].is_dir(follow_symlinks=False) for name in "dfl"] == [True, False, False]
    assert [entries[name].is_file() for name in "dfl"] == [False, True, False]
    assert [entries[name].is_symlink() for name in "dfl"] == [False, False, True]
    assert entries["f"].stat().st_size == 3
    assert entries["l"].stat().st_ino == entries["d"].inode()
    assert entries["l"].stat(follow_symlinks=False).st_size == 1
    assert os.fspath(entries["f"]) == "/f"


def test_glob(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    for path in ("a/1.txt", "a/2.py", "a/b/3.txt", ".hidden.txt", "x.txt", "[odd]"):
        fs.file_create(path)
    assert fs.glob("*.txt") == ["x.txt"]
    assert fs.glob(".*") == [".hidden.txt"]
    assert fs.glob("*.txt", include_hidden=True) == [".hidden.txt", "x.txt"]
    assert fs.glob("/a/*") == ["/a/1.txt", "/a/2.py", "/a/b"]
    assert fs.glob("*/[12].*") == ["a/1.txt", "a/2.py"]
    assert fs.glob("**/*.txt") == ["x.txt", "a/1.txt", "a/b/3.txt"]
    assert fs.glob("a/**") == ["a", "a/1.txt", "a/2.py", "a/b", "a/b/3.txt"]
    assert fs.glob("[[]odd]") == ["[odd]"]
    assert fs.glob("no*match") == []
    assert fs.glob("a/1.txt") == ["a/1.txt"]
    assert fs.glob("/") == ["/"]


def test_find(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b")
    fs.file_write("a/small.txt", b"x")
    fs.file_write("a/b/big.txt", b"x" * 1000)
    fs.link_create("small.txt", "a/link")
    fs.utime("a/small.txt", (0, 1000))
    assert [path for path, _ in fs.find("a")] == ["a", "a/b", "a/b/big.txt", "a/small.txt", "a/link"]
    assert [path for path, _ in fs.find(name="*.txt")] == ["/a/b/big.txt", "/a/small.txt"]
    assert [path for path, _ in fs.find(type=FileType.directory)] == ["/", "/a", "/a/b"]
    assert [path for path, _ in fs.find(size_min=2)] == ["/a/b/big.txt"]
    assert [path for path, _ in fs.find(size_max=999, type=FileType.file)] == ["/a/small.txt"]
    assert [path for path, _ in fs.find(newer_than=1000, type=FileType.file)] == ["/a/b/big.txt"]
    assert [path for path, _ in fs.find(depth_max=1)] == ["/", "/a"]


def test_print_draws_the_tree_as_the_reference_does(fs: DatabaseVFS, capsys: pytest.CaptureFixture[str]) -> None:
    fs.makedirs("docs/sub")
    fs.file_create("docs/empty.txt")
    fs.link_create("/docs/a.txt", "docs/link2")
    fs.print()
    assert capsys.readouterr().out == ("📁 /\n  📁 docs/\n    📁 sub/\n    📄 empty.txt\n    🔗 link2 -> /docs/a.txt\n")
    out = io.StringIO()
    fs.print(out)
    assert out.getvalue().startswith("📁 /\n")


def test_get_path_of_an_entry_follows_every_move(fs: DatabaseVFS) -> None:
    fs.makedirs("a/b/c")
    entry = fs.file_create("a/b/c/f")
    fs.rename("a", "z")
    assert entry.get_path() == fs.get_path(entry) == "/z/b/c/f"
    fs.move("z/b", "b")
    fs.move("b/c/f", "g")
    assert entry.get_path() == "/g"
    fs.delete("g")
    with pytest.raises(FileNotFoundError):
        entry.get_path()


def test_figures(fs: DatabaseVFS) -> None:
    assert fs.statvfs("/").f_namemax == 255
    assert set(fs.stats()) == {"data", "metadata"}


def test_paths_may_be_path_objects(fs: DatabaseVFS) -> None:
    class Path(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "d/f"

    fs.dir_create("d")
    fs.file_write(Path(), b"x")
    assert fs.file_read(Path()) == b"x"
    assert fs.stat(Path()).st_size == 1
    assert names(fs, "d") == ["f"]
    with pytest.raises(TypeError):
        fs.file_read(b"d/f")  # type: ignore[arg-type]


def test_deep_paths(fs: DatabaseVFS) -> None:
    path = "/".join(["d"] * 1000)
    made = fs.makedirs(path)
    fs.file_write(path + "/f", b"deep")
    assert fs.file_read(path + "/f") == b"deep"
    assert made.get_path() == "/" + path
    assert sum(1 for _ in fs.walk()) == 1001
    fs.copy("d", "e")
    fs.remove_tree("d")
    assert fs.file_read("e/" + path[2:] + "/f") == b"deep"


def calls_of(function: Callable[[], object]) -> int:
    """Return how many Python functions *function* calls, in all."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_depth_costs_a_step_a_level(fs: DatabaseVFS) -> None:
    def make(depth: int) -> int:
        return calls_of(lambda: fs.makedirs("/".join([str(depth)] * depth)))

    assert make(400) < 5 * make(100)
    path = "/".join(["400"] * 400)
    fs.makedirs(f"{path}/a/b")
    fs.makedirs(f"{path}/b/b")
    fs.rename("400", "moved")
    path = "moved" + path[3:]
    first, second = calls_of(lambda: fs.stat(f"{path}/a")), calls_of(lambda: fs.stat(f"{path}/b/b"))
    assert second < first / 10
    fs.file_write(f"{path}/b/b/f", b"f")
    assert len(fs.glob("**/**/**/f")) == 1
    assert calls_of(lambda: fs.glob("**/**/**/f")) < 2 * calls_of(lambda: fs.glob("**/f"))


def test_closing_twice_and_the_with_block(fs: DatabaseVFS) -> None:
    with fs:
        fs.file_create("f")
    fs.close()
    fs.destroy()
    for call in (lambda: fs.get("f"), lambda: fs.file_create("g"), lambda: fs.file_read("f"), fs.root_get):
        with pytest.raises(ValueError, match="closed"):
            call()
