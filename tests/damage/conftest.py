"""Folders in memory, where there are such: these tests write and sync a lot."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = "/dev/shm"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's: removed when the test ends."""
    path = tempfile.mkdtemp(dir=_MEMORY if os.path.isdir(_MEMORY) else None)
    yield Path(path)
    shutil.rmtree(path)
