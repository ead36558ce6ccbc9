"""Sixteen threads: what each sees of a record is what one after the other would have seen."""

from __future__ import annotations

import functools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

import ourdb
from ourdb.db import OurDB, Synchronous
from tests.linearizable import NotLinearizable, Operation, Recorder, check

THREADS = 16
DEPTH = 3
Versions = tuple[bytes, ...]


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Let threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def step(state: Any, operation: Operation) -> tuple[bool, Versions]:
    """What a record, as its newest versions, does."""
    versions = cast(Versions, state)
    kind, argument, result = operation.kind, operation.argument, operation.result
    if kind == "set":
        return True, (argument, *versions)[:DEPTH]
    if kind == "exchange":
        return result == (versions[0] if versions else None), (argument, *versions)[:DEPTH]
    if kind == "delete":
        return result == bool(versions), ()
    if kind == "history":
        return result == versions, versions
    assert kind == "get"
    return result == (versions[0] if versions else None), versions


class Worker:
    """One thread's random operations on a few records."""

    def __init__(self, db: OurDB, recorder: Recorder, number: int, keys: int) -> None:
        self.db = db
        self.recorder = recorder
        self.number = number
        self.keys = keys
        self.chance = random.Random(number)
        self.count = 0
        self.error: BaseException | None = None

    def run(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                self.step()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            self.error = error

    def step(self) -> None:
        self.count += 1
        key = self.chance.randrange(self.keys)
        data = b"%d.%d " % (self.number, self.count) * self.chance.choice((1, 1, 1, 40, 600))
        run = self.recorder.run
        turn = self.chance.random()
        if turn < 0.35:
            run(key, "get", None, lambda: self.get(key))
        elif turn < 0.45:
            run(key, "history", None, lambda: self.history(key))
        elif turn < 0.50:
            other = (key + 1) % self.keys
            run(key, "get", None, lambda: self.get_with(key, other))
        elif turn < 0.75:
            run(key, "set", data, lambda: self.db.set(id=key, data=data))
        elif turn < 0.80:
            run(key, "set", data, lambda: self.db.set_many([(key, data)]))
        elif turn < 0.90:
            run(key, "exchange", data, lambda: self.exchange(key, data))
        elif turn < 0.98:
            run(key, "delete", None, lambda: self.delete(key))
        elif turn < 0.995:
            self.db.sync()
        else:
            with suppress(ourdb.OurDBError):  # another thread's get_many holds a snapshot
                self.db.compact()

    def get(self, key: int) -> bytes | None:
        try:
            return self.db.get(key)
        except ourdb.RecordNotFound:
            return None

    def get_with(self, key: int, other: int) -> bytes | None:
        with self.db.snapshot() as then:
            if other in then:
                then.get(other)
            return then.get(key) if key in then else None

    def history(self, key: int) -> Versions:
        try:
            return tuple(self.db.get_history(key, DEPTH))
        except ourdb.RecordNotFound:
            return ()

    def exchange(self, key: int, data: bytes) -> bytes | None:
        with self.db.transaction():
            before = self.get(key)
            self.db.set(id=key, data=data)
        return before

    def delete(self, key: int) -> bool:
        try:
            self.db.delete(key)
        except ourdb.RecordNotFound:
            return False
        return True


def work(db: OurDB, seconds: float, keys: int = 12) -> tuple[Recorder, int]:
    recorder = Recorder()
    workers = [Worker(db, recorder, number, keys) for number in range(THREADS)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=worker.run, args=(until,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
        assert not thread.is_alive()
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    return recorder, sum(worker.count for worker in workers)


def examine(recorder: Recorder) -> int:
    histories = recorder.histories()
    for operations in histories.values():
        check(operations, (), step)
    return sum(map(len, histories.values()))


def _run(tmp_path: Path, level: Synchronous, seconds: float) -> None:
    with ourdb.new(
        tmp_path / "db", 100, 100, incremental_mode=False, file_size=300_000, keysize=6, synchronous=level
    ) as db:
        recorder, count = work(db, seconds)
        found = {record_id: tuple(db.get_history(record_id, DEPTH)) for record_id in db}
        for key in range(12):
            recorder.run(key, "history", None, functools.partial(found.get, key, ()))
        assert examine(recorder) > count * 0.9 > 200
        assert list(db.check()) == []
    with ourdb.new(tmp_path / "db") as db:
        assert {record_id: tuple(db.get_history(record_id, DEPTH)) for record_id in db} == found


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("level", ["normal", "full"])
def test_sixteen_threads_see_one_order(tmp_path: Path, level: Synchronous) -> None:
    _run(tmp_path, level, 0.7)


@pytest.mark.slow
@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("level", ["normal", "full", "off"])
def test_sixteen_threads_see_one_order_for_a_minute(tmp_path: Path, level: Synchronous) -> None:
    for number in range(10):
        _run(tmp_path / str(number), level, 6)


def _stale_read(db: OurDB) -> Callable[[int], bytes]:
    """Return a `get` that answers from a cache which other threads' changes don't reach."""
    cache: dict[tuple[int, int], bytes] = {}
    get = db.get

    def cached(id: int) -> bytes:
        thread = threading.get_ident()
        if len(cache) < 64 and (thread, id) not in cache:
            cache[thread, id] = get(id)
        return cache[thread, id] if (thread, id) in cache else get(id)

    return cached


def _lost_update(db: OurDB) -> Callable[..., int]:
    """Return a `set` that sometimes acknowledges what it has not done."""
    put = db.set
    chance = random.Random(1)

    def careless(data: bytes, id: int) -> int:
        return id if chance.random() < 0.01 else put(id=id, data=data)

    return careless


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize(("name", "breaking"), [("get", _stale_read), ("set", _lost_update)])
def test_a_broken_database_is_found_out(
    tmp_path: Path, name: str, breaking: Callable[[OurDB], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ourdb.new(tmp_path / "db", 100, 100, incremental_mode=False, keysize=6) as db:
        monkeypatch.setattr(db, name, breaking(db))
        recorder, _ = work(db, 0.3)
        with pytest.raises(NotLinearizable):
            examine(recorder)


def _operations(*rows: tuple[str, Any, Any, int, int]) -> list[Operation]:
    return [Operation(1, *row) for row in rows]


@pytest.mark.parametrize(
    ("rows", "is_fine"),
    [
        # A read beside a write may see it or not; but once one read has seen it, a later one may not go back.
        ([("set", b"a", None, 0, 5), ("get", None, b"a", 1, 2), ("get", None, b"a", 3, 4)], True),
        ([("set", b"a", None, 0, 5), ("get", None, None, 1, 2), ("get", None, b"a", 3, 4)], True),
        ([("set", b"a", None, 0, 5), ("get", None, b"a", 1, 2), ("get", None, None, 3, 4)], False),
        # A finished write is seen.
        ([("set", b"a", None, 0, 1), ("get", None, None, 2, 3)], False),
        # What nobody wrote is not seen.
        ([("set", b"a", None, 0, 1), ("get", None, b"b", 2, 3)], False),
        # Of two exchanges at a time one is first.
        ([("exchange", b"a", None, 0, 2), ("exchange", b"b", b"a", 1, 3)], True),
        ([("exchange", b"a", None, 0, 2), ("exchange", b"b", None, 1, 3)], False),
        # One record is deleted once.
        ([("set", b"a", None, 0, 1), ("delete", None, True, 2, 4), ("delete", None, False, 3, 5)], True),
        ([("set", b"a", None, 0, 1), ("delete", None, True, 2, 4), ("delete", None, True, 3, 5)], False),
        # History keeps every version, in one order.
        ([("set", b"a", None, 0, 2), ("set", b"b", None, 1, 3), ("history", None, (b"a", b"b"), 4, 5)], True),
        ([("set", b"a", None, 0, 2), ("set", b"b", None, 1, 3), ("history", None, (b"b",), 4, 5)], False),
    ],
)
def test_the_check_itself(rows: list[tuple[str, Any, Any, int, int]], is_fine: bool) -> None:
    if is_fine:
        check(_operations(*rows), (), step)
    else:
        with pytest.raises(NotLinearizable):
            check(_operations(*rows), (), step)
