"""Any sequence of calls does to the database what it does to a dict of lists, over reopens and kills."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ourdb
from ourdb import OurDB
from tests.power_cut import QuickDisk

IDS = st.integers(0, 12)
DATA = st.binary(max_size=40) | st.integers(0, 700).map(lambda size: b"z" * size)
STEPS = st.lists(st.tuples(IDS, st.none() | DATA), max_size=6)


class Machine(RuleBasedStateMachine):
    """Model: id -> its versions, newest first."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.model: dict[int, list[bytes]] = {}
        self.next_id = 1
        self.incremental = False
        self.db: OurDB

    @initialize(incremental=st.booleans(), keysize=st.sampled_from([2, 3, 4, 6]))
    def create(self, incremental: bool, keysize: int) -> None:
        self.incremental = incremental
        config = {"record_nr_max": 40, "keysize": keysize, "incremental_mode": incremental}
        if keysize == 6:
            config["file_size"] = 500
        self.db = OurDB(str(self.root / "db"), config, disk=QuickDisk())

    def put(self, record_id: int, data: bytes) -> None:
        if self.incremental and record_id not in self.model:
            try:
                self.db.set(id=record_id, data=data)
            except ourdb.OurDBError:
                pass
            else:
                raise AssertionError("an insertion with an id was taken")
            with suppress(ourdb.DatabaseFull):
                assert self.db.set(data=data) == self.next_id
                self.model[self.next_id] = [data]
                self.next_id += 1
            return
        assert self.db.set(id=record_id, data=data) == record_id
        self.model.setdefault(record_id, []).insert(0, data)

    def remove(self, record_id: int) -> None:
        try:
            self.db.delete(record_id)
            del self.model[record_id]
        except ourdb.RecordNotFound:
            assert record_id not in self.model

    def apply(self, steps: list[tuple[int, bytes | None]]) -> None:
        for record_id, data in steps:
            if data is None:
                self.remove(record_id)
            else:
                self.put(record_id, data)

    @rule(record_id=IDS, data=DATA)
    def set(self, record_id: int, data: bytes) -> None:
        self.put(record_id, data)

    @rule(record_id=IDS)
    def delete(self, record_id: int) -> None:
        self.remove(record_id)

    @rule(steps=STEPS)
    def transaction(self, steps: list[tuple[int, bytes | None]]) -> None:
        with self.db.transaction():
            self.apply(steps)

    @rule(steps=STEPS)
    def rollback(self, steps: list[tuple[int, bytes | None]]) -> None:
        model, next_id = {i: versions[:] for i, versions in self.model.items()}, self.next_id
        with suppress(ZeroDivisionError), self.db.transaction():
            self.apply(steps)
            raise ZeroDivisionError
        self.model, self.next_id = model, next_id

    @rule(outer=STEPS, inner=STEPS, after=STEPS)
    def nested_rollback(
        self,
        outer: list[tuple[int, bytes | None]],
        inner: list[tuple[int, bytes | None]],
        after: list[tuple[int, bytes | None]],
    ) -> None:
        with self.db.transaction():
            self.apply(outer)
            model, next_id = {i: versions[:] for i, versions in self.model.items()}, self.next_id
            with suppress(ZeroDivisionError), self.db.transaction():
                self.apply(inner)
                raise ZeroDivisionError
            self.model, self.next_id = model, next_id
            self.apply(after)

    @rule()
    def sync(self) -> None:
        self.db.sync()

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.db = OurDB(str(self.root / "db"), {}, disk=QuickDisk())

    @rule()
    def kill(self) -> None:
        """A copy of the folder is what a killed process leaves."""
        copy = self.root / "copy"
        shutil.copytree(self.root / "db", copy)
        self.db.close()
        shutil.rmtree(self.root / "db")
        copy.rename(self.root / "db")
        self.db = OurDB(str(self.root / "db"), {}, disk=QuickDisk())

    @rule(keep_history=st.booleans())
    def compact(self, keep_history: bool) -> None:
        self.db.compact(keep_history=keep_history)
        if not keep_history:
            self.model = {record_id: versions[:1] for record_id, versions in self.model.items()}

    @rule()
    def backup(self) -> None:
        self.db.backup(self.root / "backup")
        with OurDB(str(self.root / "backup"), {}, disk=QuickDisk()) as copy:
            assert {i: copy.get_history(i, 99) for i in copy} == self.model
            assert list(copy.check()) == []
        shutil.rmtree(self.root / "backup")

    @rule(reader_first=st.booleans())
    def snapshot(self, reader_first: bool) -> None:
        with self.db.snapshot() as then:
            if not reader_first:
                self.put(1, b"meanwhile")
            found = {record_id: then.get_history(record_id, 99) for record_id in then}
            if reader_first:
                assert found == self.model

    @precondition(lambda self: hasattr(self, "db"))
    @invariant()
    def database_is_model(self) -> None:
        assert {record_id: self.db.get_history(record_id, 99) for record_id in self.db} == self.model
        assert len(self.db) == len(self.model)
        for record_id, versions in self.model.items():
            assert self.db.get(record_id) == versions[0]

    def teardown(self) -> None:
        try:
            if hasattr(self, "db"):
                assert list(self.db.check()) == []
        finally:
            if hasattr(self, "db"):
                self.db.close()
            shutil.rmtree(self.root)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
