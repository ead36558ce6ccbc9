"""A disk that is full, as a process meets it: no file may grow past a limit that the system enforces.

What was acknowledged stays, the handle works on, `delete` and `compact` make room, and the next open finds it all sound.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ourdb
import vfs_db

resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")

_LIMIT = 2 << 20

_FILL_OURDB = """
import os, resource, sys
import ourdb

folder, synchronous = sys.argv[1:]
db = ourdb.new(folder, 20_000, 100, incremental_mode=False, keysize=6, synchronous=synchronous)
resource.setrlimit(resource.RLIMIT_FSIZE, (int({limit}), resource.RLIM_INFINITY))

def data(record_id, turn=0):
    return f"{{record_id}} {{turn}} ".encode() * 90

def fill(first):
    for record_id in range(first, 20_000):
        try:
            db.set(id=record_id, data=data(record_id))
        except OSError:
            return record_id
    raise AssertionError("the limit was never met")

def look(ids):
    assert list(db) == list(ids)
    for record_id in ids:
        assert db.get(record_id) == data(record_id)

end = fill(1)
assert end > 100
look(range(1, end))
try:
    db.set_many([(record_id, data(record_id, 1)) for record_id in range(1, 50)])
except OSError:
    pass
else:
    raise AssertionError("49 records fitted where one did not")
look(range(1, end))
for record_id in range(1, end):
    if record_id % 2:
        db.delete(record_id)
look(range(2, end, 2))
db.compact()
look(range(2, end, 2))
again = fill(end)
assert again > end + 100 - 50, (again, end)
look([*range(2, end, 2), *range(end, again)])
print(end, again, flush=True)
if synchronous == "off":
    db.close()
else:
    os.kill(os.getpid(), 9)
"""

_FILL_VFS = """
import os, resource, sys
import ourdb
import vfs_db

folder, last = sys.argv[1:]
databases = [ourdb.new(f"{{folder}}/{{name}}", 20_000, 100, incremental_mode=False, keysize=6) for name in ("data", "metadata")]
fs = vfs_db.new(*databases)
fs.makedirs("a"); fs.makedirs("b")
fs.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (int({limit}), resource.RLIM_INFINITY))

def fill(directory):
    for number in range(20_000):
        path = f"{{directory}}/{{number}}"
        try:
            with fs.transaction():
                fs.file_create(path)
                fs.file_write(path, path.encode() * 400)
        except OSError:
            return number
    raise AssertionError("the limit was never met")

def look(directory, count):
    assert sorted(os.path.basename(e.get_path()) for e in fs.dir_list(directory)) == sorted(map(str, range(count)))
    for number in range(count):
        assert fs.file_read(f"{{directory}}/{{number}}") == f"{{directory}}/{{number}}".encode() * 400

first = fill("a")
assert first > 100
look("a", first); look("b", 0)
fs.remove_tree("a")
fs.compact()
fs.makedirs("a")
second = fill("b")
assert second > 100, second
look("a", 0); look("b", second)
print(second, flush=True)

def repeat(change):
    for turn in range(100_000):
        try:
            change(turn)
        except OSError:
            return
    raise AssertionError("the limit was never met")

repeat(lambda turn: fs.file_create(f"a/{{turn}}"))
repeat(lambda turn: fs.chmod("a/0", turn % 512))  # now not even the smallest entry fits
if last == "kill":
    os.kill(os.getpid(), 9)
fs.close()
"""


def _run(script: str, *arguments: str) -> list[int]:
    child = subprocess.run(
        [sys.executable, "-c", script.format(limit=_LIMIT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode in (0, -9), child.stderr
    return [int(word) for word in child.stdout.split()]


@pytest.mark.parametrize("synchronous", ["full", "normal", "off"])
def test_a_full_database_loses_nothing_and_delete_and_compact_make_room(tmp_path: Path, synchronous: str) -> None:
    end, again = _run(_FILL_OURDB, str(tmp_path / "db"), synchronous)
    with ourdb.new(tmp_path / "db") as db:
        assert list(db) == [*range(2, end, 2), *range(end, again)]
        assert all(db.get(record_id) == f"{record_id} 0 ".encode() * 90 for record_id in db)
        assert list(db.check()) == []
        db.set(id=1, data=b"on it goes")


@pytest.mark.parametrize("last", ["kill", "close"])
def test_a_full_filesystem_loses_nothing_and_removing_and_compact_make_room(tmp_path: Path, last: str) -> None:
    (count,) = _run(_FILL_VFS, str(tmp_path / "t"), last)
    with vfs_db.open(str(tmp_path / "t")) as fs:
        assert len(list(fs.dir_list("b"))) == count
        assert fs.file_read(f"b/{count - 1}") == f"b/{count - 1}".encode() * 400
        assert list(fs.check()) == []
        fs.file_create("b/one more")
