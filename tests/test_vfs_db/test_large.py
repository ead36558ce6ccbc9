"""Directories beyond 1024 entries and files beyond 16000 chunks: version 2, and back."""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from heapq import nsmallest
from pathlib import Path
from typing import Any

import pytest

import vfs_db
from vfs_db import DatabaseVFS, MemoryDatabase, chunks, name_tree, page


def fill(fs: DatabaseVFS, directory: str, names: list[str]) -> None:
    with fs.transaction():
        for name in names:
            fs.file_create(f"{directory}/{name}")


def version(fs: DatabaseVFS, path: str) -> int:
    return fs.db_metadata.get(fs.get(path).metadata.id)[0]


@pytest.mark.parametrize("kind", ["memory", "memory incremental", "three methods", "ourdb", "ourdb incremental"])
def test_directory_is_version_2_beyond_1024_children_and_version_1_again_at_512(
    make_fs: Callable[[str], DatabaseVFS], kind: str
) -> None:
    fs = make_fs(kind)
    fs.dir_create("d")
    names = [f"{number:05}" for number in range(1025)]
    fill(fs, "d", names[:1024])
    assert version(fs, "d") == 1
    fs.file_create("d/" + names[1024])
    assert version(fs, "d") == 2
    assert [entry.metadata.name for entry in fs.dir_list("d")] == names
    for name in names[:512]:
        fs.delete(f"d/{name}")
    assert version(fs, "d") == 2
    fs.delete("d/" + names[512])
    assert version(fs, "d") == 1
    assert sorted(found.name for found in fs.scandir("d")) == names[513:]
    fs.remove_tree("d")
    assert [str(problem) for problem in fs.check()] == []


@pytest.mark.parametrize("kind", ["memory", "three methods", "ourdb"])
@pytest.mark.parametrize("how", ["rename", "copy", "link", "directory"])
def test_what_is_moved_or_copied_in_makes_a_directory_version_2_too(
    make_fs: Callable[[str], DatabaseVFS], kind: str, how: str
) -> None:
    fs = make_fs(kind)
    fs.dir_create("d")
    fill(fs, "d", [f"{number:05}" for number in range(1024)])
    fs.file_write("file", b"content")
    fs.link_create("file", "link")
    fs.makedirs("tree/below")
    if how == "copy":
        fs.copy("file", "d/new")
    else:
        fs.rename({"rename": "file", "link": "link", "directory": "tree"}[how], "d/new")
    assert version(fs, "d") == 2
    assert len(fs.dir_list("d")) == 1025
    assert fs.exists("d/new")
    assert [str(problem) for problem in fs.check()] == []


def test_large_directory_is_listed_while_it_changes_and_part_by_part() -> None:
    """What stays is listed once, whatever comes and goes meanwhile; the first entry costs a few hundred records, not all."""
    metadata = Counting()
    fs = vfs_db.new(MemoryDatabase(), metadata)
    fs.dir_create("d")
    names = [f"{number:05}" for number in range(5000)]
    fill(fs, "d", names)
    fs.refresh()
    metadata.gets = 0
    found = []
    for entry in fs.scandir("d"):
        found.append(entry.name)
        if len(found) == 1:
            assert metadata.gets < 600
        if len(found) % 500 == 0:
            fs.delete(f"d/{entry.name}")
            fs.file_create(f"d/{entry.name}+")
    assert [name for name in found if not name.endswith("+")] == names
    assert len(found) == len(set(found))
    ((_, _, walked),) = fs.walk("d")
    assert walked == [path.removeprefix("d/") for path, _ in fs.find("d")][1:] == sorted(walked)


class Counting(MemoryDatabase):
    """Counts what is read of it."""

    gets = 0

    def get(self, id: int) -> bytes:
        self.gets += 1
        return super().get(id)


