"""A set of ids answers as a set does, in a few bytes each."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from vfs_db.id_set import IdSet

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
