"""Many operations as one: seen by their own thread only, committed or undone as a whole."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import ourdb
import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS, MemoryDatabase


class Undo(Exception):
    pass


def in_thread(function: Callable[[], Any]) -> Any:
    """Return what *function* gives in another thread."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - the caller reports it
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]


def test_others_see_nothing_before_the_commit(fs: DatabaseVFS) -> None:
    fs.makedirs("d")
    fs.file_write("d/f", b"before")
    fs.file_write("gone", b"gone")
    with fs.transaction() as same:
        assert same is fs
        fs.file_write("d/f", b"after" * 50_000)
        fs.file_write("d/new", b"new")
        fs.rename("d", "e")
        fs.delete("gone")
        assert fs.file_read("e/f") == b"after" * 50_000
        assert not fs.exists("d")
        assert not fs.exists("gone")
        assert in_thread(lambda: fs.file_read("d/f")) == b"before"
        assert in_thread(lambda: [entry.metadata.name for entry in fs.dir_list("d")]) == ["f"]
        assert in_thread(lambda: fs.exists("gone")) is True
        assert in_thread(lambda: fs.exists("e")) is False
    for check in (lambda function: function(), in_thread):
        assert check(lambda: fs.file_read("e/f")) == b"after" * 50_000
        assert check(lambda: fs.exists("gone")) is False


def test_rollback_undoes_everything(fs: DatabaseVFS) -> None:
    fs.makedirs("d/e")
    fs.file_write("d/f", b"x" * (2 * CHUNK_SIZE))
    fs.chmod("d/f", 0o600)
    before = dict(fs.find("/"))
    with pytest.raises(Undo), fs.transaction():
        fs.file_write("d/f", b"y" * (3 * CHUNK_SIZE))
        fs.truncate("d/f", 5)
        fs.chmod("d/f", 0o777)
        fs.rename("d/e", "e")
        fs.copy("d", "copy")
        fs.remove_tree("d")
        fs.makedirs("d/other")
        raise Undo
    assert dict(fs.find("/")) == before
    assert fs.file_read("d/f") == b"x" * (2 * CHUNK_SIZE)
    fs.file_write("afterwards", b"works")


def test_inner_block_is_undone_alone(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"0")
    with fs.transaction():
        fs.file_write("f", b"1")
        fs.file_write("a", b"a")
        with pytest.raises(Undo), fs.transaction():
            fs.file_write("f", b"2" * 100_000)
            fs.file_write("b", b"b")
            fs.delete("a")
            with fs.transaction():
                fs.dir_create("c")
            raise Undo
        assert fs.file_read("f") == b"1"
        assert [entry.metadata.name for entry in fs.dir_list()] == ["f", "a"]
        with fs.transaction():
            fs.file_write("b", b"kept")
    assert fs.file_read("f") == b"1"
    assert [entry.metadata.name for entry in fs.dir_list()] == ["f", "a", "b"]
    assert fs.file_read("b") == b"kept"


def test_made_and_deleted_in_one_transaction(fs: DatabaseVFS) -> None:
    with fs.transaction():
        fs.makedirs("d/e")
        fs.file_write("d/e/f", b"x" * 100_000)
        fs.file_write("keep", b"keep")
        fs.remove_tree("d")
        fs.file_write("g", b"g")
        fs.delete("g")
    assert [entry.metadata.name for entry in fs.dir_list()] == ["keep"]
    assert fs.file_read("keep") == b"keep"


