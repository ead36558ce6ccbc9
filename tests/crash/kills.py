"""Processes that are killed: at each call of a piece of work, and at random moments amid the work of four threads.

`python -m tests.crash.kills each SEED EVERY` (every so many calls) prints how many were killed, `threads SEED ROUNDS` how many
commits were acknowledged; or they fail. A program of its own, since it forks for each kill, which a process that has threads, as a test's may, should not.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from ourdb.db import OurDB
from tests.crash.works import WORKS, SameBootDisk, Work

CALLS: Final = (
    "pwrite", "fsync", "fdatasync", "truncate", "replace", "unlink", "mkdir", "rmdir", "allocate", "sync_folder"
)  # fmt: skip


class DeadlyDisk(SameBootDisk):
    """A disk on which the process dies at the call after *left* more, of those that change something; a write is half done."""

    def __init__(self, left: int) -> None:
        self.left = left
        for name in CALLS:
            setattr(self, name, self._deadly(name, getattr(self, name)))

    def _deadly(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                if name == "pwrite":
                    fd, data, position = arguments
                    call(fd, data[: len(data) // 2], position)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return attempt


def start(work: Callable[[], object]) -> int:
    """Begin *work* in a process of its own; return its number."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - told by the parent
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    return child


def was_killed(child: int) -> bool:
    """Wait for *child*; say whether it was killed. Raises AssertionError if it failed."""
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed"
    return os.WIFSIGNALED(status)


# At each call


def kill_at_calls(work: Work, place: Path, seed: int, every: int) -> int:
    """Kill *work* at each of its calls or some, and what opens the folder then too; return the number of kills."""
    choose = random.Random(f"{seed} {work.name}")
    (place / "before").mkdir()
    work.prepare(place / "before")
    after = _looked_at(work, place, done=True)
    candidates = [after, _looked_at(work, place, done=False)] if work.name != "creation" else [after, {}]
    kills = 0
    for at in itertools.count(choose.randrange(every), every):
        folder = shutil.copytree(place / "before", place / "now")
        is_killed = was_killed(start(lambda: work.do(folder, DeadlyDisk(at))))  # noqa: B023 - waited for
        kills += is_killed
        may_be = candidates[:1] if (folder / "acknowledged").exists() else candidates
        seen = [work.read(folder)]
        if is_killed:
            disk = DeadlyDisk(choose.randrange(25))
            kills += was_killed(start(lambda: work.look(folder, disk)))  # noqa: B023 - waited for
            seen.append(work.read(folder))
        for found in (*(one for one in seen if one is not None), work.look(folder)):
            assert found in may_be, (
                f"{work.name}, seed {seed}, killed at call {at}: {found!r:.300} is none of {may_be!r:.900}"
            )
        shutil.rmtree(folder)
        if not is_killed:
            return kills
    raise AssertionError


def _looked_at(work: Work, place: Path, *, done: bool) -> Any:
    folder = shutil.copytree(place / "before", place / "now")
    if done:
        work.do(folder, SameBootDisk())
    found = work.look(folder)
    shutil.rmtree(folder)
    return found


# At random moments, with threads

THREADS: Final = 4
KEYS: Final = 12
LEVELS: Final[tuple[Any, ...]] = ("normal", "full", "off")
State = dict[int, tuple[bytes, ...]]


class Step(NamedTuple):
    """One commit of a thread: ids and data, None to delete; no changes: a sync or a compaction."""

    kind: str
    changes: list[tuple[int, bytes | None]]


class Thread:
    """The commits of one thread, which follow from a seed, on ids that are its own; and the state that they lead to."""

    def __init__(self, number: int, seed: str, state: State) -> None:
        self.number = number
        self.choose = random.Random(f"{seed} {number}")
        self.state = state

    def step(self) -> Step:
        choose = self.choose
        ids = range(self.number * KEYS, (self.number + 1) * KEYS)
        turn = choose.random()
        if turn > 0.97:
            return Step("compact" if turn > 0.995 else "sync", [])
        chosen = choose.sample(ids, choose.choice((1, 1, 1, 3, 6)))
        changes: list[tuple[int, bytes | None]] = []
        for record_id in chosen:
            if record_id in self.state and choose.random() < 0.25:
                changes.append((record_id, None))
                self.state = {key: value for key, value in self.state.items() if key != record_id}
            else:
                data = b"%d " % choose.randrange(10**6) * choose.choice((1, 10, 60, 900))
                changes.append((record_id, data))
                self.state = self.state | {record_id: (data, *self.state.get(record_id, ()))[:3]}
        return Step("one" if len(changes) == 1 else "many", changes)