def test_large_directory_answers_as_a_dict_does(fs: DatabaseVFS) -> None:
    choose = random.Random(7)
    fs.dir_create("d")
    fs.dir_create("other")
    names = [choose.choice(["x", "yy" * 60, "ж"]) + str(choose.random()) for _ in range(3000)]
    fill(fs, "d", names)
    there = set(names)
    for _ in range(400):
        name = choose.choice(nsmallest(50, there))
        what = choose.randrange(4)
        if what == 0:
            fs.delete(f"d/{name}")
            there.discard(name)
        elif what == 1:
            new = f"n{choose.random()}"
            fs.rename(f"d/{name}", f"d/{new}")
            there = there - {name} | {new}
        elif what == 2:
            fs.rename(f"d/{name}", f"other/{name}")
            there.discard(name)
        else:
            fs.file_write(f"d/{name}", b"1")
        assert fs.exists(f"d/{name}") == (name in there)
    assert {entry.metadata.name for entry in fs.dir_list("d")} == there
    assert {entry.name for entry in fs.scandir("d")} == there
    assert all(fs.get_path(fs.get(f"d/{name}")) == f"/d/{name}" for name in sorted(there)[:20])
    with pytest.raises(OSError, match="not empty"):
        fs.delete("d")


def test_rolled_back_transaction_leaves_no_trace_in_pages(fs: DatabaseVFS) -> None:
    fs.dir_create("d")
    fill(fs, "d", [f"{number}" for number in range(1200)])
    before = {entry.metadata.id for entry in fs.dir_list("d")}
    with pytest.raises(KeyError), fs.transaction():
        for number in range(900):
            fs.delete(f"d/{number}")
        fs.file_create("d/new")
        assert len(fs.dir_list("d")) == 301
        raise KeyError
    assert {entry.metadata.id for entry in fs.dir_list("d")} == before


