"""Entries as bytes: what the reference wrote reads back, writes the same, and is refused for the same reasons."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfs_db import CorruptEntry, Directory, File, FileType, FSEntry, Metadata, Symlink, codec
from vfs_db.chunk_tree import ChunkIds
from vfs_db.id_list import id_list
from vfs_db.metadata import Extension
from vfs_db.moment import Moment
from vfs_db.name_tree import Children
from vfs_db.page import CorruptPage, IdPage, NamePage, Page, decode_page, encode_page

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


# Version 2

BIG = "n" * 255
SAMPLES_V2: list[FSEntry] = [
    Directory(Metadata(1, "", FileType.directory, 0, 1, Moment(2, 5), 3, 0o755), 0, [2, 3]),
    Directory(Metadata(9, BIG, FileType.directory, 0, -1, 2, 3, 0o755, "o", "g"), 1, Children(7, 2000, 9, None)),
    File(Metadata(2, "f", FileType.file, 70000, 1, 2, Moment(-3, 999_999_999), 0o644, "me", "us"), 1, [4, 5]),
    File(Metadata(2, "f", FileType.file, 1 << 40, 1, 2, 3, 0o644, "me", "us"), 1, ChunkIds(8, 16_777_216, 2, None)),
    Symlink(Metadata(3, "l", FileType.symlink, extension=Extension(5, ((1, b""), (900, b"x" * 300)))), 1, "a/b"),
]


@pytest.mark.parametrize("entry", SAMPLES_V2, ids=range(len(SAMPLES_V2)))
def test_version_2_entry_comes_back_as_it_was(entry: FSEntry) -> None:
    data = codec.encode(entry)
    assert data[0] == 2
    assert codec.decode(data) == entry
    assert codec.encode(codec.decode(data)) == data
    for end in range(len(data)):
        with pytest.raises(CorruptEntry):
            codec.decode(data[:end])
    with pytest.raises(CorruptEntry, match="1 bytes follow"):
        codec.decode(data + b"x")


def test_unknown_incompatible_feature_is_refused_and_a_compatible_one_kept() -> None:
    data = bytearray(codec.encode(SAMPLES_V2[0]))
    data[12] = 0x80
    known = codec.decode(bytes(data))
    assert known.metadata.extension == Extension(0x80)
    assert codec.encode(attrs.evolve(known, metadata=known.metadata.named("x")))[12] == 0x80
    data[8] = 0x40
    with pytest.raises(codec.UnsupportedEntry, match="features 0x40"):
        codec.decode(bytes(data))


def test_tags_that_do_not_ascend_and_too_many_nanoseconds_are_refused() -> None:
    twice = attrs.evolve(SAMPLES_V2[4].metadata, extension=Extension(0, ((1, b""), (1, b""))))
    with pytest.raises(CorruptEntry, match="tags ascend"):
        codec.decode(codec.encode(Symlink(twice, 1, "t")))
    data = bytearray(codec.encode(SAMPLES_V2[0]))
    data[48:52] = (1_000_000_000).to_bytes(4, "little")
    with pytest.raises(CorruptEntry, match="nanoseconds"):
        codec.decode(bytes(data))


@given(st.binary(max_size=200), st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_any_version_2_bytes_are_an_entry_or_refused(data: bytes, kind: int) -> None:
    _decodes_or_refuses(bytes((2, kind)) + b"vf" + data)


@given(st.sampled_from(SAMPLES_V2), st.data())
def test_version_2_entry_with_changed_bytes_is_an_entry_or_refused(entry: FSEntry, data: st.DataObject) -> None:
    raw = bytearray(codec.encode(entry))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=5)):
        raw[at] = data.draw(st.integers(0, 255))
    _decodes_or_refuses(bytes(raw))


def _decodes_or_refuses(raw: bytes) -> None:
    try:
        entry = codec.decode(raw)
    except CorruptEntry:
        return
    assert codec.decode(codec.encode(entry)) == entry


PAGES: list[Page] = [
    NamePage(5, 1, 0, (b"a", b"a" * 255, b"b"), (7, 8, 9)),
    NamePage(5, 1, 2, (), ()),
    IdPage(6, 2, 0, id_list(range(1000))),
]


@pytest.mark.parametrize("page", PAGES, ids=range(3))
def test_page_comes_back_as_it_was(page: Page) -> None:
    data = encode_page(page)
    assert decode_page(data) == page
    for end in range(len(data)):
        with pytest.raises(CorruptPage):
            decode_page(data[:end])
    with pytest.raises(CorruptPage):
        decode_page(data + b"x")
    with pytest.raises(CorruptEntry, match="type byte|Unsupported version"):
        codec.decode(data + bytes(100))


@given(st.binary(max_size=200), st.sampled_from([2, 3, 4]), st.sampled_from(PAGES), st.integers(0, 12))
def test_any_bytes_are_a_page_or_refused(tail: bytes, kind: int, page: Page, kept: int) -> None:
    for raw in (bytes((2, kind)) + tail, encode_page(page)[:kept] + tail):
        try:
            found = decode_page(raw)
        except CorruptPage:
            continue
        assert encode_page(found) == raw


def test_page_whose_names_do_not_ascend_is_refused() -> None:
    with pytest.raises(CorruptPage, match="ascend"):
        decode_page(encode_page(NamePage(5, 1, 0, (b"b", b"a"), (7, 8))))
