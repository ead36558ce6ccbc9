"""What stays when a filesystem is closed, killed, or read by others meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, assert_type

import pytest

import ourdb
import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS

CHILD = """
import sys, vfs_db
folder, seed = sys.argv[1], int(sys.argv[2])
import random
choose = random.Random(seed)
fs = vfs_db.open(folder)
fs.makedirs("d", exist_ok=True)
number = 0
print("ready", flush=True)
while True:
    number += 1
    name = f"d/{choose.randrange(30)}"
    what = choose.randrange(7)
    if what < 3:
        size = choose.choice([10, 1000, 70_000, 200_000])
        fs.file_write(name, bytes([number % 256]) * size)
        print("write", name, number % 256, size, flush=True)
    elif what == 3 and fs.exists(name):
        fs.delete(name)
        print("delete", name, flush=True)
    elif what == 4 and fs.exists(name):
        other = f"d/{choose.randrange(30)}"
        fs.rename(name, other)
        print("rename", name, other, flush=True)
    elif what == 5 and fs.exists(name):
        data = bytes([number % 256])
        size = fs.file_concatenate(name, data * 5000).metadata.size
        print("append", name, number % 256, size, flush=True)
    elif what == 6:
        with fs.transaction():
            for half in "ab":
                fs.file_write(f"pair-{half}", str(number).encode())
        print("pair", number, flush=True)
"""


def apply(state: dict[str, Any], words: list[str]) -> None:
    """Do to *state* what a child said it had done."""
    what, *arguments = words
    if what in {"write", "append"}:
        state[arguments[0]] = (int(arguments[1]), int(arguments[2]))
    elif what == "delete":
        del state[arguments[0]]
    elif what == "rename" and arguments[0] != arguments[1]:
        state[arguments[1]] = state.pop(arguments[0])
    elif what == "pair":
        state["pair"] = int(arguments[0])


def killed_child(folder: Path, seed: int, after: int) -> list[list[str]]:
    """Run a child that changes things, kill it after *after* acknowledged operations, and return those."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        lines = [child.stdout.readline() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]  # a line cut short acknowledges nothing


def survives_kills(folder: Path, rounds: int) -> None:
    """Every acknowledged operation is there after each kill, and the one in flight wholly or not at all."""
    state: dict[str, Any] = {}
    for seed in range(rounds):
        operations = killed_child(folder, seed, random.Random(seed).randrange(1, 60))
        for words in operations:
            apply(state, words)
        with vfs_db.open(folder) as fs:
            assert [str(problem) for problem in fs.check()] == []
            found: dict[str, Any] = {}
            for path, entry in fs.find("d"):
                if isinstance(entry, vfs_db.File):
                    data = fs.file_read(path)
                    found[path] = (data[-1], len(data))
            differing = {path for path in {*found, *state} - {"pair"} if found.get(path) != state.get(path)}
            assert len(differing) <= 2, "one operation in flight changes at most two names"
            state = found
            if fs.exists("pair-a"):
                assert fs.file_read("pair-a") == fs.file_read("pair-b")
                state["pair"] = int(fs.file_read("pair-a"))


def test_killed_process_leaves_every_acknowledged_operation(tmp_path: Path) -> None:
    survives_kills(tmp_path, 8)


@pytest.mark.slow
def test_process_killed_200_times_leaves_every_acknowledged_operation(tmp_path: Path) -> None:
    survives_kills(tmp_path, 200)


@pytest.mark.parametrize("is_incremental", [False, True])
def test_data_and_metadata_survive_close_and_reopen(tmp_path: Path, is_incremental: bool) -> None:
    def opened() -> DatabaseVFS:
        return vfs_db.new(
            ourdb.new(path=str(tmp_path / "data"), incremental_mode=is_incremental),
            ourdb.new(path=str(tmp_path / "metadata"), incremental_mode=is_incremental),
        )

    with opened() as fs:
        fs.makedirs("a/b")
        fs.file_write("a/b/f", b"x" * 200_000)
        fs.link_create("/a", "l")
        fs.chmod("a/b/f", 0o640)
        fs.chown("a/b/f", "me", "us")
        before = dict(fs.find("/"))
        assert (fs.data_dir, fs.metadata_dir) == (str(tmp_path / "data"), str(tmp_path / "metadata"))
    for _ in range(2):
        with opened() as fs:
            assert dict(fs.find("/")) == before
            assert fs.file_read("l/b/f") == b"x" * 200_000
            assert list(fs.check()) == []


