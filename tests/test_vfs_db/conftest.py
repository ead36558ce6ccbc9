"""One filesystem per kind of database: whatever a test says holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ourdb
import vfs_db
from vfs_db import DatabaseVFS, MemoryDatabase


class ThreeMethods:
    """A user's own database: a dict behind get, set and delete, and nothing else."""

    def __init__(self) -> None:
        self.records: dict[int, bytes] = {}

    def get(self, id: int) -> bytes:
        return self.records[id]

    def set(self, *, data: bytes, id: int | None = None) -> int:
        assert id is not None, "key-value: the filesystem chooses ids"
        assert type(data) is bytes
        assert len(data) <= 65535
        self.records[id] = data
        return id

    def delete(self, id: int) -> None:
        del self.records[id]


KINDS = ("memory", "memory incremental", "memory strict_v1", "three methods", "ourdb", "ourdb incremental")


def make(kind: str, folder: Path) -> DatabaseVFS:
    """Return an empty filesystem over databases of *kind*; those on disk lie in *folder*."""
    if kind == "memory strict_v1":
        return vfs_db.new(MemoryDatabase(), MemoryDatabase(), strict_v1=True)
    if kind.startswith("memory"):
        is_incremental = kind.endswith("incremental")
        return vfs_db.new(
            MemoryDatabase(incremental_mode=is_incremental), MemoryDatabase(incremental_mode=is_incremental)
        )
    if kind == "three methods":
        return vfs_db.new(ThreeMethods(), ThreeMethods())
    is_incremental = kind.endswith("incremental")
    return vfs_db.new(
        ourdb.new(path=str(folder / "data"), incremental_mode=is_incremental, synchronous="off"),
        ourdb.new(path=str(folder / "metadata"), incremental_mode=is_incremental, synchronous="off"),
    )


@pytest.fixture(params=KINDS)
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseVFS]:
    """An empty filesystem; when the test ends, `check` finds nothing wrong with it."""
    made = make(request.param, tmp_path)
    yield made
    if not made.is_closed:
        assert [str(problem) for problem in made.check()] == []
        made.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[DatabaseVFS]:
    """An empty filesystem in `tmp_path / "vfs"`, opened by its path."""
    made = vfs_db.open(tmp_path / "vfs")
    yield made
    if not made.is_closed:
        assert [str(problem) for problem in made.check()] == []
        made.close()


@pytest.fixture
def make_fs(tmp_path: Path) -> Iterator[Callable[[str], DatabaseVFS]]:
    """Make filesystems of a kind, each in a folder of its own."""
    made: list[DatabaseVFS] = []

    def one(kind: str) -> DatabaseVFS:
        made.append(make(kind, tmp_path / f"fs{len(made)}"))
        return made[-1]

    yield one
    for each in made:
        each.close()
