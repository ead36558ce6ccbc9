"""docs/format.md says what the code does: its tables are compared with the structs."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from ourdb import identity, joining, journal, record
from ourdb.config import Config
from vfs_db import codec_v2, page

_DOC = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")

STRUCTS = {
    "record": record.HEADER.format,
    "identity": "<8sHBB4xQQQ16sI4xQIIQI",
    "journal header": journal.HEADER.format + "80sI",
    "journal member": journal.MEMBER.format,
    "commit": journal.PREFIX.format.replace("QQQ", "Q16s"),
    "operation": journal.OPERATION.format,
    "pointer": joining._FIXED.format,
    "entry version 2": codec_v2._HEAD.format,
    "page": page._HEAD.format,
}


def fields(layout: str) -> list[tuple[int, int]]:
    """Return (offset, size) of each field of a struct, padding included."""
    result = []
    offset = 0
    for code in re.findall(r"\d*[a-zA-Z]", layout.lstrip("<")):
        count, kind = re.fullmatch(r"(\d*)(\w)", code).groups()  # type: ignore[union-attr]
        repeat = 1 if kind in "sx" else int(count or 1)
        size = struct.calcsize("<" + (code if kind in "sx" else kind))
        for _ in range(repeat):
            result.append((offset, size))
            offset += size
    return result


@pytest.mark.parametrize("name", STRUCTS)
def test_the_table_in_the_docs_is_the_struct(name: str) -> None:
    table = _DOC.split(f"<!-- table: {name} -->\n")[1].split("\n\n")[0]
    rows = [tuple(int(cell) for cell in line.split("|")[1:3]) for line in table.splitlines()[2:]]
    assert rows == fields(STRUCTS[name])


def test_the_identity_file_is_as_long_as_its_table() -> None:
    assert len(identity.Identity.encode(Config())) == identity.SIZE
    assert struct.calcsize(STRUCTS["identity"]) == identity.SIZE + identity.END_SIZE
    assert struct.calcsize(STRUCTS["journal header"]) == journal.SLOT_SIZE
