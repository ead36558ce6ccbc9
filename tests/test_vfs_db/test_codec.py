"""Entries as bytes: what the reference wrote reads back, writes the same, and is refused for the same reasons."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs_db import CorruptEntry, Directory, File, FileType, FSEntry, Metadata, Symlink, codec

GOLDEN: dict[str, Any] = json.loads(lzma.decompress(Path(__file__).with_name("vfs_encodings.json.xz").read_bytes()))


def entry_of(case: dict[str, Any]) -> FSEntry:
    metadata = Metadata(
        id=case["id"],
        name=case["name"],
        file_type=FileType[case["kind"]],
        size=case["size"],
        created_at=case["created_at"],
        modified_at=case["modified_at"],
        accessed_at=case["accessed_at"],
        mode=case["mode"],
        owner=case["owner"],
        group=case["group"],
    )
    if case["kind"] == "directory":
        return Directory(metadata, case["parent_id"], case["children"])
    if case["kind"] == "file":
        return File(metadata, case["parent_id"], case["chunk_ids"])
    return Symlink(metadata, case["parent_id"], case["target"])


def test_golden_has_all_cases() -> None:
    assert (len(GOLDEN["entries"]), len(GOLDEN["malformed"])) == (128, 54)


@pytest.mark.parametrize("case", GOLDEN["entries"], ids=range(128))
def test_golden_entry_is_written_as_the_reference_wrote_it(case: dict[str, Any]) -> None:
    assert codec.encode(entry_of(case)).hex() == case["hex"]


@pytest.mark.parametrize("case", GOLDEN["entries"], ids=range(128))
def test_golden_entry_is_read_as_the_reference_read_it(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if case["decode"]["ok"]:
        entry = codec.decode(data)
        assert entry == entry_of(case)
        assert codec.head_of(data) == (case["id"], case["name"])
    else:
        with pytest.raises(CorruptEntry) as caught:
            codec.decode(data)
        assert str(caught.value) == case["decode"]["error"]


@pytest.mark.parametrize("case", GOLDEN["malformed"], ids=range(54))
def test_golden_malformed_input_gets_the_reference_s_answer(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if case["decode"]["ok"]:
        assert codec.decode(data) == entry_of(case["decode"]["result"])
    else:
        with pytest.raises(CorruptEntry) as caught:
            codec.decode(data)
        assert str(caught.value) == case["decode"]["error"]


SAMPLES: list[FSEntry] = [
    Directory(Metadata(1, "d", FileType.directory, 0, 1, 2, 3, 0o755), 0, [2, 3]),
    File(Metadata(2, "f", FileType.file, 70000, 1, 2, 3, 0o644, "me", "us"), 1, [4, 5]),
    Symlink(Metadata(3, "l", FileType.symlink, 0, 1, 2, 3, 0o777), 1, "a/b"),
]


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: type(entry).__name__)
def test_every_truncation_is_refused(entry: FSEntry) -> None:
    data = codec.encode(entry)
    for size in range(len(data)):
        with pytest.raises(CorruptEntry):
            codec.decode(data[:size])


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: type(entry).__name__)
def test_every_flipped_byte_is_refused_or_reads_as_something_else(entry: FSEntry) -> None:
    data = codec.encode(entry)
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        try:
            assert codec.decode(damaged) != entry
        except CorruptEntry as error:
            assert str(error)


def test_unknown_type_is_refused() -> None:
    data = bytearray(codec.encode(SAMPLES[0]))
    data[1] = 7
    with pytest.raises(CorruptEntry, match="Invalid type byte for entry: 7"):
        codec.decode(bytes(data))
    with pytest.raises(CorruptEntry, match="Invalid type byte"):
        codec.head_of(bytes(data))


def test_type_that_is_not_the_metadata_s_is_refused() -> None:
    data = bytearray(codec.encode(SAMPLES[1]))
    data[9] = 2
    with pytest.raises(CorruptEntry, match="Invalid type byte for file: 2, expected 0"):
        codec.decode(bytes(data))


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", 1 << 32), ("id", -1), ("size", 1 << 64), ("modified_at", 1 << 63), ("mode", -1), ("name", "n" * 70000)],
)
def test_value_that_does_not_fit_its_field_is_refused(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"id": 1, "name": "n", "file_type": FileType.file, field: value}
    with pytest.raises(ValueError, match="does not fit version 1"):
        codec.encode(File(Metadata(**fields), 1))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
u32 = st.integers(0, (1 << 32) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(
    st.tuples(u32, text, st.integers(1, (1 << 64) - 1), i64, i64, i64, u32, text, text, u32, st.lists(u32, max_size=50))
)
def test_any_file_comes_back(values: tuple[Any, ...]) -> None:
    entry_id, name, size, created, modified, accessed, mode, owner, group, parent, ids = values
    metadata = Metadata(entry_id, name, FileType.file, size, created, modified, accessed, mode, owner, group)
    entry = File(metadata, parent, ids)
    assert codec.decode(codec.encode(entry)) == entry


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_a_clear_error(data: bytes) -> None:
    try:
        codec.decode(data)
    except CorruptEntry as error:
        assert str(error)


def test_foreign_bytes_in_a_name_survive() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    entry = File(Metadata(5, name, FileType.file), 1)
    assert b"caf\xe9" in codec.encode(entry)
    assert codec.decode(codec.encode(entry)).metadata.name == name
