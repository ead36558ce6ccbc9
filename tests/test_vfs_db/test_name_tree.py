"""The pages of a large directory's names, each encoded and decoded again, as a database keeps them."""

from __future__ import annotations

import random
from itertools import chain

import pytest

import vfs_db
from vfs_db import MemoryDatabase
from vfs_db.name_tree import Children, Edit, add, build, find_in, page_ids, remove, scan
from vfs_db.page import PAGE_SIZE_MAX, NamePage, Page, decode_page, encode_page

OWNER = 1


class Records:
    """Pages as bytes, and the order in which they are written; *dies_at* writes, the rest of them is lost."""

    def __init__(self, names: list[bytes], *, may_merge: bool) -> None:
        self.records: dict[int, bytes] = {}
        self.last_id = OWNER
        self.may_merge = may_merge
        edit = self.edit()
        self.root = build(edit, [(name, number) for number, name in enumerate(sorted(names), 1)])
        self.write(edit)

    def page(self, page_id: int, owner_id: int) -> Page:
        assert owner_id == OWNER
        return decode_page(self.records[page_id])

    def allocate(self) -> int:
        self.last_id += 1
        return self.last_id

    def edit(self) -> Edit:
        return Edit(self, OWNER, self.allocate, may_merge=self.may_merge)

    def write(self, edit: Edit, writes: int | None = None) -> bool:
        """Write what *edit* has changed, or the first *writes* pages of it; say whether that is all."""
        pages = list(edit.pages())
        for page in pages[:writes]:
            self.records[page.id] = encode_page(page)
            assert len(self.records[page.id]) <= PAGE_SIZE_MAX
        if writes is not None and writes < len(pages):
            return False
        for page_id in edit.freed:
            del self.records[page_id]
        return True

    def put(self, name: bytes, one_id: int, writes: int | None = None) -> bool:
        edit = self.edit()
        add(edit, self.root, name, one_id)
        return self.write(edit, writes)

    def drop(self, name: bytes, writes: int | None = None) -> bool:
        edit = self.edit()
        assert remove(edit, self.root, name)
        return self.write(edit, writes)

    @property
    def children(self) -> Children:
        return Children(self.root, 0, OWNER, self)


def names_from(start: int, stop: int, size: int) -> list[bytes]:
    return [b"p" * size + b"%05d" % number for number in range(start, stop)]


@pytest.mark.parametrize("may_merge", [True, False])
@pytest.mark.parametrize("size", [0, 200])
@pytest.mark.parametrize("order", ["descending", "from the middle down", "at random"])
def test_pages_are_sound_whatever_comes_below_their_first_name(may_merge: bool, size: int, order: str) -> None:
    records = Records(names_from(4000, 5000, size), may_merge=may_merge)
    there = dict(scan(records.children))
    coming = names_from(3000, 4000, size)
    if order == "descending":
        coming.reverse()
    elif order == "from the middle down":
        leaving = names_from(4300, 4700, size)  # with the pages that begin there
        for name in leaving:
            assert records.drop(name)
            del there[name]
        coming = [*reversed(leaving), *coming]
    else:
        random.Random(5).shuffle(coming)
    for number, name in enumerate(coming, 10_000):
        assert records.put(name, number)
        there[name] = number
    assert list(scan(records.children)) == sorted(there.items())
    assert all(find_in(records.children, name) == one_id for name, one_id in there.items())
    assert sorted(page_ids(records.children)) == sorted(records.records)
    for name in random.Random(6).sample(sorted(there), len(there)):
        assert records.drop(name)
    assert list(scan(records.children)) == []
    assert list(page_ids(records.children)) == list(records.records) == [records.root]


def test_writes_that_are_lost_amid_a_split_lose_nothing_later() -> None:
    """What a page then holds beyond its range is neither split off with the rest nor listed again."""
    choose = random.Random(3)
    records = Records(names_from(0, 500, 200)[::2], may_merge=False)
    there = dict(scan(records.children))
    deaths = 0
    for number in range(10_000, 13_000):
        name = b"p" * 200 + b"%05d%d" % (choose.randrange(500), choose.randrange(10))
        writes = choose.randrange(1, 4) if choose.random() < 0.3 else None
        if records.put(name, number, writes):
            there[name] = number
            continue
        deaths += 1
        found = find_in(records.children, name)
        there.update({name: found} if found else {})
        assert list(scan(records.children)) == sorted(there.items())
        listed = list(page_ids(records.children))
        assert len(listed) == len(set(listed))
    assert deaths > 20
    assert all(isinstance(decode_page(data), NamePage) for data in records.records.values())


@pytest.mark.parametrize("first", [b"a", b"m", b"z"])
def test_first_name_above_the_lowest_level_says_nothing(first: bytes) -> None:
    """Pages that were written when it was kept, and stood above the second, are read and mended by the next edit."""
    records = Records([], may_merge=True)
    left, right = records.allocate(), records.allocate()
    for page in (
        NamePage(records.root, OWNER, 1, (first, b"f"), (left, right)),
        NamePage(left, OWNER, 0, (b"b", b"c"), (1, 2)),
        NamePage(right, OWNER, 0, (b"g", b"n"), (3, 4)),
    ):
        records.records[page.id] = encode_page(page)
    wanted = {b"b": 1, b"c": 2, b"g": 3, b"n": 4}
    assert dict(scan(records.children)) == wanted
    assert all(find_in(records.children, name) == one_id for name, one_id in wanted.items())
    for name in [b"e%03d" % number for number in range(1000)]:
        records.put(name, 9)
    root = records.page(records.root, OWNER)
    assert isinstance(root, NamePage)
    assert root.names == (b"", *sorted(root.names[1:]))
    assert set(wanted) <= {name for name, _ in scan(records.children)}


def test_directory_that_gets_smaller_names_is_there_after_reopening() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    fs.dir_create("d")
    names = [f"{letter}{number:04}" for letter in "cba" for number in range(1100)]
    for name in chain(names, reversed([name + "-" for name in names[:500]])):
        fs.file_create(f"d/{name}")
    again = vfs_db.new(data, metadata)
    assert len(again.dir_list("d")) == 3800
    assert [str(problem) for problem in again.check()] == []