def test_directory_that_gets_many_names_is_written_once(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs:
        fs.dir_create("d")
        directory_id = fs.get("d").metadata.id
        with fs.transaction():
            for number in range(500):
                fs.file_create(f"d/{number}")
        metadata = fs.db_metadata
        assert isinstance(metadata, ourdb.OurDB)
        assert len(metadata.get_history(directory_id, 100)) == 2


@pytest.mark.parametrize("is_incremental", [False, True])
def test_transaction_of_more_entries_than_are_kept_in_memory(
    tmp_path: Path, is_incremental: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written early is read back by this thread, unseen by others, and undone with the rest."""
    monkeypatch.setattr("vfs_db.transactions._STAGED_MAX", 10)
    fs = vfs_db.new(
        ourdb.new(path=str(tmp_path / "data"), incremental_mode=is_incremental),
        ourdb.new(path=str(tmp_path / "metadata"), incremental_mode=is_incremental),
    )
    fs.makedirs("old")
    for number in range(30):
        fs.file_write(f"old/{number}", b"old")

    def change() -> None:
        for number in range(100):
            fs.file_write(f"new{number}", str(number).encode())
            if number < 30:
                fs.rename(f"old/{number}", f"old/r{number}")
            if number % 3 == 0:
                fs.delete(f"new{number}")
        assert in_thread(lambda: fs.exists("new1")) is False
        assert in_thread(lambda: fs.exists("old/7")) is True
        assert not fs.exists("old/7")
        assert not fs.exists("new0")
        assert fs.file_read("new1") == b"1"
        assert len(fs.dir_list("old")) == 30

    with pytest.raises(Undo), fs.transaction():
        change()
        raise Undo
    assert len(fs.dir_list("/")) == 1
    assert fs.file_read("old/7") == b"old"
    with fs.transaction():
        change()
    assert len(fs.dir_list("/")) == 1 + 66
    assert fs.file_read("old/r7") == b"old"
    assert not fs.exists("old/7")
    assert list(fs.check()) == []
    fs.close()
    with vfs_db.open(tmp_path) as again:
        assert again.file_read("new98") == b"98"
        assert list(again.check()) == []


def test_other_thread_s_write_waits_for_the_transaction(fs: DatabaseVFS) -> None:
    started = threading.Event()

    def write() -> None:
        started.set()
        fs.file_write("f", b"second")

    with fs.transaction():
        thread = threading.Thread(target=write)
        thread.start()
        started.wait()
        fs.file_write("f", b"first")
        assert fs.file_read("f") == b"first"
    thread.join()
    assert fs.file_read("f") == b"second"


def test_waiting_for_a_transaction_is_bounded_by_the_timeout() -> None:
    fs = vfs_db.new(MemoryDatabase(), MemoryDatabase(), timeout=0.01)
    with fs.transaction():
        error = in_thread(lambda: fs.file_create("f"))
        assert isinstance(error, TimeoutError)
        assert isinstance(in_thread(lambda: fs.exists("f")), bool), "reading does not wait"


@pytest.mark.parametrize("kind", ["memory", "ourdb"])
def test_whatever_waits_for_a_transaction_is_bounded_by_the_timeout(kind: str, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "f").write_bytes(b"1")
    is_memory = kind == "memory"
    with (
        vfs_db.new(MemoryDatabase(), MemoryDatabase(), timeout=0.01)
        if is_memory
        else vfs_db.open(tmp_path / "vfs", timeout=0.01)
    ) as fs:
        fs.makedirs("d/e")
        waiting: dict[str, Callable[[], object]] = {
            "import_tree": lambda: fs.import_tree(tmp_path / "host", "d"),
            "import_file": lambda: fs.import_file(tmp_path / "host" / "f", "f"),
            "copy": lambda: fs.copy("d", "copy"),
            "copy_into": lambda: fs.copy_into("d", "d/e"),
            "makedirs": lambda: fs.makedirs("new/new"),
            "open": lambda: fs.open("f", "wb"),
            "transaction": lambda: fs.transaction().__enter__(),
            "check": lambda: list(fs.check()),
            "repair": fs.repair,
            "compact": fs.compact,
            "compact to version 1": lambda: fs.compact(strict_v1=True),
            "sync": fs.sync,
            "close": fs.close,
        }
        if is_memory:  # else it is of a snapshot, and waits for nobody
            waiting["export_tree"] = lambda: fs.export_tree("/", tmp_path / "out")
        with fs.transaction():
            fs.file_create("f")
            for name, call in waiting.items():
                assert isinstance(in_thread(call), TimeoutError), name
        assert list(fs.check()) == []


def test_plain_database_sees_content_before_entries_before_frees() -> None:
    """Without transactions a kill between any two writes leaves a valid tree."""
    log: list[tuple[str, str, int]] = []

    class Logged(MemoryDatabase):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def set(self, *, data: bytes, id: int | None = None) -> int:
            assert id is not None
            if id:
                log.append((self.name, "set", id))
            return super().set(data=data, id=id)

        def delete(self, id: int) -> None:
            log.append((self.name, "delete", id))
            super().delete(id)

    fs = vfs_db.new(Logged("data"), Logged("metadata"))
    fs.makedirs("a")
    fs.makedirs("b")
    log.clear()
    file = fs.file_write("a/f", b"x")
    (chunk,) = file.chunk_ids
    assert log == [("data", "set", chunk), ("metadata", "set", file.metadata.id), ("metadata", "set", 2)]
    log.clear()
    fs.rename("a/f", "b/f")
    assert log == [("metadata", "set", 3), ("metadata", "set", file.metadata.id), ("metadata", "set", 2)]
    log.clear()
    fs.delete("b/f")
    assert log == [("metadata", "set", 3), ("metadata", "delete", file.metadata.id), ("data", "delete", chunk)]


class Killed(BaseException):
    """The process ends here."""


class Mortal(MemoryDatabase):
    """A database whose process is killed after a number of writes."""

    left = 0

    def _live(self) -> None:
        if Mortal.left == 0:
            raise Killed
        Mortal.left -= 1

    def set(self, *, data: bytes, id: int | None = None) -> int:
        self._live()
        return super().set(data=data, id=id)

    def delete(self, id: int) -> None:
        self._live()
        super().delete(id)


def test_kill_between_any_two_writes_of_a_plain_database_leaves_a_valid_tree() -> None:
    for lifetime in range(120):
        Mortal.left = -1
        data, metadata = Mortal(), Mortal()
        try:
            fs = vfs_db.new(data, metadata)
            fs.makedirs("stays/below")
            fs.file_write("stays/f", b"stays")
            Mortal.left = lifetime
            fs.makedirs("a/b")
            fs.file_write("a/f", b"1" * 70_000)
            fs.file_write("a/f", b"2" * 140_000)
            fs.rename("a/f", "a/b/g")
            fs.rename("a/b", "c")
            fs.copy("c", "d")
            fs.link_create("x", "l")
            fs.truncate("c/g", 10)
            fs.remove_tree("c")
            fs.delete("l")
        except Killed:
            pass
        Mortal.left = -1
        again = vfs_db.new(data, metadata)
        assert again.file_read("stays/f") == b"stays"
        for path, entry in again.find("/"):
            assert entry.get_path() == path
        assert {problem.kind for problem in again.check()} <= {"orphan", "stale", "size"}, lifetime
        again.repair("free")
        assert list(again.check()) == [], lifetime
        again.file_write("new", b"new")
        assert again.file_read("new") == b"new"


def test_failing_database_leaves_the_operation_undone(tmp_path: Path) -> None:
    options: dict[str, Any] = {"incremental_mode": False, "record_nr_max": 8, "keysize": 6}
    fs = vfs_db.new(
        ourdb.new(path=str(tmp_path / "data"), **options), ourdb.new(path=str(tmp_path / "metadata"), **options)
    )
    fs.file_write("f", b"x" * CHUNK_SIZE)
    calls: list[Callable[[], object]] = [
        lambda: fs.file_write("f", b"y" * (9 * CHUNK_SIZE)),
        lambda: fs.file_write("g", b"y" * (9 * CHUNK_SIZE)),
        lambda: fs.file_concatenate("f", b"y" * (9 * CHUNK_SIZE)),
    ]
    for call in calls:
        with pytest.raises(OSError, match="No space left"):
            call()
        with fs.transaction(), pytest.raises(OSError, match="No space left"):
            call()
        assert fs.file_read("f") == b"x" * CHUNK_SIZE
        assert not fs.exists("g")
        assert list(fs.check()) == []
    fs.file_write("f", b"y" * (6 * CHUNK_SIZE))
    assert fs.file_read("f") == b"y" * (6 * CHUNK_SIZE)
    fs.close()


def test_inner_block_holds_little_for_each_step(tmp_path: Path) -> None:
    """What leads back to its beginning does not hold the directory, nor its names, as each step found them."""
    count = 3000
    with vfs_db.open(tmp_path) as fs:
        fs.dir_create("d")
        with fs.transaction():
            for number in range(count // 2):
                fs.file_create(f"d/outer{number}")
            tracemalloc.start()
            try:
                with pytest.raises(Undo), fs.transaction():
                    for number in range(count):
                        fs.file_create(f"d/{number}")
                    held, _ = tracemalloc.get_traced_memory()
                    raise Undo
            finally:
                tracemalloc.stop()
            assert held < 3000 * count
            assert len(fs.dir_list("d")) == count // 2


def _one_step(fs: DatabaseVFS, choose: random.Random) -> None:
    def path() -> str:
        return "/".join(choose.choice("abc") for _ in range(choose.choice([1, 2, 2, 3])))

    steps: list[Callable[[], object]] = [
        lambda: fs.file_write(path(), choose.randbytes(5)),
        lambda: fs.makedirs(path(), exist_ok=True),
        lambda: fs.rename(path(), path()),
        lambda: fs.copy(path(), path()),
        lambda: fs.remove_tree(path()),
        lambda: fs.delete(path()),
        lambda: fs.link_create("a/b", path()),
        lambda: fs.chmod(path(), choose.randrange(0o1000)),
        lambda: fs.truncate(path(), choose.choice([0, 3, CHUNK_SIZE + 1])),
    ]
    with suppress(OSError):
        choose.choice(steps)()


def _seen(fs: DatabaseVFS) -> dict[str, Any]:
    return {
        path: (entry.metadata, fs.file_read(path) if entry.is_file() else getattr(entry, "target", None))
        for path, entry in fs.find("/")
    }


def test_blocks_at_random_are_undone_to_where_they_began(fs: DatabaseVFS) -> None:
    choose = random.Random(11)

    def block(depth: int) -> None:
        before = _seen(fs)
        with suppress(Undo), fs.transaction():
            for _ in range(choose.randrange(6)):
                if depth < 3 and choose.random() < 0.4:
                    block(depth + 1)
                else:
                    _one_step(fs, choose)
                assert all(fs.get_path(fs.get(path)) == path for path in _seen(fs))
            after = _seen(fs)
            if choose.random() < 0.5:
                after = before
                raise Undo
        assert _seen(fs) == after

    for _ in range(120):
        block(0)
