"""How far long work is: what a caller of the library is told, and what `python -m ourdb` shows on a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import ourdb

Told = list[tuple[int, int]]
Work = Callable[[Path, Callable[[int, int], object]], object]


def make(folder: Path, count: int = 1000) -> Path:
    with ourdb.new(folder, 100_000, 100) as db:
        db.set_many([(None, b"x" * 90)] * count)
        db.delete_many(range(10, 50))
        db.set(id=1, data=b"newer")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All files but `lookup/.ourdb`, which notes who opened the folder last."""
    return {str(one): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file() and one.name != ".ourdb"}


def _export(folder: Path, progress: Callable[[int, int], object], *, sparse: bool) -> None:
    with ourdb.new(folder, read_only=True) as db:
        (db.export_sparse if sparse else db.export_data)(folder / "table", progress=progress)


def _import(folder: Path, progress: Callable[[int, int], object], *, sparse: bool) -> None:
    with ourdb.new(folder) as db:
        (db.import_sparse if sparse else db.import_data)(folder.parent / f"table {sparse}", progress=progress)


def _compact(folder: Path, progress: Callable[[int, int], object]) -> None:
    with ourdb.new(folder) as db:
        db.compact(progress=progress)


def _check(folder: Path, progress: Callable[[int, int], object]) -> None:
    with ourdb.new(folder, read_only=True) as db:
        assert list(db.check(progress=progress)) == []


def _backup(folder: Path, progress: Callable[[int, int], object]) -> None:
    with ourdb.new(folder, read_only=True) as db:
        db.backup(folder.parent / "not" / "there", progress=progress)


