"""Open files: what the built-in `open` gives on a disk, on ours."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import random
import shutil
import tarfile
import threading
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vfs_db
from vfs_db import CHUNK_SIZE, DatabaseVFS, MemoryDatabase


def test_kinds_of_files(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"x")
    kinds: dict[str, type] = {
        "rb": io.BufferedReader,
        "wb": io.BufferedWriter,
        "ab": io.BufferedWriter,
        "r+b": io.BufferedRandom,
        "w+b": io.BufferedRandom,
        "a+b": io.BufferedRandom,
        "r": io.TextIOWrapper,
        "w+": io.TextIOWrapper,
    }
    for mode, kind in kinds.items():
        with fs.open("f", mode) as file:
            assert type(file) is kind
            assert file.name == "f"
            assert (file.readable(), file.writable(), file.seekable()) == (
                "r" in mode or "+" in mode,
                mode[0] != "r" or "+" in mode,
                True,
            )
    with fs.open("f", "rb", buffering=0) as raw:
        assert isinstance(raw, io.RawIOBase)
        assert raw.mode == "rb"
    with fs.open("f", "r") as text:
        assert isinstance(text, io.TextIOWrapper)
        assert text.mode == "r"
        assert text.encoding == "utf-8"


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("", {}),
        ("q", {}),
        ("rw", {}),
        ("rr", {}),
        ("b", {}),
        ("rbt", {}),
        ("+", {}),
        ("rb", {"encoding": "utf-8"}),
        ("rb", {"errors": "strict"}),
        ("rb", {"newline": "\n"}),
        ("r", {"buffering": 0}),
    ],
)
def test_modes_that_open_refuses(fs: DatabaseVFS, tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    fs.file_write("f", b"x")
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(ValueError, match="."):
        open(tmp_path / "f", mode, **options)  # noqa: SIM115 - the handle is what is tested
    with pytest.raises(ValueError, match="."):
        fs.open("f", mode, **options)
    assert fs.file_read("f") == b"x"


def test_using_a_file_in_a_way_its_mode_does_not_allow(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"x")
    with fs.open("f", "rb", buffering=0) as raw:
        with pytest.raises(io.UnsupportedOperation, match="not open for writing"):
            raw.write(b"y")
        with pytest.raises(io.UnsupportedOperation, match="not open for writing"):
            raw.truncate()
    with fs.open("f", "ab", buffering=0) as raw, pytest.raises(io.UnsupportedOperation, match="not open for reading"):
        raw.read(1)
    with pytest.raises(ValueError, match="closed"):
        raw.read(1)
    with fs.open("f", "rb", buffering=0) as raw:
        with pytest.raises(OSError, match="Invalid argument"):
            raw.seek(-1)
        with pytest.raises(OSError, match="whence") as caught:
            raw.seek(0, 9)
        assert caught.value.errno == errno.EINVAL


def test_reading_by_pieces(fs: DatabaseVFS) -> None:
    data = os.urandom(5 * CHUNK_SIZE + 100)
    fs.file_write("f", data)
    for buffering in (-1, 0, 7, 1 << 20):
        with fs.open("f", "rb", buffering=buffering) as file:
            found = b""
            while piece := file.read(10_007):
                found += piece
            assert found == data
            file.seek(CHUNK_SIZE - 3)
            assert file.read(6) == data[CHUNK_SIZE - 3 : CHUNK_SIZE + 3]
            assert file.tell() == CHUNK_SIZE + 3
            file.seek(-5, io.SEEK_END)
            assert file.read() == data[-5:]
            assert file.read() == b""
            file.seek(len(data) + 10)
            assert file.read(5) == b""
            file.seek(10)
            assert file.read() == data[10:]
            buffer = bytearray(3 * CHUNK_SIZE)
            file.seek(5)
            assert isinstance(file, (io.RawIOBase, io.BufferedReader))
            assert file.readinto(buffer) == len(buffer)
            assert buffer == data[5 : 5 + len(buffer)]


def test_modes_make_empty_and_append(fs: DatabaseVFS) -> None:
    with fs.open("f", "w") as file:
        file.write("first\n")
    with fs.open("f", "a") as file:
        file.write("second\n")
    with fs.open("f") as file:
        assert list(file) == ["first\n", "second\n"]
    with fs.open("f", "a+b") as file:
        assert file.tell() == 13
        file.seek(0)
        assert file.read(5) == b"first"
        file.write(b"third\n")
    assert fs.file_read("f") == b"first\nsecond\nthird\n"
    with fs.open("f", "wb") as file:
        assert fs.file_read("f") == b""
    with fs.open("new", "x") as file:
        file.write("made")
    assert fs.read_text("new") == "made"


def test_writing_past_the_end_fills_with_zeros(fs: DatabaseVFS) -> None:
    with fs.open("f", "wb") as file:
        file.write(b"start")
        file.seek(3 * CHUNK_SIZE)
        file.write(b"end")
    assert fs.file_read("f") == b"start" + bytes(3 * CHUNK_SIZE - 5) + b"end"


def test_truncating_an_open_file(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"0123456789")
    with fs.open("f", "r+b") as file:
        file.seek(4)
        assert file.truncate() == 4
        assert file.tell() == 4
        file.truncate(8)
        file.seek(0)
        assert file.read() == b"0123\0\0\0\0"
        with pytest.raises(OSError, match="Invalid argument"):
            file.truncate(-1)


def test_several_handles_see_each_other_s_flushed_writes(fs: DatabaseVFS) -> None:
    with fs.open("f", "w+b") as one, fs.open("f", "r+b", buffering=0) as other:
        one.write(b"from one")
        assert other.read() == b""
        one.flush()
        assert other.read() == b"from one"
        other.seek(5)
        other.write(b"two")
        one.seek(0)
        assert one.read() == b"from two"


def test_handle_on_a_deleted_file_fails_clearly(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"old content")
    with fs.open("f", "r+b", buffering=0) as file:
        fs.delete("f")
        fs.file_write("g", b"takes the id")
        for call in (lambda: file.read(1), lambda: file.write(b"x"), lambda: file.truncate(0)):
            with pytest.raises(OSError, match="deleted while it was open") as caught:
                call()
            assert caught.value.errno == errno.ESTALE
    assert fs.file_read("g") == b"takes the id"


def test_handle_on_a_replaced_file_fails_and_on_a_moved_one_goes_on(fs: DatabaseVFS) -> None:
    fs.file_write("a", b"a")
    fs.file_write("b", b"b")
    with fs.open("a", "rb", buffering=0) as moved, fs.open("b", "rb", buffering=0) as replaced:
        fs.rename("a", "b")
        assert moved.read() == b"a"
        with pytest.raises(OSError, match="deleted"):
            replaced.read()


def test_deleting_within_a_transaction_stops_its_own_handles(fs: DatabaseVFS) -> None:
    fs.file_write("f", b"f")
    with fs.open("f", "r+b", buffering=0) as file, fs.transaction():
        fs.delete("f")
        with pytest.raises(OSError, match="deleted while it was open") as caught:
            file.write(b"x")
        assert caught.value.errno == errno.ESTALE
    assert not fs.exists("f")


def test_handle_opened_in_a_transaction_is_closed_by_its_rollback(fs: DatabaseVFS) -> None:
    with pytest.raises(RuntimeError), fs.transaction():
        file = fs.open("f", "wb", buffering=0)
        file.write(b"x")
        raise RuntimeError
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.write(b"y")
    assert not fs.exists("f")


def test_failed_write_leaves_the_position(fs: DatabaseVFS) -> None:
    with fs.open("f", "wb", buffering=0) as file:
        file.write(b"abc")
        with pytest.raises(TypeError):
            file.write("text")  # type: ignore[call-overload]
        assert file.tell() == 3


def test_small_appends_coalesce() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    writes = 0
    plain_set = data.set

    def counted(*, data: bytes, id: int | None = None) -> int:
        nonlocal writes
        writes += 1
        return plain_set(data=data, id=id)

    data.set = counted  # type: ignore[method-assign]
    fs = vfs_db.new(data, metadata)
    with fs.open("log", "w") as file:
        for number in range(1000):
            file.write(f"line {number}\n")
    assert writes < 5
    assert fs.read_text("log").count("\n") == 1000


def test_partial_overwrite_touches_only_its_chunks() -> None:
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    file = fs.file_write("f", b"x" * (10 * CHUNK_SIZE))
    before = {chunk_id: data.get(chunk_id) for chunk_id in file.chunk_ids}
    with fs.open("f", "r+b") as opened:
        opened.seek(3 * CHUNK_SIZE + 5)
        opened.write(b"patch")
    changed = [chunk_id for chunk_id, content in before.items() if data.get(chunk_id) is not content]
    assert changed == [file.chunk_ids[3]]


def test_chunks_of_other_sizes_are_read_and_written_right() -> None:
    """Another program may have laid a file out in chunks that are not full."""
    data, metadata = MemoryDatabase(), MemoryDatabase()
    fs = vfs_db.new(data, metadata)
    content = os.urandom(100 + CHUNK_SIZE + 50)
    made = fs.file_write("f", content)
    for chunk_id, piece in zip(made.chunk_ids, (content[:100], content[100:]), strict=False):
        data.set(id=chunk_id, data=piece[:CHUNK_SIZE])
    content = content[: 100 + CHUNK_SIZE]
    metadata_now = vfs_db.Metadata(made.metadata.id, "f", vfs_db.FileType.file, len(content))
    metadata.set(id=made.metadata.id, data=vfs_db.codec.encode(vfs_db.File(metadata_now, 1, made.chunk_ids[:2])))
    data.delete(made.chunk_ids[2]) if len(made.chunk_ids) > 2 else None
    fs.refresh()
    assert fs.file_read("f") == content
    with fs.open("f", "r+b") as file:
        file.seek(90)
        assert file.read(20) == content[90:110]
        file.seek(105)
        file.write(b"PATCH")
    content = content[:105] + b"PATCH" + content[110:]
    assert fs.file_read("f") == content
    fs.truncate("f", 70_000 - 5_000)
    assert fs.file_read("f") == content[:65_000]


def test_standard_library_writes_and_reads_archives(fs: DatabaseVFS) -> None:
    payload = os.urandom(200_000)
    with fs.open("a.zip", "wb") as out, zipfile.ZipFile(out, "w") as archive:
        archive.writestr("dir/data.bin", payload)
        archive.writestr("text", "text")
    with fs.open("a.zip", "rb") as source, zipfile.ZipFile(source) as archive:
        assert archive.testzip() is None
        assert archive.read("dir/data.bin") == payload
    with fs.open("a.zip", "r+b") as both, zipfile.ZipFile(both, "a") as archive:
        archive.writestr("more", "more")
    with fs.open("a.zip", "rb") as source, zipfile.ZipFile(source) as archive:
        assert archive.namelist() == ["dir/data.bin", "text", "more"]
    with fs.open("a.tar.gz", "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("data.bin")
        member.size = len(payload)
        tar.addfile(member, io.BytesIO(payload))
    with fs.open("a.tar.gz", "rb") as source, tarfile.open(fileobj=source) as tar:
        extracted = tar.extractfile("data.bin")
        assert extracted is not None
        assert extracted.read() == payload


def test_standard_library_writes_and_reads_text(fs: DatabaseVFS) -> None:
    rows = [["a", "b"], ["1", 'with "quotes", and\nnew lines']]
    with fs.open("t.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    with fs.open("t.csv", newline="") as file:
        assert list(csv.reader(file)) == rows
    with fs.open("t.json", "w") as file:
        json.dump({"k": [1, 2]}, file)
    with fs.open("t.json") as file:
        assert json.load(file) == {"k": [1, 2]}
    with fs.open("t.json", "rb") as source, fs.open("copy", "wb") as target:
        shutil.copyfileobj(source, target)
    assert fs.file_read("copy") == fs.file_read("t.json")


@pytest.mark.parametrize("buffering", [0, -1])
def test_pages_at_random_as_an_embedded_database_writes_them(fs: DatabaseVFS, buffering: int) -> None:
    """Pages of 4 KiB, of which each 16th lies across two chunks; a log beside them that is cut again and again."""
    size, count, choose = 4096, 100, random.Random(5)
    wanted = bytearray(size * count)
    fs.file_write("db", bytes(wanted))
    with (
        fs.open("db", "r+b", buffering) as file,
        fs.open("db", "rb", buffering=0) as other,
        fs.open("log", "w+b") as log,
    ):
        for turn in range(120):
            at = choose.randrange(count) * size
            page = choose.randbytes(size)
            log.seek(0, io.SEEK_END)
            log.write(page)
            file.seek(at)
            assert file.read(size) == wanted[at : at + size]
            file.seek(at)
            assert file.write(page) == size
            wanted[at : at + size] = page
            if turn % 10 == 9:
                file.flush()
                log.seek(-size, io.SEEK_END)
                assert log.read() == page
                assert log.truncate(0) == log.seek(0) == 0
                other.seek(at)
                assert other.read(size) == page
    assert fs.file_read("db") == wanted
    assert fs.stat("log").st_size == 0


def test_one_handle_in_many_threads(fs: DatabaseVFS) -> None:
    with fs.open("log", "ab", buffering=0) as file:

        def work(number: int) -> None:
            for _ in range(20):
                file.write(b"%03d\n" % number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = fs.file_read("log").splitlines()
    assert sorted(lines) == sorted(b"%03d" % number for number in range(5) for _ in range(20))


steps = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=50)),
    st.tuples(st.just("write"), st.integers(0, 3 * CHUNK_SIZE).map(lambda size: b"w" * size)),
    st.tuples(st.just("read"), st.integers(-1, 2 * CHUNK_SIZE)),
    st.tuples(st.just("seek"), st.integers(0, 4 * CHUNK_SIZE), st.just(0)),
    st.tuples(st.just("seek"), st.integers(-100, 100), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("truncate"), st.one_of(st.none(), st.integers(0, 4 * CHUNK_SIZE))),
    st.tuples(st.just("tell")),
    st.tuples(st.just("flush")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    mode=st.sampled_from(["w+b", "r+b", "a+b"]),
    buffering=st.sampled_from([CHUNK_SIZE, 0, 16]),  # not -1: where a buffer is full, `tell` shows, and ours is larger
    start=st.integers(0, 2 * CHUNK_SIZE),
    calls=st.lists(steps, max_size=25),
)
def test_any_calls_do_what_a_file_on_disk_does(
    tmp_path_factory: pytest.TempPathFactory, mode: str, buffering: int, start: int, calls: list[tuple[Any, ...]]
) -> None:
    path = tmp_path_factory.mktemp("disk") / "f"
    content = bytes(range(256)) * (start // 256 + 1)
    path.write_bytes(content)
    with vfs_db.new(MemoryDatabase(), MemoryDatabase()) as fs:
        fs.file_write("f", content)
        with open(path, mode, buffering=buffering) as disk, fs.open("f", mode, buffering=buffering) as ours:
            for name, *arguments in calls:
                results: list[Any] = []
                for file in (disk, ours):
                    try:
                        results.append(getattr(file, name)(*arguments))
                    except OSError as error:
                        results.append(error.errno)
                assert results[0] == results[1], (name, arguments)
        assert fs.file_read("f") == path.read_bytes()
        assert list(fs.check()) == []


def test_appending_nothing_does_not_move(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    with vfs_db.new(MemoryDatabase(), MemoryDatabase()) as fs:
        fs.file_write("f", b"abc")
        with open(tmp_path / "f", "a+b", buffering=0) as disk, fs.open("f", "a+b", buffering=0) as ours:
            for file in (disk, ours):
                file.seek(1)
                file.write(b"")
                assert file.read(1) == b"b"


@pytest.mark.parametrize("buffering", [-1, 0, 100])
def test_small_reads_at_random_of_a_file_on_disk(tmp_path: Path, buffering: int) -> None:
    """Parts of chunks that were verified before are copied without the rest; what was written meanwhile is seen."""
    chosen = random.Random(buffering)
    content = bytearray(chosen.randbytes(5 * CHUNK_SIZE + 1000))
    with vfs_db.open(tmp_path / "image") as fs:
        fs.file_write("f", content)
        with fs.open("f", "rb", buffering=buffering) as file, fs.open("f", "rb+", buffering=0) as writer:
            for _ in range(1500):
                start, size = chosen.randrange(len(content) + 10), chosen.choice((1, 50, 4096, 70_000))
                if not chosen.randrange(20):
                    patch = chosen.randbytes(chosen.randrange(1, 300))
                    writer.seek(start)
                    writer.write(patch)
                    content += bytes(max(0, start + len(patch) - len(content)))
                    content[start : start + len(patch)] = patch
                    file.seek(0, io.SEEK_END)  # a buffer may keep what it has read, as that of a file on disk
                    file.read(1)
                file.seek(start)
                assert file.read(size) == content[start : start + size]
            assert file.seek(0) == 0
            assert file.read() == content
    with vfs_db.open(tmp_path / "image", read_only=True) as fs, fs.open("f", "rb", buffering=buffering) as file:
        for start in range(0, len(content), 9973):
            file.seek(start)
            assert file.read(100) == content[start : start + 100]


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_small_read_finds_damage_elsewhere_in_its_chunk(tmp_path: Path, buffering: int) -> None:
    with vfs_db.open(tmp_path / "image") as fs:
        fs.file_write("f", b"a" * CHUNK_SIZE + b"b" * CHUNK_SIZE + b"c")
    (path,) = (path for path in (tmp_path / "image").rglob("0.db") if path.stat().st_size > CHUNK_SIZE)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"b" * 1000) + 60_000] ^= 1
    path.write_bytes(raw)
    with vfs_db.open(tmp_path / "image") as fs, fs.open("f", "rb", buffering=buffering) as file:
        for _ in range(2):
            file.seek(100)
            assert file.read(4) == b"aaaa"
            file.seek(CHUNK_SIZE + 100)
            with pytest.raises(OSError, match="CRC") as caught:
                file.read(4)
            assert caught.value.errno == errno.EIO
            file.seek(2 * CHUNK_SIZE)
            assert file.read(4) == b"c"


def test_files_that_were_opened_and_closed_hold_no_memory(fs: DatabaseVFS) -> None:
    count = 3000
    with fs.transaction():
        for number in range(count):
            fs.file_write(f"{number}", b"x")

    def read_all() -> None:
        for number in range(count):
            with fs.open(f"{number}", "rb") as file:
                assert file.read() == b"x"

    kept = [fs.open(f"{number}", "rb", 0) for number in range(5)]
    fs.dir_list()
    for number in range(count):
        fs.file_read(f"{number}")
    tracemalloc.start()
    try:
        read_all()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 150_000
    for number in range(5):
        fs.delete(f"{number}")
        with pytest.raises(OSError, match="deleted while it was open"):
            kept[number].read()
        kept[number].close()


def test_handle_without_a_buffer_is_used_within_a_transaction_that_another_thread_waits_for(fs: DatabaseVFS) -> None:
    """The other thread's write waits for the transaction, and this one's does not wait for it."""
    is_done = threading.Event()
    with fs.open("log", "ab", buffering=0) as file:
        others = [threading.Thread(target=file.write, args=(b"other\n",), daemon=True) for _ in range(4)]

        def work() -> None:
            with fs.transaction():
                for number, other in enumerate(others):
                    other.start()
                    for _ in range(200):
                        file.write(b"%d\n" % number)
                        file.truncate(file.tell())
            is_done.set()

        threading.Thread(target=work, daemon=True).start()
        assert is_done.wait(60), "both wait for each other"
        for other in others:
            other.join()
    assert fs.file_read("log") == b"".join(b"%d\n" % number * 200 for number in range(4)) + b"other\n" * 4