def test_large_directory_survives_reopening_and_costs_a_few_records_a_name(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fs.dir_create("d")
        fill(fs, "d", [f"file {number}" for number in range(20000)])
    with vfs_db.open(tmp_path) as fs:
        reads = []
        database: Any = fs.db_metadata
        plain = database.get

        def counted(one_id: int) -> bytes:
            reads.append(one_id)
            data: bytes = plain(one_id)
            return data

        database.get = counted
        assert fs.get("d/file 777").metadata.name == "file 777"
        assert len(reads) <= 6
        database.get = plain
        assert sum(1 for _ in fs.scandir("d")) == 20000
        fs.remove_tree("d")
        assert list(fs.check()) == []


def test_a_transaction_reads_each_page_once(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fs.dir_create("d")
        fill(fs, "d", [f"file {number}" for number in range(20000)])
    with vfs_db.open(tmp_path) as fs:
        reads: Counter[int] = Counter()
        database: Any = fs.db_metadata
        plain = database.get

        def counted(one_id: int) -> bytes:
            reads[one_id] += 1
            data: bytes = plain(one_id)
            return data

        with fs.transaction():
            database.get = counted
            for number in range(12000):
                fs.delete(f"d/file {number}")
        database.get = plain
        assert max(reads.values()) <= 3
        assert reads.total() < 13000
        assert len(fs.dir_list("d")) == 8000
        assert list(fs.check()) == []


class Dying(MemoryDatabase):
    """A database of three methods whose process is killed before one of its writes."""

    left = -1

    def set(self, *, data: bytes, id: int | None = None) -> int:
        self.count()
        return super().set(data=data, id=id)

    def delete(self, id: int) -> None:
        self.count()
        super().delete(id)

    def count(self) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1


@pytest.mark.parametrize("what", ["file_create", "delete"])
def test_kill_between_two_writes_loses_no_other_name(what: str) -> None:
    """Over a plain database a page is split by several writes; after each of them all other names are still found."""
    names = [f"{number:04}" * 40 for number in range(0, 2200, 2)]
    wanted = [f"{number:04}" * 40 for number in range(1001, 1101, 2)] if what == "file_create" else names[500:550]
    deaths = 0
    for left in range(1, 6):
        data, metadata = MemoryDatabase(), Dying()
        fs = vfs_db.new(data, metadata)
        fs.dir_create("d")
        fill(fs, "d", names)
        expected = set(names)
        for name in wanted:
            metadata.left = left
            try:
                getattr(fs, what)(f"d/{name}")
            except KeyboardInterrupt:
                deaths += 1
                expected.discard(name)
                break
            expected ^= {name}
        metadata.left = -1
        again = vfs_db.new(data, metadata)
        found = {entry.metadata.name for entry in again.dir_list("d")}
        assert expected <= found <= expected | {name}
        assert all(again.exists(f"d/{one}") for one in found)
        again.repair()
        assert [str(problem) for problem in again.check()] == []
    assert deaths >= 3


def test_file_beyond_one_record_of_chunks_is_listed_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_SIZE", 7)
    monkeypatch.setattr(chunks, "LISTED_SIZE_MAX", 7 * chunks.CHUNKS_MAX)
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    content = random.Random(1).randbytes(7 * 16000 + 3)
    fs.file_write("f", content[:-4])
    assert version(fs, "f") == 1
    fs.file_concatenate("f", content[-4:])
    assert version(fs, "f") == 2
    assert fs.file_read("f") == content
    fs.file_write("g", content)
    assert (version(fs, "g"), fs.file_read("g") == content) == (2, True)
    with fs.open("f", "r+b") as file:
        file.seek(70_001)
        assert file.read(20) == content[70_001:70_021]
        file.seek(70_000)
        file.write(b"hello")
    assert fs.file_read("f") == content[:70_000] + b"hello" + content[70_005:]
    for size in (7 * 15_000 + 1, 7 * 9_000, 7 * 8_000, 5, 0):
        fs.truncate("f", size)
        assert fs.file_read("f") == (content[:70_000] + b"hello" + content[70_005:])[:size]
    assert version(fs, "f") == 1
    fs.copy("g", "h")
    fs.delete("g")
    assert fs.file_read("h") == content
    assert [str(problem) for problem in fs.check()] == []


def test_page_that_leads_back_to_itself_is_an_error_not_a_loop() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    fs.dir_create("d")
    fill(fs, "d", [str(number) for number in range(1100)])
    directory = fs.get("d")
    assert isinstance(directory, vfs_db.Directory)
    children = directory.children
    assert isinstance(children, name_tree.Children)
    root = page.decode_page(fs.db_metadata.get(children.root))
    assert isinstance(root, page.NamePage)
    hostile = page.NamePage(root.id, root.owner_id, root.level, root.names, (root.id,) * len(root.ids))
    fs.db_metadata.set(id=root.id, data=page.encode_page(hostile))
    fs.refresh()
    for call in (fs.dir_list, lambda path: fs.get(f"{path}/5"), lambda path: list(fs.scandir(path)), fs.remove_tree):
        with pytest.raises(OSError, match="page"):
            call("d")


def test_strict_v1_stays_version_1_and_changes_nothing_beyond_its_limits() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), strict_v1=True)
    fs.dir_create("d")
    fill(fs, "d", [str(number) for number in range(2000)])
    assert version(fs, "d") == 1
    assert len(fs.dir_list("d")) == 2000
    assert [str(problem) for problem in fs.check()] == []


