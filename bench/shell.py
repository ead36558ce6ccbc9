"""The shell's commands, each in a process of its own: its start, and whole trees to and from the host, beside `cp -r`."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.measure import Group, Peer, Work

__all__ = ["GROUPS"]

_LIBRARY: Final = Path(os.__file__).parent / "asyncio"
_WHOLE: Final = Path(os.__file__).parent


def _source(folder: Path, percent: int) -> Path:
    """Return a copy, in *folder*, of the standard library alone: what is installed beside it differs from place to place."""
    source = folder / "library"
    if not source.exists():
        ignored = shutil.ignore_patterns("site-packages")
        shutil.copytree(_WHOLE if percent >= 100 else _LIBRARY, source, symlinks=True, ignore=ignored)
    return source


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_with_bytecode())


def _with_bytecode() -> dict[str, str]:
    """Return an environment in which Python keeps what it compiled, as where it is installed; but not in the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return environment | {"PYTHONPYCACHEPREFIX": os.path.join(tempfile.gettempdir(), "bench-bytecode")}


def _shell(folder: Path, commands: str) -> None:
    _run(sys.executable, "-m", "vfs_db.shell", "-c", commands, str(folder))


@contextmanager
def _start(folder: Path, _percent: int) -> Iterator[Work]:
    _shell(folder / "image", "pwd")
    yield Work(1, lambda: _shell(folder / "image", "pwd"))


@contextmanager
def _imports(_folder: Path, _percent: int) -> Iterator[Work]:
    yield Work(1, lambda: _run(sys.executable, "-c", "import attrs, argparse"))


@contextmanager
def _put(folder: Path, percent: int) -> Iterator[Work]:
    numbers, source = itertools.count(), _source(folder, percent)
    yield Work(1, lambda: _shell(folder / f"image{next(numbers)}", f"put -r '{source}' /"))


@contextmanager
def _get(folder: Path, percent: int) -> Iterator[Work]:
    _shell(folder / "image", f"put -r '{_source(folder, percent)}' /tree")
    numbers = itertools.count()
    yield Work(1, lambda: _shell(folder / "image", f"get -r tree '{folder / str(next(numbers))}'"))


@contextmanager
def _copy(folder: Path, percent: int) -> Iterator[Work]:
    numbers, source = itertools.count(), _source(folder, percent)
    yield Work(1, lambda: _run("cp", "-r", str(source), str(folder / str(next(numbers)))))


GROUPS: Final = (
    Group("shell-start", "the shell: start, `pwd`", _start, (Peer("import attrs, argparse", _imports, 0.67),)),
    Group("shell-put", "the shell: `put -r` of the standard library", _put, (Peer("cp -r", _copy, 0.67),), 3),
    Group("shell-get", "the shell: `get -r` of the standard library", _get, (Peer("cp -r", _copy, 0.67),), 3),
)
