"""Every code block of README and docs runs as it is written, one after the other, in an empty folder per page.

Python blocks are doctests (lines that begin with >>>) or programs; shell blocks are lines that end with status 0. Programs
of the packages are found as after an installation. Blocks marked `text` or `arrows` are no code; `shell` is a
session, which a test of the shell runs.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import ourdb
import vfs_db
from ourdb import compaction
from ourdb.journal import COMMITS_AT, OPERATION, PREFIX

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NO_CODE = {"text", "arrows", "shell"}
_INSTALLS = ("python3 -m venv", "pip install")
"""Lines that CI runs: they need a package index."""


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in _BLOCK.findall(page.read_text("utf-8")) if kind not in _NO_CODE]


def run_python(text: str, names: dict[str, object], page: Path) -> None:
    if not text.startswith(">>>"):
        above = page.read_text("utf-8").partition(text)[0].count("\n")
        exec(compile("\n" * above + text, str(page), "exec"), names)
        return
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF | doctest.ELLIPSIS)
    test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    output: list[str] = []
    runner.run(test, out=output.append, clear_globs=False)
    names.update(test.globs)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def run_shell(text: str, folder: Path, programs: Path) -> None:
    lines = [line for line in text.splitlines() if not any(word in line for word in _INSTALLS)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
    }
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False,
        cwd=folder, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, module in (("ourdb", "ourdb"), ("vfs-shell", "vfs_db.shell"), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {f"-m {module}" if module else ""} "$@"\n')
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "sea.jpg").write_bytes(b"blue")
    names: dict[str, object] = {"__name__": "__main__"}
    for kind, text in blocks(page):
        assert kind in {"python", "sh"}, f"{page.name} has a block marked {kind!r}"
        if kind == "python":
            run_python(text, names, page)
        else:
            run_shell(text, tmp_path, programs)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_pages_link_to_what_is_there() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text("utf-8")):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_the_marker_of_a_compaction_is_as_format_md_says() -> None:
    assert "a space, and the CRC-32 of both in eight hexadecimal digits" in (ROOT / "docs" / "format.md").read_text()
    assert compaction._encode_count(3) == b"3 " + b"%08x" % zlib.crc32(b"3 ")


def test_the_three_ways_to_a_commit_leave_the_same_bytes(tmp_path: Path) -> None:
    """Architecture.md says so; only the time, the generation's salt and the checksums that follow from it differ."""
    found = {}
    for way in ("one set", "a batch", "a transaction"):
        with ourdb.new(path=tmp_path / way) as db:
            db.set(data=b"first")
            if way == "one set":
                db.set(id=1, data=b"second")
            elif way == "a batch":
                db.set_many([(1, b"second")])
            else:
                with db.transaction():
                    db.set(id=1, data=b"second")
            record_file = (tmp_path / way / "0.db").read_bytes()
            commits = (tmp_path / way / "journal").read_bytes()[COMMITS_AT:][: 2 * (PREFIX.size + OPERATION.size)]
        second = commits[PREFIX.size + OPERATION.size :]
        found[way] = record_file, second[4:12], second[16:], (tmp_path / way / "lookup" / "data").read_bytes()[:64]
    assert found["one set"] == found["a batch"] == found["a transaction"]
    assert found["one set"][0].endswith(b"second")


@pytest.mark.parametrize(
    ("folder", "is_sparse"), [("lookup_dump.db", True), ("lookup_sparse", True), ("lookup_data", False), ("", False)]
)
def test_an_exported_table_is_taken_for_the_live_one_where_format_md_says(
    tmp_path: Path, folder: str, is_sparse: bool
) -> None:
    path = tmp_path / "db"
    with ourdb.new(path=path) as db:
        db.set_many([(None, b"a"), (None, b"b")])
        (db.export_sparse if is_sparse else db.export_data)(tmp_path / "table")
    shutil.rmtree(path / "lookup")
    shutil.copytree(tmp_path / "table", path / folder, dirs_exist_ok=True)
    with ourdb.new(path=path) as db:
        assert db.get_many([1, 2]) == [b"a", b"b"]
        assert db.get_next_id() == 3
    assert f"`{folder}/data`" in (ROOT / "docs" / "format.md").read_text("utf-8") or not folder