def _work(path: Path, level: Any, seed: str, states: list[State], pipe: int) -> None:
    db = OurDB(str(path), {}, synchronous=level)

    def run(thread: Thread) -> None:
        for number in itertools.count(1):
            kind, changes = thread.step()
            if kind == "sync":
                db.sync()
            elif kind == "compact":
                db.compact()
            elif kind == "one" and changes[0][1] is not None:
                db.set(id=changes[0][0], data=changes[0][1])
            else:
                with db.transaction():
                    for record_id, data in changes:
                        if data is None:
                            db.delete(record_id)
                        else:
                            db.set(id=record_id, data=data)
            os.write(pipe, b"%d %d\n" % (thread.number, number))

    sys.setswitchinterval(5e-5)
    runs = [threading.Thread(target=run, args=(Thread(n, seed, states[n]),)) for n in range(THREADS)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    raise AssertionError("a thread ended")


def kill_amid_threads(place: Path, seed: int, rounds: int) -> int:
    """Kill a process of four threads *rounds* times at random moments; return how many commits were acknowledged."""
    path = place / "db"
    config = {"record_nr_max": 100, "keysize": 6, "file_size": 60_000, "incremental_mode": False}
    OurDB(str(path), config).close()
    states: list[State] = [{} for _ in range(THREADS)]
    choose = random.Random(seed)
    total = 0
    for number in range(rounds):
        level, round_seed = LEVELS[number % 3], f"{seed} {number}"
        acknowledged = _run_and_kill(path, level, round_seed, states, choose.randrange(1, 200))
        total += sum(acknowledged)
        with OurDB(str(path), {}) as db:
            found = {record_id: tuple(db.get_history(record_id, 3)) for record_id in db}
            assert list(db.check()) == []
        for thread in range(THREADS):
            states[thread] = _agreed(thread, round_seed, states[thread], acknowledged[thread], found)
    return total


def _run_and_kill(path: Path, level: Any, seed: str, states: list[State], count: int) -> list[int]:
    """Kill the process when it has acknowledged *count* commits; return how many it had, by thread."""
    read_end, write_end = os.pipe()
    child = start(lambda: _work(path, level, seed, states, write_end))
    os.close(write_end)
    last = [0] * THREADS
    with open(read_end, "rb") as acknowledgements:
        for at, line in enumerate(acknowledgements, 1):
            thread, number = map(int, line.split())
            last[thread] = number
            if at == count:
                os.kill(child, signal.SIGKILL)
    assert was_killed(child)
    return last


def _agreed(number: int, seed: str, state: State, acknowledged: int, found: State) -> State:
    """Return what is *found* of a thread's ids: what its acknowledged commits made, and at most the next one besides."""
    own = {record_id: versions for record_id, versions in found.items() if record_id // KEYS == number}
    thread = Thread(number, seed, state)
    for _ in range(acknowledged):
        thread.step()
    before = thread.state
    thread.step()
    assert own in (before, thread.state), (
        f"seed {seed}, thread {number}, {acknowledged} commits acknowledged: found {own!r:.300}, not {before!r:.300}"
    )
    return own


def main(arguments: list[str]) -> None:
    mode, seed, count = arguments[0], int(arguments[1]), int(arguments[2])
    with tempfile.TemporaryDirectory() as folder:
        if mode == "threads":
            print(kill_amid_threads(Path(folder), seed, count))
            return
        kills = 0
        for work in WORKS:
            place = Path(folder, work.name)
            place.mkdir()
            kills += kill_at_calls(work, place, seed, count)
        print(kills)


if __name__ == "__main__":
    main(sys.argv[1:])