def test_strict_v1_file_holds_what_one_record_lists_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_SIZE", 3)
    monkeypatch.setattr(chunks, "LISTED_SIZE_MAX", 3 * chunks.CHUNKS_MAX)
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), strict_v1=True)
    fs.file_write("f", b"xyz" * 16_000)
    with pytest.raises(OSError, match="too large") as caught:
        while True:
            fs.file_concatenate("f", b"abc")
    assert caught.value.errno == errno.EFBIG
    assert version(fs, "f") == 1
    size = fs.stat("f").st_size
    assert fs.file_read("f") == b"xyz" * 16_000 + b"abc" * (size // 3 - 16_000)
    assert 65535 - 4 < len(fs.db_metadata.get(fs.get("f").metadata.id)) <= 65535
    calls: list[Callable[[], object]] = [
        lambda: fs.rename("f", "longer name"),
        lambda: fs.chown("f", "longer name", None),
        lambda: fs.file_concatenate("f", b"abc"),
    ]
    for is_within in (False, True):
        with fs.transaction() if is_within else nullcontext():
            for call in calls:
                with pytest.raises(OSError, match="too large"):
                    call()
        assert [(path, entry.metadata.owner) for path, entry in fs.find("/", type=vfs_db.FileType.file)] == [
            ("/f", "user")
        ]
    with pytest.raises(OSError, match="too large"):
        fs.file_write("new", b"x" * (size + 300))
    assert not fs.exists("new")
    assert [str(problem) for problem in fs.check()] == []


def test_compact_makes_a_tree_version_1_where_it_fits() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), ns_times=True)
    fs.makedirs("a/many")
    names = [str(number) for number in range(1100)]
    fill(fs, "a/many", names)
    assert version(fs, "a/many") == 2
    fs.compact(strict_v1=True)
    assert {version(fs, path) for path, _ in fs.find("/")} == {1}
    assert sorted(entry.metadata.name for entry in fs.dir_list("a/many")) == sorted(names)
    assert [str(problem) for problem in fs.check()] == []


def test_ns_times_are_kept_to_the_nanosecond(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path / "vfs", ns_times=True) as fs:
        fs.file_write("f", b"x")
        assert fs.stat("f").st_mtime_ns % 1_000_000_000 or fs.stat("/").st_mtime_ns % 1_000_000_000
        fs.utime("f", ns=(1_000_000_001, -1))
        fs.chmod("f", 0o600)
    with vfs_db.open(tmp_path / "vfs") as fs:
        assert (fs.stat("f").st_atime_ns, fs.stat("f").st_mtime_ns) == (1_000_000_001, -1)
        assert [path for path, _ in fs.find("f", newer_than=-1)] == ["f"]
        assert list(fs.find("f", newer_than=fs.stat("f").st_mtime)) == []
        fs.chmod("f", 0o640)
        assert fs.stat("f").st_mtime_ns == -1
        fs.export_tree("/", tmp_path / "out")
        assert (tmp_path / "out/f").stat().st_mtime_ns == -1
        fs.utime("f", ns=(1_000_000_001, 2_999_999_999))
        assert (fs.stat("f").st_atime_ns, fs.stat("f").st_mtime_ns) == (1_000_000_000, 2_000_000_000)
        assert version(fs, "f") == 2, "it was created at a time with nanoseconds"
        fs.compact(strict_v1=True)
        assert version(fs, "f") == 1
    with pytest.raises(ValueError, match="strict_v1"):
        vfs_db.new(MemoryDatabase(), MemoryDatabase(), ns_times=True, strict_v1=True)


def test_entry_of_a_newer_format_is_refused_kept_and_not_repaired_away() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), ns_times=True)
    fs.dir_create("d")
    fs.file_write("d/f", b"x")
    entry_id = fs.get("d").metadata.id
    data = bytearray(fs.db_metadata.get(entry_id))
    data[8] |= 0x80
    fs.db_metadata.set(id=entry_id, data=bytes(data))
    fs.refresh()
    with pytest.warns(vfs_db.DamagedEntry, match="features 0x80"):
        assert fs.dir_list("/") == []
    assert [problem.kind for problem in fs.check()] == ["unsupported"]
    fs.repair("free")
    data[8] &= ~0x80
    fs.db_metadata.set(id=entry_id, data=bytes(data))
    fs.refresh()
    assert fs.file_read("d/f") == b"x"


def test_damaged_page_is_reported_and_repair_loses_no_file() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    fs.dir_create("d")
    fill(fs, "d", [f"{number:04}" for number in range(1500)])
    children = fs.get("d").children  # type: ignore[union-attr]
    assert isinstance(children, name_tree.Children)
    ids = set(children)
    fs.db_metadata.set(id=list(name_tree.page_ids(children))[2], data=b"damage")
    fs.refresh()
    assert "page" in {problem.kind for problem in fs.check()}
    fs.repair()
    assert [str(problem) for problem in fs.check()] == []
    assert {entry.metadata.id for place in ("d", "lost+found") for entry in fs.dir_list(place)} == ids