def test_a_record_file_of_which_much_is_gone_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """As durability.md says of more than 64 MiB; less is filled up."""
    path = tmp_path / "db"
    with ourdb.new(path=path) as db:
        db.set(data=b"kept")
    for lost, is_refused in ((65 << 20, True), (1 << 20, False)):
        os.truncate(path / "0.db", lost)
        with ourdb.new(path=path) as db:
            db.set(data=b"lost")  # behind so many zeros, and the end is noted by the close
        os.truncate(path / "0.db", 17)
        if not is_refused:
            with ourdb.new(path=path) as db:
                assert db.get(1) == b"kept"
            assert (path / "0.db").read_bytes()[17:1000] == b"\xff" * 983
            return
        with pytest.raises(ourdb.CorruptRecord, match="repair"):
            ourdb.new(path=path)
        assert (path / "0.db").stat().st_size == 17
        with ourdb.new(path=path, read_only=True) as db:
            assert db.get(1) == b"kept"
        assert ourdb.repair(path).lost_ids == [2]


def test_tests_and_files_that_pages_name_are_there() -> None:
    """Where a page says what shows a claim, that can be looked up."""
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        text = page.read_text("utf-8")
        assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in tests] == []
        paths = re.findall(r"`((?:tests|bench|examples|ourdb|vfs_db)/[\w./]*)`", text)
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_module_is_in_a_table_of_architecture_md_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for package in ("ourdb", "vfs_db"):
        table = text.partition(f"## {package}: who knows what")[2].partition("\n\n")[2].partition("\n\n")[0]
        named = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
        modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
        assert sorted(named) == sorted(modules | ({"shell"} if package == "vfs_db" else set()))


def test_system_calls_are_as_many_as_architecture_md_says(tmp_path: Path) -> None:
    """The second time: the first one opens and maps what is needed."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("### System calls")[2].partition("###")[0]
    documented = {name: int(count) for name, count in re.findall(r"\| `(.+?)`.*\| (\d+) \|", text)}
    found = {}
    with ourdb.new(path=tmp_path / "db") as db, vfs_db.open(tmp_path / "fs") as fs:
        calls: dict[str, Callable[[int], object]] = {
            "OurDB.set": lambda _: db.set(data=b"data"),
            "OurDB.get": lambda _: db.get(1),
            "OurDB.set_many": lambda _: db.set_many([(None, b"data")] * 100),
            "DatabaseVFS.file_write": lambda number: fs.file_write(f"/{number}", b"content"),
            "DatabaseVFS.file_read": lambda _: fs.file_read("/1"),
            "DatabaseVFS.stat": lambda _: fs.stat("/1"),
        }
        for name, call in calls.items():
            for number in range(100):  # reads past a map are by system calls until there are enough for a new map
                call(number)
                if name.endswith(("write", "set", "set_many")) and number > 2:
                    break
            found[name] = system_calls(lambda call=call: call(1000))  # type: ignore[misc]
    assert found == documented


def system_calls(call: Callable[[], object]) -> int:
    """Return how many functions of the module `os` that are the system's own *call* calls."""
    names = []

    def note(_frame: object, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__module__", "") == os.name:
            names.append(function)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return len([name for name in names if getattr(name, "__name__", "") != "fspath"])


def test_commands_of_contributing_name_what_is_there() -> None:
    """Its paths exist, and its programs of ours know the words after them."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.findall(r"\| `([^|]+?)`", text)
    assert len(commands) > 6
    for path in re.findall(r"\b(?:tests|docs|\.ci)/[\w/]+(?:\.\w+)?", text):
        assert (ROOT / path).exists(), path
    for module, words in re.findall(r"python -m ((?:bench|tests)[\w.]*)([\w ]*)`", text):
        source = ROOT / module.replace(".", "/")
        code = (source / "__main__.py" if source.is_dir() else source.with_suffix(".py")).read_text("utf-8")
        assert [word for word in words.split() if not word.isdigit() and f'"{word}"' not in code] == [], module
    (names,) = re.findall(r"bash .ci/run bench ([\w ]+)`", text)
    from bench.__main__ import GROUPS

    assert set(names.split()) <= {group.name for group in GROUPS}