WORKS: dict[str, Work] = {
    "check": _check,
    "compact": _compact,
    "backup": _backup,
    "repair": lambda folder, progress: ourdb.repair(folder, progress=progress),
    "export": lambda folder, progress: _export(folder, progress, sparse=False),
    "export sparse": lambda folder, progress: _export(folder, progress, sparse=True),
    "import": lambda folder, progress: _import(folder, progress, sparse=False),
    "import sparse": lambda folder, progress: _import(folder, progress, sparse=True),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with ourdb.new(make(tmp_path / "db"), read_only=True) as db:
        db.export_data(tmp_path / "table False")
        db.export_sparse(tmp_path / "table True")
    return tmp_path / "db"


@pytest.mark.parametrize("name", WORKS)
def test_a_caller_is_told_more_and_more_up_to_all(folder: Path, name: str) -> None:
    told: Told = []
    WORKS[name](folder, lambda done, in_all: told.append((done, in_all)))
    assert told == sorted(told)
    assert len({in_all for _, in_all in told}) == 1
    assert len(told) > 2
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("at", ["first", "middle", "last"])
@pytest.mark.parametrize("name", WORKS)
def test_an_exception_of_the_callback_leaves_all_as_it_was(folder: Path, name: str, at: str) -> None:
    shutil.copytree(folder, other := folder.parent / "other")
    told: Told = []
    WORKS[name](other, lambda done, in_all: told.append((done, in_all)))
    shutil.rmtree(other)
    shutil.rmtree(folder.parent / "not", ignore_errors=True)
    before = files(folder.parent), sorted(folder.parent.rglob("*"))
    calls_left = {"first": 1, "middle": len(told) // 2, "last": len(told)}[at]

    def stop(_done: int, _in_all: int) -> None:
        nonlocal calls_left
        calls_left -= 1
        if calls_left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WORKS[name](folder, stop)
    assert (files(folder.parent), sorted(folder.parent.rglob("*"))) == before
    assert calls_left == 0  # and not called again


def test_a_handle_goes_on_after_a_compaction_that_the_callback_ended(folder: Path) -> None:
    def stop(_done: int, _in_all: int) -> None:
        raise KeyboardInterrupt

    with ourdb.new(folder) as db:
        with pytest.raises(KeyboardInterrupt):
            db.compact(progress=stop)
        assert db.get(db.set(data=b"more")) == b"more"
        db.compact()
        assert list(db.check()) == []


def test_a_repair_of_joined_databases_that_the_callback_ends_changes_neither(tmp_path: Path) -> None:
    """The second one's files are read before anything of the first is written."""
    with ourdb.new(tmp_path / "one") as one, ourdb.new(tmp_path / "two") as two:
        ourdb.joined(one, two)
        for db in (one, two):
            db.set_many([(None, b"x" * 90)] * 1000)
        one.sync()
        shutil.copytree(tmp_path, copy := tmp_path / "copy")
    before = files(copy)
    told: Told = []

    def stop(done: int, in_all: int) -> None:
        told.append((done, in_all))
        if done == in_all:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ourdb.repair(copy / "one", progress=stop)
    assert files(copy) == before
    assert told[-1][1] >= sum((copy / name / "0.db").stat().st_size for name in ("one", "two"))
    assert ourdb.repair(copy / "one").records == 1000


# On a terminal

_AT_ONCE = """
import sys
from ourdb import console
from ourdb.__main__ import main
console._QUIET_SECONDS = console._INTERVAL_SECONDS = 0.0
sys.exit(main(sys.argv[1:]))
"""
"""The program, with each step shown: else a test would need work that takes seconds."""


class Terminal:
    """A child on a pseudo-terminal, and all that it wrote."""

    def __init__(self, arguments: list[str], columns: int = 80) -> None:
        self.columns = columns
        self.shown = b""
        # In the child, before the program starts: it may look at once.
        size = struct.pack("HHHH", 24, columns, 0, 0)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execv(arguments[0], arguments)

    def read(self) -> bool:
        """Read what is there, or wait for it; return False at the end."""
        try:
            piece = os.read(self.fd, 4096)
        except OSError:  # how Linux says that the other side is closed
            piece = b""
        self.shown += piece
        return bool(piece)

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def text(self) -> str:
        return self.shown.decode()

    def screen(self) -> tuple[list[str], int]:
        """Return the rows as they are in the end, and the longest that one ever was."""
        rows, column, longest = [""], 0, 0
        for character in self.text:
            if character == "\n":
                rows.append("")
            elif character == "\r":
                column = 0
            else:
                assert character.isprintable()
                row = rows[-1].ljust(column)
                rows[-1] = row[:column] + character + row[column + 1 :]
                column += 1
                longest = max(longest, column)
        return [row.rstrip() for row in rows], longest


def on_terminal(*arguments: str, columns: int = 80) -> Terminal:
    return Terminal([sys.executable, "-c", _AT_ONCE, *arguments], columns)


def in_a_pipe(*arguments: str) -> tuple[int, list[str]]:
    """The program's status, and what it prints where no terminal is."""
    command = [sys.executable, "-c", _AT_ONCE, *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return result.returncode, result.stdout.split("\n")


@pytest.mark.parametrize("command", ["check", "compact", "backup", "repair", "export", "import"])
def test_a_line_shows_progress_and_is_erased(folder: Path, command: str) -> None:
    table = str(folder.parent / "table False")
    rest = {"backup": ["copy"], "export": ["out"], "import": [table]}.get(command, [])
    shutil.copytree(folder, other := folder.parent / "other")
    with contextlib.chdir(folder.parent):
        terminal = on_terminal(command, str(folder), *rest)
        assert terminal.end() == 0
        shutil.rmtree(folder.parent / "copy", ignore_errors=True)
        expected = in_a_pipe(command, str(other), *rest)
    percents = [int(one) for one in re.findall(rf"\r{command}  [\d.,]+ of [\d.]+ kB  (\d+)%", terminal.text)]
    assert percents == sorted(percents)
    assert len(percents) > 2
    assert percents[-1] == 100
    assert (0, terminal.screen()[0]) == expected


def test_dump_counts_records_where_its_lines_go_to_a_file(folder: Path) -> None:
    dumped = folder.parent / "dumped"
    script = f'exec "$@" > "{dumped}"'
    terminal = Terminal(["/bin/sh", "-c", script, "sh", sys.executable, "-c", _AT_ONCE, "dump", str(folder)])
    assert terminal.end() == 0
    assert b"\rdump  64 of 960 records  6%" in terminal.shown
    assert terminal.screen()[0] == [""]
    assert len(dumped.read_bytes().splitlines()) == 960
    listed = on_terminal("dump", str(folder))
    assert (listed.end(), b"%" in listed.shown, len(listed.screen()[0])) == (0, False, 961)


@pytest.mark.parametrize("columns", [1, 3, 7, 16, 30, 36, 40])
def test_a_narrow_terminal_does_not_wrap_the_line(folder: Path, columns: int) -> None:
    terminal = on_terminal("backup", str(folder), str(folder.parent / "copy"), columns=columns)
    assert terminal.end() == 0
    rows, longest = terminal.screen()
    assert rows == [""]
    assert longest < columns
    assert (b"%" in terminal.shown) == (columns >= 7)


def test_what_is_printed_meanwhile_and_an_error_come_on_a_line_of_their_own(folder: Path) -> None:
    with ourdb.new(folder, read_only=True) as db:
        positions = [db.lookup(record_id).position for record_id in (500, 900)]
    with open(folder / "0.db", "r+b") as file:
        for position in positions:
            file.seek(position + 20)
            file.write(b"!")
    for command in ("check", "compact"):
        terminal = on_terminal(command, str(folder))
        assert (terminal.end(), terminal.screen()[0]) == in_a_pipe(command, str(folder))
        assert "%" in terminal.text.partition(str(folder))[0]


def test_ctrl_c_erases_the_line_and_changes_nothing(tmp_path: Path) -> None:
    """The terminal takes a few KB of steps; until they are read, the program waits in the middle of its work."""
    folder = make(tmp_path / "db", 50_000)
    before = files(folder)
    terminal = on_terminal("compact", str(folder))
    while b"%" not in terminal.shown:
        assert terminal.read()
    os.write(terminal.fd, b"\x03")
    assert terminal.end() == 130
    assert terminal.screen()[0] == [""]
    assert files(folder) == before


def test_no_line_where_nobody_sees_it_or_for_what_is_quick(folder: Path) -> None:
    terminal = on_terminal("check", str(folder), "--json")
    assert (terminal.end(), b"%" in terminal.shown) == (0, False)
    assert json.loads(terminal.shown) == {"records": 960, "problems": []}
    command = [sys.executable, "-c", _AT_ONCE, "check", str(folder)]
    result = subprocess.run(command, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"960 records, no problem\n", b"")
    quick = Terminal([sys.executable, "-m", "ourdb", "check", str(folder)])
    assert (quick.end(), quick.shown) == (0, b"960 records, no problem\r\n")
