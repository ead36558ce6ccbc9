"""`check` finds each kind of damage, and `repair` leaves a tree in which it finds nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import vfs_db
from vfs_db import DatabaseVFS, Directory, File, MemoryDatabase, codec
from vfs_db.counter import encode_counter


class Image:
    """A small filesystem whose records a test can damage."""

    def __init__(self) -> None:
        self.data, self.metadata = MemoryDatabase(), MemoryDatabase()
        with vfs_db.new(self.data, self.metadata) as fs:
            fs.makedirs("d/e")
            fs.file_write("d/f", b"f" * 100_000)
            fs.file_write("d/g", b"g")
            fs.link_create("f", "d/l")

    def open(self) -> DatabaseVFS:
        return vfs_db.new(self.data, self.metadata)

    def directory(self, path: str) -> Directory:
        entry = self.open().get(path)
        assert isinstance(entry, Directory)
        return entry

    def file(self, path: str) -> File:
        entry = self.open().get(path)
        assert isinstance(entry, File)
        return entry

    def put(self, entry: vfs_db.FSEntry) -> None:
        self.metadata.set(id=entry.metadata.id, data=codec.encode(entry))


def stale(image: Image) -> None:
    root = image.directory("/")
    image.put(Directory(root.metadata, 0, [*root.children, image.file("d/f").metadata.id]))


def listed_twice(image: Image) -> None:
    d = image.directory("d")
    image.put(Directory(d.metadata, d.parent_id, [*d.children, d.children[0]]))


def unreadable(image: Image) -> None:
    image.metadata.set(id=image.file("d/g").metadata.id, data=b"\x01\x00damage")


def missing(image: Image) -> None:
    image.metadata.delete(image.file("d/g").metadata.id)


def same_name(image: Image) -> None:
    g = image.file("d/g")
    image.put(File(g.metadata.named("f"), g.parent_id, g.chunk_ids))


def bad_name(image: Image) -> None:
    g = image.file("d/g")
    image.put(File(g.metadata.named("../g"), g.parent_id, g.chunk_ids))


def wrong_size(image: Image) -> None:
    f = image.file("d/f")
    image.put(File(f.metadata.modified(5, 99_999), f.parent_id, f.chunk_ids))


def shared_chunk(image: Image) -> None:
    f, g = image.file("d/f"), image.file("d/g")
    image.put(File(g.metadata.modified(5, 65_535), g.parent_id, f.chunk_ids[:1]))


def orphan_entry(image: Image) -> None:
    d = image.directory("d")
    image.put(Directory(d.metadata, d.parent_id, [one for one in d.children if one != d.children[0]]))


def orphan_tree(image: Image) -> None:
    root = image.directory("/")
    image.put(Directory(root.metadata, 0, []))


def orphan_chunk(image: Image) -> None:
    image.data.set(id=50, data=b"nobody's")


def low_counter(image: Image) -> None:
    image.metadata.set(id=0, data=encode_counter(2, []))


DAMAGE: list[tuple[Callable[[Image], None], set[str]]] = [
    (stale, {"stale"}),
    (listed_twice, {"stale"}),
    (unreadable, {"unreadable", "orphan"}),
    (missing, {"unreadable", "orphan"}),
    (same_name, {"name"}),
    (bad_name, {"name"}),
    (wrong_size, {"size"}),
    (shared_chunk, {"shared", "orphan"}),
    (orphan_entry, {"orphan"}),
    (orphan_tree, {"orphan"}),
    (orphan_chunk, {"orphan"}),
    (low_counter, {"counter"}),
]


def test_sound_tree_has_no_problems() -> None:
    assert list(Image().open().check()) == []


@pytest.mark.parametrize(("damage", "kinds"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
@pytest.mark.parametrize("orphans", ["lost+found", "free"])
def test_damage_is_found_and_mended(damage: Callable[[Image], None], kinds: set[str], orphans: str) -> None:
    image = Image()
    damage(image)
    fs = image.open()
    found = list(fs.check())
    assert {problem.kind for problem in found} == kinds
    assert all(str(problem) for problem in found)
    assert fs.repair(orphans) == found
    for each in (fs, image.open()):
        assert [str(problem) for problem in each.check()] == []
    fs.file_write("afterwards", b"works")
    assert image.open().file_read("afterwards") == b"works"


def test_orphans_are_put_where_they_can_be_found() -> None:
    image = Image()
    d = image.directory("d")
    orphan_tree(image)
    fs = image.open()
    fs.repair()
    assert fs.file_read(f"lost+found/#{d.metadata.id}/f") == b"f" * 100_000
    assert fs.get(f"lost+found/#{d.metadata.id}/e").is_dir()


def test_orphans_are_freed_when_asked() -> None:
    image = Image()
    orphan_tree(image)
    fs = image.open()
    fs.repair("free")
    assert [path for path, _ in fs.find("/")] == ["/"]
    assert list(image.data) == [0]


def test_lost_chunk_is_reported_and_kept() -> None:
    """Nobody knows what was there: repair does not make something up."""
    image = Image()
    image.data.delete(image.file("d/f").chunk_ids[0])
    fs = image.open()
    assert {problem.kind for problem in fs.repair()} == {"chunk"}
    assert {problem.kind for problem in fs.check()} == {"chunk"}
    assert fs.file_read("d/g") == b"g"
    with fs.open("d/f", "rb") as file:
        file.seek(70_000)
        assert file.read() == b"f" * 30_000, "what is left of it can still be read"


def test_names_that_were_mended_can_be_reached() -> None:
    image = Image()
    g = image.file("d/g")
    bad_name(image)
    fs = image.open()
    fs.repair()
    assert fs.file_read(f"d/#{g.metadata.id}") == b"g"


def test_repair_is_undone_with_its_transaction() -> None:
    image = Image()
    wrong_size(image)
    fs = image.open()
    with pytest.raises(RuntimeError), fs.transaction():
        fs.repair()
        raise RuntimeError
    assert {problem.kind for problem in fs.check()} == {"size"}


def test_unknown_way_with_orphans_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lost\+found' or 'free'"):
        Image().open().repair("burn")
