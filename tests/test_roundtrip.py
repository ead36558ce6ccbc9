"""A real tree goes into a filesystem, another process opens that, and the tree comes out as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ourdb
import vfs_db

LIBRARY = Path(os.__file__).parent
PART = ("asyncio", "email", "encodings", "importlib", "json", "sqlite3", "unittest", "xml")

EXPORT = """
import sys, vfs_db
with vfs_db.open(sys.argv[1], read_only=len(sys.argv) > 3) as fs:
    fs.export_tree("/library", sys.argv[2])
"""


def copy_of_library(destination: Path, *names: str) -> Path:
    """Copy the standard library (*names* of it, or all) without what was installed into it."""
    destination.mkdir()
    for source in sorted(LIBRARY.iterdir()):
        if source.name == "site-packages" or (names and source.name not in names):
            continue
        if source.is_dir():
            shutil.copytree(source, destination / source.name, symlinks=True)
        else:
            shutil.copy2(source, destination / source.name)
    return destination


def add_oddities(tree: Path) -> None:
    """Add what the library has none of."""
    odd = tree / "odd"
    odd.mkdir()
    (odd / "empty folder").mkdir()
    (odd / "empty folder" / "deeper").mkdir(mode=0o700)
    (odd / "empty file").touch()
    for size in (1, 65534, 65535, 65536, 131070, 1_000_000):
        (odd / f"{size} bytes").write_bytes(os.urandom(size))
    (odd / "executable").write_bytes(b"#!/bin/sh\n")
    (odd / "executable").chmod(0o755)
    (odd / "read only").write_bytes(b"x")
    (odd / "read only").chmod(0o400)
    (odd / "Übergröße \N{SNOWMAN} \N{GRINNING FACE}").write_bytes(b"x")
    (odd / ("n" * 255)).write_bytes(b"x")
    os.close(os.open(os.fsencode(odd) + b"/not \xff utf-8", os.O_CREAT | os.O_WRONLY))
    (odd / "new\nline").write_bytes(b"x")
    (odd / "to a file").symlink_to("executable")
    (odd / "to a folder").symlink_to("../odd/empty folder")
    (odd / "dangling").symlink_to("no/such/file")
    (odd / "absolute").symlink_to("/no/such/file")
    (odd / "loop").symlink_to("loop")
    os.utime(odd / "executable", (0, 0))
    os.utime(odd / "read only", (2**31 + 5, 2**31 + 5))
    os.utime(odd / "dangling", (1_000_000, 1_000_000), follow_symlinks=False)
    os.utime(odd / "empty folder", (86400, 86400))


def facts(tree: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, mode, modification time in whole seconds, and content of everything below *tree*."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(tree):
        for path in [Path(folder) / name for name in names + files]:
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                content = path.readlink()
            elif path.is_file():
                content = path.read_bytes()
            found[str(path.relative_to(tree))] = status.st_mode, int(status.st_mtime), content
    return found


def assert_comes_back(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with vfs_db.open(tmp_path / "image") as fs:
        fs.import_tree(tree, "/library")
        assert list(fs.check()) == []
    subprocess.run([sys.executable, "-c", EXPORT, tmp_path / "image", out], check=True)
    compared = subprocess.run(["diff", "-r", "--no-dereference", tree, out], capture_output=True, check=False)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, b"", b"")
    expected, found = facts(tree), facts(out)
    assert found.keys() == expected.keys()
    assert [(name, found[name][:2], expected[name][:2]) for name in expected if found[name] != expected[name]] == []


def test_a_part_of_the_standard_library_comes_back_as_it_was(tmp_path: Path) -> None:
    """Contents, modes, modification times, links, empty folders and odd names, by way of a fresh process."""
    tree = copy_of_library(tmp_path / "tree", *PART)
    add_oddities(tree)
    assert_comes_back(tree, tmp_path)


@pytest.mark.slow
def test_the_whole_standard_library_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = copy_of_library(tmp_path / "tree")
    add_oddities(tree)
    assert_comes_back(tree, tmp_path)


def test_a_reader_exports_while_the_writer_has_the_filesystem_open(tmp_path: Path) -> None:
    tree = copy_of_library(tmp_path / "tree", "json")
    with vfs_db.open(tmp_path / "image") as fs:
        fs.import_tree(tree, "/library")
        subprocess.run([sys.executable, "-c", EXPORT, tmp_path / "image", tmp_path / "out", "read_only"], check=True)
        fs.file_create("/library/after")
    assert facts(tmp_path / "out") == facts(tree)


def test_databases_hold_the_records_that_the_entries_name(tmp_path: Path) -> None:
    """What lies on disk is plain OurDB: a folder for entries by id, one for chunks, both sound."""
    tree = copy_of_library(tmp_path / "tree", "json")
    with vfs_db.open(tmp_path / "image") as fs:
        fs.import_tree(tree, "/library")
    with (
        ourdb.new(path=tmp_path / "image" / "metadata", read_only=True) as metadata,
        ourdb.new(path=tmp_path / "image" / "data", read_only=True) as data,
    ):
        assert [*metadata.check(), *data.check()] == []
        entries = [vfs_db.codec.decode(metadata.get(record_id)) for record_id in metadata if record_id]
        by_name = {entry.metadata.name: entry for entry in entries}
        decoder = by_name["decoder.py"]
        assert isinstance(decoder, vfs_db.File)
        content = b"".join(data.get(chunk_id) for chunk_id in decoder.chunk_ids)
        assert content == (tree / "json" / "decoder.py").read_bytes()
