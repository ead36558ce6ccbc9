"""Whichever short path a call takes, it answers as a model does, and leaves the bytes that single transactions leave.

A run is a seed: its limits are chosen so small that roll-over, checkpoints, full buffers and evictions happen all the time.
A kill is a copy of the folder, amid a transaction too.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import ourdb
from ourdb.db import OurDB
from tests.power_cut import QuickDisk

State = tuple[dict[int, list[bytes]], int, int]

_LIMITS: list[tuple[tuple[str, ...], list[int]]] = [
    (("ourdb.checkpoints.JOURNAL_MAX", "ourdb.commits.JOURNAL_MAX"), [300, 3000, 8 << 20]),
    (("ourdb.checkpoints.OVERLAY_MAX", "ourdb.one_set.OVERLAY_MAX"), [3, 40, 100_000]),
    (("ourdb.checkpoints.RECORD_BYTES_MAX", "ourdb.one_set.RECORD_BYTES_MAX"), [500, 1 << 30]),
    (("ourdb.record_files.BUFFER_MAX",), [10, 500, 1 << 20]),
    (("ourdb.transaction.SETS_MAX",), [2, 5, 128]),
    (("ourdb.writing._BATCH_MAX",), [0, 3, 64]),
    (("ourdb.lookup._BRIDGE_SLOTS",), [1, 3, 64]),
    (("ourdb.lookup._WRITE_SLOTS",), [2, 16, 1 << 14]),
    (("ourdb.record_files._OPEN_MAX",), [3, 64]),
    (("ourdb.record_files._UNSYNCED_MAX",), [1, 32]),
    (("ourdb.record_files._MAPS_MAX",), [2, 256]),
    (("ourdb.record_files._READS_PER_MAP",), [0, 32]),
]


@attrs.define(eq=False)
class _Side:
    """One database and its model: id -> versions, newest first; *log*: what was committed, and compactions."""

    path: str
    config: dict[str, Any]
    model: dict[int, list[bytes]] = attrs.field(factory=dict)
    next_id: int = 1
    log: list[tuple[str, int, bytes]] = attrs.field(factory=list)
    db: OurDB = attrs.field(init=False)

    def state(self) -> State:
        return copy.deepcopy(self.model), self.next_id, len(self.log)

    def return_to(self, state: State) -> None:
        self.model, self.next_id = copy.deepcopy(state[0]), state[1]
        del self.log[state[2] :]

    def set(self, record_id: int | None, data: bytes) -> int:
        if record_id is None:
            if not self.config["incremental_mode"]:
                raise ourdb.OurDBError
            if self.next_id >= self.config["record_nr_max"]:
                raise ourdb.DatabaseFull
            record_id = self.next_id
            self.next_id += 1
        elif self.config["incremental_mode"] and record_id not in self.model:
            raise ourdb.OurDBError
        self.model.setdefault(record_id, []).insert(0, bytes(data))
        self.log.append(("set", record_id, bytes(data)))
        return record_id

    def delete(self, record_id: int) -> None:
        if record_id not in self.model:
            raise ourdb.RecordNotFound
        del self.model[record_id]
        self.log.append(("delete", record_id, b""))

    def delete_many(self, ids: list[int]) -> None:
        for record_id in ids:
            self.delete(record_id)


class _RolledBackError(Exception):
    pass


class _Run:
    """One or two databases, joined or not, and what happens to them."""

    def __init__(self, root: Path, choose: random.Random) -> None:
        self.root = root
        self.choose = choose
        self.level: Any = choose.choice(["full", "normal", "off"])
        self.sides: list[_Side] = []
        for name in ("a", "b")[: choose.choice([1, 1, 2])]:
            keysize = choose.choice([2, 3, 4, 6, 6, 6])
            config = {
                "record_nr_max": choose.choice([12, 40, 9000]),
                "keysize": keysize,
                "incremental_mode": choose.random() < 0.5,
                "file_size": choose.choice([1, 100, 2000, 500 << 20]) if keysize == 6 else 500 << 20,
            }
            self.sides.append(_Side(str(root / "live" / name), config))
        self.readers: list[tuple[_Side, OurDB]] = []
        self.is_joined = False
        self.open()

    def open(self) -> None:
        for side in self.choose.sample(self.sides, len(self.sides)):
            side.db = OurDB(side.path, side.config, synchronous=self.level, disk=QuickDisk())
        self.is_joined = len(self.sides) > 1 and self.choose.random() < 0.8
        if self.is_joined:
            ourdb.joined(self.sides[0].db, self.sides[1].db)

    def close(self) -> None:
        for _, reader in self.readers:
            reader.close()
        self.readers.clear()
        for side in self.choose.sample(self.sides, len(self.sides)):
            side.db.close()

    # One change, in the model and in the database

    def an_id(self, side: _Side) -> int:
        chance = self.choose.random()
        if side.model and chance < 0.6:
            return self.choose.choice(list(side.model))
        highest: int = side.config["record_nr_max"]
        return self.choose.randrange(min(highest, 30) if chance < 0.9 else highest)

    def a_set(self, side: _Side) -> tuple[int | None, Any]:
        is_new = self.choose.random() < (0.5 if side.config["incremental_mode"] else 0.03)
        size = self.choose.choice([0, *range(1, 60, 3), 300, 1500, 4096, 4097, 20000])
        kind = self.choose.choice([bytes, bytes, bytes, memoryview, bytearray])
        return None if is_new else self.an_id(side), kind(self.choose.randbytes(size))

    def change(self, sides: list[_Side], real: Callable[[], object], model: Callable[[], object]) -> None:
        before = [side.state() for side in sides]
        expected: object = None
        found: object = None
        try:
            expected = model()
        except ourdb.OurDBError as error:
            expected = type(error)
            for side, state in zip(sides, before, strict=True):
                side.return_to(state)
        try:
            found = real()
        except ourdb.OurDBError as error:
            found = type(error)
        if found is ourdb.DatabaseFull and any(side.config["keysize"] == 2 for side in sides):
            for side, state in zip(sides, before, strict=True):  # the model has no 64 KiB to be full
                side.return_to(state)
            return
        assert found == expected

    def one(self, side: _Side) -> None:
        choose, db = self.choose, side.db
        match choose.choice(["set", "set", "set", "many", "many", "batch", "delete", "delete many", "part", "read"]):
            case "set":
                record_id, data = self.a_set(side)
                self.change([side], lambda: db.set(data=data, id=record_id), lambda: side.set(record_id, data))
            case "many":
                items = [self.a_set(side) for _ in range(choose.choice([0, 1, 2, 5, 30]))]
                if choose.random() < 0.5:
                    items = [
                        (None if side.config["incremental_mode"] else at % 12, bytes(d))
                        for at, (_, d) in enumerate(items)
                    ]
                given = iter(items) if choose.random() < 0.3 else items
                self.change([side], lambda: db.set_many(given), lambda: [side.set(*item) for item in items])
            case "batch":
                self.batch(side)
            case "delete":
                gone = self.an_id(side)
                self.change([side], lambda: db.delete(gone), lambda: side.delete(gone))
            case "delete many":
                ids = [self.an_id(side) for _ in range(choose.choice([1, 2, 3]))]
                self.change([side], lambda: db.delete_many(ids), lambda: side.delete_many(ids))
            case "part":
                for record_id in list(side.model)[:5]:
                    start = choose.randrange(70)
                    stop = start + choose.randrange(5000)
                    assert db.read_part(record_id, start, stop) == side.model[record_id][0][start:stop]
            case _:
                self.compare(db, side.model, side.next_id)

    def batch(self, side: _Side) -> None:
        choose = self.choose
        sides = [side, *(one for one in self.sides if one is not side and self.is_joined)]
        work = [
            ([self.a_set(one) for _ in range(choose.choice([0, 1, 3]))], [self.an_id(one)] * (choose.random() < 0.3))
            for one in sides
        ]
        more = {"joined_sets": work[1][0], "joined_deletes": work[1][1]} if len(work) > 1 else {}

        def model() -> None:
            for one, (sets, deletes) in zip(sides, work, strict=True):
                for item in sets:
                    one.set(*item)
                for record_id in deletes:
                    one.delete(record_id)

        self.change(sides, lambda: side.db.write_batch(*work[0], **more), model)  # type: ignore[arg-type]

    def transaction(self, sides: list[_Side], depth: int, committed: list[State]) -> None:
        before = [side.state() for side in sides]
        fails = self.choose.random() < 0.35
        with contextlib.suppress(_RolledBackError), self.choose.choice(sides).db.transaction():
            for _ in range(self.choose.randrange(6)):
                if depth < 3 and self.choose.random() < 0.3:
                    self.transaction(sides, depth + 1, committed)
                else:
                    self.one(self.choose.choice(sides))
                if self.choose.random() < 0.05:
                    self.kill(committed)
            if fails:
                raise _RolledBackError
        if fails:
            for side, state in zip(sides, before, strict=True):
                side.return_to(state)

    # What happens besides

    def step(self) -> None:
        choose = self.choose
        side = choose.choice(self.sides)
        match choose.choices(
            ["one", "transaction", "sync", "kill", "reopen", "compact", "snapshot", "reader", "check"],
            [60, 18, 3, 4, 3, 2, 3, 4, 3],
        )[0]:
            case "one":
                self.one(side)
            case "transaction":
                self.transaction(self.sides if self.is_joined else [side], 1, [one.state() for one in self.sides])
            case "sync":
                side.db.sync()
            case "kill":
                self.kill([one.state() for one in self.sides])
            case "reopen":
                self.close()
                self.open()
            case "compact":
                self.compact(side)
            case "snapshot":
                self.snapshot(side)
            case "reader":
                if len(self.readers) < 2:
                    self.readers.append((side, OurDB(side.path, {}, read_only=True, disk=QuickDisk())))
                for one, reader in self.readers:
                    reader.refresh()
                    self.compare(reader, one.model, one.next_id)
            case _:
                assert [list(one.db.check()) for one in self.sides] == [[]] * len(self.sides)

    def compact(self, side: _Side) -> None:
        keep = self.choose.random() < 0.5
        try:
            side.db.compact(keep_history=keep)
        except ourdb.DatabaseFull:  # in another order they need not fit in 64 KiB
            assert side.config["keysize"] == 2
            return
        side.log.append(("compact", keep, b""))
        if not keep:
            side.model = {record_id: versions[:1] for record_id, versions in side.model.items()}

    def snapshot(self, side: _Side) -> None:
        model, _, _ = side.state()
        with side.db.snapshot() as then:
            for _ in range(self.choose.randrange(5)):
                self.one(self.choose.choice(self.sides))
            side.db.sync()
            assert {record_id: then.get_history(record_id, 99) for record_id in then} == model
            assert len(then) == len(model)
            for record_id, versions in model.items():
                assert then.get(record_id) == versions[0]
                assert then.read_part(record_id, 1, 9) == versions[0][1:9]
        side.db.backup(self.root / "backup")
        with OurDB(str(self.root / "backup"), {}, disk=QuickDisk()) as backup:
            self.compare(backup, side.model, side.next_id)
        shutil.rmtree(self.root / "backup")

    def kill(self, committed: list[State]) -> None:
        killed = self.root / "killed"
        shutil.copytree(self.root / "live", killed)
        for read_only in (True, False):
            for at in self.choose.sample(range(len(self.sides)), len(self.sides)):
                path = str(killed / os.path.basename(self.sides[at].path))
                with OurDB(path, {}, read_only=read_only, disk=QuickDisk()) as db:
                    self.compare(db, *committed[at][:2])
                    assert read_only or list(db.check()) == []
        shutil.rmtree(killed)

    def compare(self, db: OurDB, model: dict[int, list[bytes]], next_id: int) -> None:
        ids = sorted(model)
        assert list(db) == ids
        assert len(db) == len(ids)
        some = self.choose.sample(ids, min(6, len(ids)))
        assert [db.get(record_id) for record_id in some] == [model[record_id][0] for record_id in some]
        assert [db.get_history(record_id, 99) for record_id in some] == [model[record_id] for record_id in some]
        assert db.get_many(some) == [model[record_id][0] for record_id in some]
        if db.incremental_mode and next_id < db.config.record_nr_max:
            assert db.get_next_id() == next_id

    def finish(self) -> None:
        for side in self.sides:
            assert {record_id: side.db.get_history(record_id, 999) for record_id in side.db} == side.model
            assert list(side.db.check()) == []
        self.close()
        for side in self.sides:
            reference = self.root / "reference" / os.path.basename(side.path)
            with OurDB(str(reference), side.config, disk=QuickDisk()) as db:
                for kind, record_id, data in side.log:
                    if kind == "compact":
                        db.compact(keep_history=bool(record_id))
                        continue
                    with db.transaction():
                        if kind == "delete":
                            db.delete(record_id)
                        elif side.config["incremental_mode"] and record_id not in db:
                            assert db.set(data=data) == record_id
                        else:
                            db.set(data=data, id=record_id)
            assert _files(Path(side.path)) == _files(reference)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".ourdb"
    }


def _run(root: Path, seed: int) -> None:
    choose = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        for names, values in _LIMITS:
            value = choose.choice(values)
            for name in names:
                patch.setattr(name, value)
        run = _Run(root, choose)
        for _ in range(60):
            run.step()
        run.finish()


@pytest.mark.parametrize("seed", range(10))
def test_any_calls_do_what_the_model_does(tmp_path: Path, seed: int) -> None:
    _run(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", range(40))
def test_many_calls_do_what_the_model_does(tmp_path: Path, seeds: int) -> None:
    for seed in range(1000 + 10 * seeds, 1010 + 10 * seeds):
        _run(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
