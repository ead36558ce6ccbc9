"""Sets and maps of ids answer as set and dict do, in a few bytes each; so `check` needs little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

import vfs_db
from vfs_db import MemoryDatabase
from vfs_db.id_set import IdMap, IdSet

ids = st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1))


@given(st.lists(st.tuples(st.booleans(), ids), max_size=60))
def test_it_answers_as_a_set_does(steps: list[tuple[bool, int]]) -> None:
    ours, plain = IdSet(), set()
    for is_in, one_id in steps:
        if is_in:
            ours.update([one_id])
            plain.add(one_id)
        else:
            ours.discard(one_id)
            plain.discard(one_id)
        assert (one_id in ours) == (one_id in plain)
    assert sorted(ours) == sorted(plain)
    assert ours.highest() == max(plain, default=0)
    assert bool(ours) == bool(plain)
    assert all(one_id + 1 in plain or one_id + 1 not in ours for one_id in plain)


def test_dense_ids_cost_few_bytes() -> None:
    ours = IdSet()
    tracemalloc.start()
    try:
        ours.update(range(1000, 101_000))
        assert tracemalloc.get_traced_memory()[0] < 300_000  # a set of them takes 7 MB
    finally:
        tracemalloc.stop()
    assert "1000" not in ours


@given(st.lists(st.tuples(ids, st.integers(1, 2**32 - 1)), max_size=60))
def test_a_map_answers_as_a_dict_does(steps: list[tuple[int, int]]) -> None:
    ours = IdMap()
    plain: dict[int, int] = {}
    for one_id, value in steps:
        assert (one_id in ours) == (one_id in plain)
        assert ours.setdefault(one_id, value) == plain.setdefault(one_id, value)
        assert one_id in ours
    assert ours.highest() == max(plain, default=0)


def test_checking_holds_some_bytes_an_entry() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase())
    for top in range(10):
        with fs.transaction():
            fs.dir_create(f"{top}")
            for number in range(1000):
                fs.file_write(f"{top}/{number}", b"x")
    assert list(fs.check()) == []  # the caches hold what they may from here on
    tracemalloc.start()
    try:
        assert list(fs.check()) == []
        assert tracemalloc.get_traced_memory()[1] < 600_000  # paths and entries would be ten times as much
    finally:
        tracemalloc.stop()
