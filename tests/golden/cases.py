"""What the reference wrote, and the operations that made it write it: one archive a family, unpacked on demand.

Each case is a folder: `case.json` (config, operations with the answers the reference gave, digests of the files) beside
the files. Data in operations is `{"hex": ...}` or `{"gen": {"seed": s, "len": n}}`, see `data_of`.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["ARCHIVES", "data_of", "load", "names", "unpack"]

ARCHIVES: Final = Path(__file__).parent


@cache
def _unpacked(family: str) -> bytes:
    return lzma.decompress((ARCHIVES / f"{family}.tar.xz").read_bytes())


def _opened(family: str) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(_unpacked(family)))


def names(*families: str) -> list[str]:
    """Return the names of all cases of *families* (the archives' names), as `family/case`."""
    found = []
    for family in families:
        with _opened(family) as archive:
            cases = [member.name for member in archive if member.name.endswith("case.json")]
        found += [f"{family}/{Path(case).parent.name}" for case in cases]
    return sorted(found)


def unpack(name: str, folder: Path) -> Path:
    """Write the case *name* (`family/case`) into *folder* and return where it lies."""
    family, case = name.split("/")
    with _opened(family) as archive:
        members = [member for member in archive if case in Path(member.name).parts]
        archive.extractall(folder, members, filter="data")
    (found,) = folder.rglob("case.json")
    return found.parent


def load(case: Path) -> dict[str, Any]:
    """Return `case.json` of the unpacked *case*."""
    loaded: dict[str, Any] = json.loads((case / "case.json").read_text())
    return loaded


def data_of(spec: Mapping[str, Any]) -> bytes:
    """Return the bytes that an operation's data stands for."""
    if "hex" in spec:
        return bytes.fromhex(spec["hex"])
    seed, size = spec["gen"]["seed"], spec["gen"]["len"]
    blocks = (hashlib.sha256(f"{seed}:{number}".encode()).digest() for number in range(-(-size // 32)))
    return b"".join(blocks)[:size]
