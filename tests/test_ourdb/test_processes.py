"""Killed processes, locks, forks, and reading beside a writer: with real processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ourdb
from ourdb.db import OurDB
from ourdb.disk import Disk

_WRITER = """
import os, random, sys
import ourdb
path, level, seed, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
a = ourdb.new(path + "/a", incremental_mode=False, synchronous=level, file_size=200_000)
b = ourdb.new(path + "/b", incremental_mode=False, synchronous=level)
ourdb.joined(a, b)
chance = random.Random(seed)
out = os.fdopen(1, "wb", buffering=0)
while True:
    last += 1
    record_id = chance.randrange(1, 300)
    with b.transaction():
        a.set(id=record_id, data=b"%d:" % last * chance.randrange(1, 400))
        b.set(id=record_id, data=b"%d" % last)
        a.set(id=0, data=b"%d" % last)
        if chance.random() < 0.2 and record_id + 1 in a:
            a.delete(record_id + 1)
            b.delete(record_id + 1)
    out.write(b"%d\\n" % last)
    if chance.random() < 0.01:
        a.sync()
"""


def _run_and_kill(tmp_path: Path, level: str, seed: int, last: int, commits: int) -> int:
    """Let a writer make some commits, kill it, and return the last one that it acknowledged."""
    command = [sys.executable, "-c", _WRITER, str(tmp_path), level, str(seed), str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        seen = last
        for line in child.stdout:
            seen = int(line)
            if seen - last == commits:
                child.send_signal(signal.SIGKILL)
    return seen


def _kill_and_examine(tmp_path: Path, level: str, rounds: int) -> None:
    last = 0
    for seed in range(rounds):
        chance = random.Random(seed)
        acknowledged = _run_and_kill(tmp_path, level, seed, last, chance.randrange(1, 60 if level == "full" else 1500))
        names = ["a", "b"] if chance.random() < 0.5 else ["b", "a"]
        opened = {name: ourdb.new(tmp_path / name) for name in names}
        a, b = opened["a"], opened["b"]
        last = int(a.get(0))
        # The commit that was being acknowledged when the process died may be there.
        assert acknowledged <= last <= acknowledged + 1
        assert [record_id for record_id in a if record_id] == list(b)
        for record_id in b:
            assert a.get(record_id).split(b":")[0] == b.get(record_id)
        assert [*a.check(), *b.check()] == []
        a.close()
        b.close()
        for name in names:
            assert {entry for entry in os.listdir(tmp_path / name) if not entry.endswith(".db")} == {"lookup"}


@pytest.mark.parametrize("level", ["normal", "full", "off"])
def test_a_killed_writer_loses_no_acknowledged_commit(tmp_path: Path, level: str) -> None:
    _kill_and_examine(tmp_path, level, rounds=7)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["normal", "full", "off"])
def test_a_writer_killed_hundreds_of_times_loses_no_acknowledged_commit(tmp_path: Path, level: str) -> None:
    _kill_and_examine(tmp_path, level, rounds=270)


def test_a_second_writer_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    code = "import ourdb, sys; ourdb.new(sys.argv[1])"
    with ourdb.new(tmp_path / "db") as db:
        db.set(data=b"x")
        result = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "db")], capture_output=True, text=True, check=False
        )
        assert "DatabaseLocked" in result.stderr
        assert f"process {os.getpid()}" in result.stderr
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "db")], check=True)


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = "import ourdb, sys, signal; db = ourdb.new(sys.argv[1]); db.set(data=b'x'); print('held', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "db")], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        try:
            with pytest.raises(ourdb.DatabaseLocked, match=str(child.pid)):
                ourdb.new(tmp_path / "db")
        finally:
            child.kill()
        child.wait()
        with ourdb.new(tmp_path / "db") as db:
            assert db.get(1) == b"x"


def test_timeout_waits_for_the_other_writer(tmp_path: Path) -> None:
    code = "import ourdb, sys; db = ourdb.new(sys.argv[1]); print('held', flush=True); sys.stdin.read(); db.close()"
    command = [sys.executable, "-c", code, str(tmp_path / "db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        with pytest.raises(ourdb.DatabaseLocked):
            ourdb.new(tmp_path / "db", timeout=0.05)
        child.stdin.close()
        ourdb.new(tmp_path / "db", timeout=30).close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_cannot_write_and_does_not_keep_the_lock(tmp_path: Path) -> None:
    db = ourdb.new(tmp_path / "db")
    db.set(data=b"parent")
    read_end, write_end = os.pipe()
    stay_read, stay_write = os.pipe()
    child = os.fork()
    if not child:  # pragma: no branch
        try:
            try:
                db.set(data=b"child")
                os.write(write_end, b"wrote")
            except ourdb.DatabaseClosed:
                db.close()
                os.write(write_end, b"refused")
            os.close(stay_write)
            os.read(stay_read, 1)
        finally:
            os._exit(0)
    os.close(stay_read)
    assert os.read(read_end, 100) == b"refused"
    db.set(data=b"parent again")
    db.close()
    with ourdb.new(tmp_path / "db") as again:  # the child is alive still
        assert [again.get(i) for i in again] == [b"parent", b"parent again"]
    os.close(stay_write)
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)


def _in_a_child(work: Callable[[], str]) -> str:
    """Return what *work* gives in a forked child, killed after 20 seconds."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:  # pragma: no branch
        try:
            signal.alarm(20)
            os.write(write_end, work().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        found = pipe.read().decode()
    os.waitpid(child, 0)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_does_not_read_what_its_parent_deletes(tmp_path: Path) -> None:
    """It is told of no checkpoint: a record that the parent has overwritten with zeros would read as an empty one."""
    with ourdb.new(tmp_path / "db", incremental_mode=False) as db:
        db.set(id=1, data=b"one")
        reads: list[Callable[[], object]] = [
            lambda: db.get(1), lambda: db.read_part(1, 0, 2), lambda: db.get_many([1]), lambda: len(db), lambda: list(db),
            lambda: 1 in db, lambda: db.get_history(1, 1), lambda: db.lookup(1), lambda: list(db.check()),
        ]  # fmt: skip

        def work() -> str:
            found = []
            for read in reads:
                try:
                    found.append(repr(read()))
                except ourdb.DatabaseClosed as error:
                    found.append("forked" if "forked" in str(error) else str(error))
            db.close()
            return ", ".join(found)

        assert _in_a_child(work) == ", ".join(["forked"] * len(reads))
        assert db.get(1) == b"one"
        db.set(id=1, data=b"two")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_reader_reads_on_in_a_forked_child_whatever_other_threads_were_at(tmp_path: Path) -> None:
    entered, go = threading.Event(), threading.Event()

    class PausedDisk(Disk):
        is_paused = False

        def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
            if self.is_paused and path.endswith("journal"):
                self.is_paused = False
                entered.set()
                assert go.wait(30)
            return super().open(path, create=create, read_only=read_only)

    disk = PausedDisk()
    with ourdb.new(tmp_path / "db", incremental_mode=False) as writer:
        writer.set(id=1, data=b"one")
        writer.sync()
        with OurDB(str(tmp_path / "db"), {}, read_only=True, disk=disk) as reader:
            writer.set(id=1, data=b"two")
            writer.sync()
            disk.is_paused = True
            thread = threading.Thread(target=reader.refresh)
            thread.start()
            assert entered.wait(30)  # that thread holds the reader's lock now
            found = _in_a_child(lambda: reader.get(1).decode())
            go.set()
            thread.join()
            assert found == "two"
            assert reader.get(1) == b"two"


def test_a_reader_beside_a_writer_sees_whole_commits_in_order(tmp_path: Path) -> None:
    """The writer keeps two records equal and growing; it checkpoints, compacts and deletes meanwhile."""
    code = """
import ourdb, sys
db = ourdb.new(sys.argv[1], incremental_mode=False, file_size=5000)
db.set_many([(1, b"0"), (2, b"0")])
print("go", flush=True)
for n in range(1, 1500):
    with db.transaction():
        db.set(id=1, data=b"%d" % n)
        db.set(id=3, data=b"filler" * 20)
        db.set(id=2, data=b"%d" % n)
        db.delete(3)
    if n % 40 == 0:
        db.sync()
    if n % 301 == 0:
        db.compact(keep_history=False)
db.close()
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "db")], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        reader = ourdb.new(tmp_path / "db", read_only=True)
        last = 0
        states = 0
        while child.poll() is None:
            reader.refresh()
            try:
                with reader.snapshot() as then:
                    one, two = int(then.get(1)), int(then.get(2))
                    assert list(then) == [1, 2]
            except ourdb.SnapshotOvertaken:
                continue
            assert one == two >= last
            last = one
            states += 1
    reader.refresh()
    assert int(reader.get(1)) == 1499
    assert states > 0
    reader.close()


_READER = """
import ourdb, sys
path, name = sys.argv[1:]
reader = ourdb.new(path, read_only=True)
print("reading", flush=True)
last = states = 0
while last < 600:
    reader.refresh()
    try:
        with reader.snapshot() as then:
            ids = list(then)
            found = {i: then.get(i) for i in ids}
    except ourdb.SnapshotOvertaken:
        continue
    number = int(found[1])
    assert number >= last, (name, number, last)
    assert ids == [1, 2, *range(10 + number % 7, 20 + number % 7)], (name, number, ids)
    for i, data in found.items():
        assert data == (b"%d" % number if i < 3 else b"%d of %d;" % (number, i) * (1 + i % 5)), (name, number, i, data)
    assert reader.get_history(1, 1)[0] >= b"0"
    states += number > last
    last = number
print(states)
"""

_ROTATING = """
import ourdb, sys
db = ourdb.new(sys.argv[1], incremental_mode=False, file_size=20_000)
for number in range(601):
    with db.transaction():
        db.set_many([(1, b"%d" % number), (2, b"%d" % number)])
        for i in range(10 + (number - 1) % 7, 20 + (number - 1) % 7) if number else ():
            db.delete(i)
        db.set_many([(i, b"%d of %d;" % (number, i) * (1 + i % 5)) for i in range(10 + number % 7, 20 + number % 7)])
    if not number:
        print("go", flush=True)
        sys.stdin.readline()
    if number % 50 == 49:
        db.sync()
    if number % 300 == 299:
        db.compact(keep_history=False)
db.close()
"""


def test_four_readers_beside_a_writer_see_whole_commits_in_order_and_no_others_content(tmp_path: Path) -> None:
    """Ids are freed and used again, the writer checkpoints and compacts: no id ever shows another's content, or another commit's."""
    path = str(tmp_path / "db")
    with subprocess.Popen(
        [sys.executable, "-c", _ROTATING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "go\n"
        readers = [
            subprocess.Popen([sys.executable, "-c", _READER, path, str(n)], stdout=subprocess.PIPE, text=True)
            for n in range(4)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
        writer.stdin.write("\n")
        writer.stdin.flush()
        states = []
        for reader in readers:
            with reader:
                assert reader.stdout is not None
                states.append(int(reader.stdout.read() or 0))
                assert reader.wait() == 0
        assert writer.wait() == 0
    assert min(states) > 0


def test_a_reader_writes_nothing_and_replays_in_memory(tmp_path: Path) -> None:
    code = "import ourdb, sys, os; db = ourdb.new(sys.argv[1]); db.set(data=b'one'); db.set(data=b'two'); db.delete(1); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "db")], check=False)
    before = {path: path.read_bytes() for path in (tmp_path / "db").rglob("*") if path.is_file()}
    assert any(path.name == "journal" for path in before)
    with ourdb.new(tmp_path / "db", read_only=True) as reader:
        assert [(i, reader.get(i)) for i in reader] == [(2, b"two")]
        with pytest.raises(ourdb.ReadOnly):
            reader.set(data=b"no")
        with pytest.raises(ourdb.ReadOnly):
            reader.destroy()
    assert {path: path.read_bytes() for path in (tmp_path / "db").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("level", ["full", "normal", "off"])
def test_a_reader_beside_a_writer_sees_the_whole_history(tmp_path: Path, level: ourdb.db.Synchronous) -> None:
    with ourdb.new(tmp_path / "db", incremental_mode=False, synchronous=level) as db:
        for number in range(5):
            db.set(id=1, data=b"%d" % number)
        versions = [b"4", b"3", b"2", b"1", b"0"]
        with ourdb.new(tmp_path / "db", read_only=True) as reader:
            assert reader.get_history(1, 9) == versions
            assert list(reader.check()) == []
            reader.backup(tmp_path / "copy")
    with ourdb.new(tmp_path / "copy") as copy:
        assert copy.get_history(1, 9) == versions
        assert list(copy.check()) == []


def test_one_of_two_joined_databases_is_refused_without_its_partner(tmp_path: Path) -> None:
    code = """
import ourdb, sys, os
a = ourdb.new(sys.argv[1] + "/a", incremental_mode=False)
b = ourdb.new(sys.argv[1] + "/b", incremental_mode=False)
ourdb.joined(a, b)
with a.transaction():
    a.set(id=1, data=b"a")
    b.set(id=1, data=b"b")
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (tmp_path / "b").rename(tmp_path / "elsewhere")
    with pytest.raises(ourdb.OurDBError, match="missing"):
        ourdb.new(tmp_path / "a")
    (tmp_path / "elsewhere").rename(tmp_path / "b")
    with ourdb.new(tmp_path / "a") as a:
        assert a.get(1) == b"a"
    with ourdb.new(tmp_path / "b") as b:
        assert b.get(1) == b"b"