def test_opening_does_not_read_the_tree(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as fs, fs.transaction():
        for number in range(2000):
            fs.file_write(f"{number}", b"x")
    with vfs_db.open(tmp_path) as fs:
        reads = 0
        database: Any = fs.db_metadata
        plain_get = database.get

        def counted(entry_id: int) -> bytes:
            nonlocal reads
            reads += 1
            result: bytes = plain_get(entry_id)
            return result

        database.get = counted
        fs.root_get()
        assert reads <= 1


def test_reader_in_another_process_sees_committed_states(tmp_path: Path) -> None:
    with vfs_db.open(tmp_path) as writer:
        writer.makedirs("d")
        writer.file_write("d/f", b"one")
        with vfs_db.open(tmp_path, read_only=True) as reader:
            assert reader.file_read("d/f") == b"one"
            writer.file_write("d/f", b"two" * 50_000)
            writer.file_write("d/g", b"new")
            writer.rename("d", "e")
            assert reader.file_read("d/f") == b"one"
            reader.refresh()
            assert reader.file_read("e/f") == b"two" * 50_000
            assert not reader.exists("d")
            writer.file_write("e/f", b"three")
            writer.sync()  # a checkpoint: the reader moves on by itself
            assert reader.file_read("e/f") == b"three"
            assert reader.stat("e/f").st_size == 5
            writer.delete("e/g")
            writer.sync()
            assert [entry.metadata.name for entry in reader.dir_list("e")] == ["f"]


def test_reader_beside_a_busy_writer_never_sees_half_a_change(tmp_path: Path) -> None:
    """The child writes files whose bytes are all alike, in two chunks; the reader must never find two kinds in one."""
    with vfs_db.open(tmp_path) as fs:
        fs.file_write("f", bytes(1000))
    code = (
        "import itertools, select, sys, vfs_db\n"
        "fs = vfs_db.open(sys.argv[1])\n"
        "for number in itertools.count():\n"
        "    fs.file_write('f', bytes([number % 256]) * (70_000 + number * 100))\n"
        "    if number % 7 == 0: fs.sync()\n"
        "    if number >= 400 and select.select([sys.stdin], [], [], 0)[0]: break\n"
        "fs.close()\n"
        "print(70_000 + number * 100)\n"
    )
    root = Path(__file__).parents[2]
    with vfs_db.open(tmp_path, read_only=True) as reader:
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root, stdin=pipe, stdout=pipe) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            seen = set()
            while child.poll() is None:
                data = reader.file_read("f")
                assert len(set(data)) == 1
                seen.add(len(data))
                assert reader.stat("f").st_size >= len(data)  # time does not run backwards
                reader.refresh()
                if len(seen) > 2:
                    child.stdin.close()  # it may end once it has written enough
            assert child.returncode == 0
            last = int(child.stdout.read())
        reader.refresh()
        assert len(reader.file_read("f")) == last


def test_what_is_met_says_what_it_is(on_disk: DatabaseVFS) -> None:
    fs = on_disk
    fs.file_write("f", b"x")
    assert " mode=0o644," in repr(fs.get("f"))
    assert sum(int(figures["records"]) for figures in fs.stats().values()) > 2, "typed so that it can be summed"
    with fs.snapshot() as then:
        assert repr(then) == f"<ReadableFS of <Snapshot of {fs.metadata_dir!r}>>"
        with then.open("f") as text, then.open("f", "rb") as binary:
            assert_type(text, IO[str])
            assert_type(binary, IO[bytes])
            assert (text.read(), binary.read()) == ("x", b"x")


def test_snapshot_stays_as_it_was(on_disk: DatabaseVFS) -> None:
    fs = on_disk
    fs.makedirs("d/e")
    fs.file_write("d/f", b"old" * 50_000)
    with fs.snapshot() as then:
        fs.file_write("d/f", b"new")
        fs.file_write("d/e/g", b"new")
        fs.rename("d", "moved")
        fs.remove_tree("moved/e")
        fs.file_write("h", b"x" * 300_000)
        assert then.file_read("d/f") == b"old" * 50_000
        assert [path for path, _, _ in then.walk()] == ["/", "/d", "/d/e"]
        assert not then.exists("h")
        assert then.stat("d/f").st_size == 150_000
        assert then.get("d/f").get_path() == "/d/f"
        with then.open("d/f", "rb") as file:
            file.seek(CHUNK_SIZE - 1)
            assert file.read(4) == (b"old" * 50_000)[CHUNK_SIZE - 1 :][:4]
        with pytest.raises(OSError, match="Read-only file system"):
            then.open("d/f", "w")
    assert fs.file_read("moved/f") == b"new"


def test_history_lists_the_kept_versions(on_disk: DatabaseVFS) -> None:
    fs = on_disk
    fs.file_create("f")
    fs.file_write("f", b"one")
    fs.chmod("f", 0o600)
    fs.rename("f", "g")
    versions = fs.history("g")
    assert [version.number for version in versions] == [0, 1, 2, 3]
    assert [version.entry.metadata.name for version in versions] == ["g", "f", "f", "f"]
    assert versions[0].changed == ("name",)
    assert versions[1].changed == ("mode",)
    assert set(versions[2].changed) >= {"size", "chunk_ids"}
    assert "name" in versions[3].changed
    assert len(fs.history("g", limit=2)) == 2
    assert fs.history("g", limit=2)[1].changed == ("mode",)
    database = fs.db_data
    assert isinstance(database, ourdb.OurDB)
    fs.file_write("g", b"two")
    file = fs.get("g")
    assert isinstance(file, vfs_db.File)
    assert database.get_history(file.chunk_ids[0], 10) == [b"two", b"one"]


def test_backup_opens_as_it_was(on_disk: DatabaseVFS, tmp_path: Path) -> None:
    fs = on_disk
    fs.makedirs("d")
    fs.file_write("d/f", b"x" * 100_000)
    fs.backup(tmp_path / "copy")
    fs.file_write("d/f", b"changed")
    with vfs_db.open(tmp_path / "copy") as copy:
        assert copy.file_read("d/f") == b"x" * 100_000
        assert list(copy.check()) == []
        copy.file_write("new", b"works")
    with pytest.raises(FileExistsError):
        fs.backup(tmp_path / "copy")


def test_compacting_takes_dead_space_back(on_disk: DatabaseVFS) -> None:
    fs = on_disk
    for number in range(20):
        fs.file_write("f", bytes([number]) * 100_000)
    size = os.path.getsize(os.path.join(fs.data_dir, "0.db"))
    fs.compact(keep_history=False)
    assert (
        sum(os.path.getsize(entry.path) for entry in os.scandir(fs.data_dir) if entry.name.endswith(".db")) < size / 10
    )
    assert fs.file_read("f") == bytes([19]) * 100_000
    fs.file_write("g", b"goes on")
    assert fs.file_read("g") == b"goes on"
