"""`python -m ourdb`: every command as a process of its own, its output as text and as JSON, its exit status."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ourdb


def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "ourdb", *arguments], capture_output=True, check=False, input=data)


def good(*arguments: str, data: bytes = b"") -> bytes:
    result = run(*arguments, data=data)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


def json_of(*arguments: str, data: bytes = b"") -> Any:
    """The one JSON value that a command prints."""
    (line,) = good(*arguments, "--json", data=data).splitlines()
    return json.loads(line)


_MANY = """
import io, json, sys
from ourdb.__main__ import main
for line in sys.stdin:
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    try:
        status = main(json.loads(line))
    except SystemExit as error:
        status = error.code
    sys.stdout.flush()
    print(json.dumps([status, sys.stdout.buffer.getvalue().decode(), sys.stderr.getvalue()]), file=sys.__stdout__)
"""


def run_many(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Return status, output and errors of each command, all run in one child: starting Python takes most of the time."""
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    child = subprocess.run([sys.executable, "-c", _MANY], input=lines, capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(results) == len(commands)
    return [(status, output, errors) for status, output, errors in results]


@pytest.fixture
def path(tmp_path: Path) -> str:
    folder = tmp_path / "db"
    with ourdb.new(folder, 100, 100) as db:
        db.set(data=b"one")
        db.set(data="zwei ü\x1b".encode())
        db.set(id=1, data=b"one again")
        db.set(data=b"x")
        db.delete(3)
    return str(folder)


def files(folder: str) -> dict[str, bytes]:
    """All files but `lookup/.ourdb`, which notes who opened the folder last."""
    return {
        str(path): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != ".ourdb"
    }


def test_what_only_looks(path: str, tmp_path: Path) -> None:
    before = files(path)
    assert good("get", path, "1") == b"one again"
    assert json_of("get", path, "1") == {"id": 1, "size": 9, "hex": b"one again".hex()}
    assert b"one again" in good("history", path, "1")
    assert [entry["hex"] for entry in json_of("history", path, "1", "-n", "1")] == [b"one again".hex()]
    dump = good("dump", path)
    assert (dump.count(b"\n"), b"\x1b" in dump) == (2, False)
    lines = [json.loads(line) for line in good("dump", path, "--json").splitlines()]
    assert [(line["id"], bytes.fromhex(line["hex"])) for line in lines] == [
        (1, b"one again"),
        (2, "zwei ü\x1b".encode()),
    ]
    figures = json_of("stats", path)
    assert (figures["records"], figures["next_id"]) == (2, 4)
    assert all(name.encode() in good("stats", path) for name in figures)
    assert good("check", path) == b"2 records, no problem\n"
    assert json_of("check", path) == {"records": 2, "problems": []}
    assert json_of("backup", path, str(tmp_path / "copy")) == {"dest": str(tmp_path / "copy")}
    assert files(path) == before
    assert good("get", str(tmp_path / "copy"), "1") == b"one again"


def test_what_changes(path: str) -> None:
    assert json_of("set", path, "--data", "four") == {"id": 4, "size": 4}
    assert good("set", path, "new", data=b"\0five") == b"5\n"
    assert json_of("delete", path, "2") == {"id": 2}
    assert good("delete", path, "1") == b""
    sizes = json_of("compact", path)
    assert sizes["record_bytes_after"] < sizes["record_bytes_before"]
    with ourdb.new(path) as db:
        assert {record_id: db.get(record_id) for record_id in db} == {4: b"four", 5: b"\0five"}


@pytest.mark.parametrize("options", [[], ["--sparse"]], ids=["full", "sparse"])
def test_a_table_goes_out_and_comes_back(path: str, tmp_path: Path, options: list[str]) -> None:
    table = str(tmp_path / "table")
    assert json_of("export", path, table, *options) == {"dest": table}
    good("set", path, "1", "--data", "newer")
    good("set", path, "--data", "more")
    assert json_of("import", path, table, *options) == {"records": 2}
    assert (good("get", path, "1"), good("get", path, "2")) == (b"one again", "zwei ü\x1b".encode())
    good("delete", path, "2")
    refused = run("import", path, table, *options)
    assert (refused.returncode, b"deleted since" in refused.stderr) == (1, True)


def test_a_lost_table_is_rebuilt(path: str) -> None:
    shutil.rmtree(os.path.join(path, "lookup"))
    report = json_of("repair", path, "--record-nr-max", "100", "--record-size-max", "100")
    assert (report["records"], report["versions"], report["lost"], report["unreached"]) == (2, 3, [], 0)
    shutil.rmtree(os.path.join(path, "lookup"))
    text = good("repair", path, "--record-nr-max", "100", "--record-size-max", "100", "--key-value")
    assert b"3 versions are of no id that is known" in text
    shutil.rmtree(os.path.join(path, "lookup"))
    good("repair", path, "--record-nr-max", "100", "--record-size-max", "100")
    assert good("get", path, "1") == b"one again"


def test_repair_names_the_records_that_are_gone(path: str, tmp_path: Path) -> None:
    with ourdb.new(path) as db:
        locations = {record_id: db.lookup(record_id) for record_id in db}
    copy = str(tmp_path / "copy")
    with open(os.path.join(path, "0.db"), "r+b") as file:
        file.seek(locations[2].position + 13)
        file.write(b"!")
    shutil.copytree(path, copy)
    report = json_of("repair", path)
    assert (report["records"], report["lost_ids"]) == (1, [2])
    text = good("repair", copy).decode().splitlines()
    assert [line for line in text if line.startswith("id ")] == ["id 2: its record is not whole any more, and gone"]
    with ourdb.new(path) as db:
        assert {record_id: db.get(record_id) for record_id in db} == {1: b"one again"}


FAILING = [
    (["get", "{path}", "3"], "Record not found: id 3"),
    (["get", "{path}", "100"], "Index out of bounds"),
    (["get", "{path}", "-1"], "Index out of bounds"),
    (["get", "{nowhere}", "1"], "nowhere"),
    (["history", "{path}", "3"], "Record not found"),
    (["history", "{path}", "1", "-n", "-1"], "depth"),
    (["set", "{path}", "3", "--data", "x"], "cannot set id for insertions"),
    (["set", "{path}", "1", "--data", "x" * 65536], "65536 bytes"),
    (["set", "{nowhere}", "--data", "x"], "nowhere"),
    (["delete", "{path}", "3"], "Record not found"),
    (["delete", "{nowhere}", "1"], "nowhere"),
    (["stats", "{nowhere}"], "nowhere"),
    (["stats", "{empty}"], "no database"),
    (["dump", "{nowhere}"], "nowhere"),
    (["check", "{nowhere}"], "nowhere"),
    (["repair", "{nowhere}"], "nowhere"),
    (["repair", "{empty}"], "empty"),
    (["repair", "{path}", "--keysize", "3"], "keysize=2, but keysize=3 was given"),
    (["repair", "{path}", "--record-nr-max", "1000"], "record_nr_max=100, but record_nr_max=1000 was given"),
    (["repair", "{path}", "--key-value"], "incremental_mode=True, but incremental_mode=False was given"),
    (["compact", "{nowhere}"], "nowhere"),
    (["compact", "{empty}"], "empty"),
    (["backup", "{path}", "{path}"], "{path}"),
    (["backup", "{path}", "{path}/lookup/copy"], "give a folder outside"),
    (["set", "{empty}", "--data", "x"], "empty"),
    (["backup", "{nowhere}", "{copy}"], "nowhere"),
    (["export", "{nowhere}", "{copy}"], "nowhere"),
    (["import", "{path}", "{empty}"], "empty"),
    (["import", "{nowhere}", "{empty}"], "nowhere"),
]
WRONG_USAGE: list[list[str]] = [
    [],
    ["nonsense", "{path}"],
    ["get", "{path}"],
    ["get", "{path}", "one"],
    ["get", "{path}", "1", "2"],
    ["set", "{path}", "one", "--data", "x"],
    ["history", "{path}", "1", "-n", "many"],
    ["export", "{path}"],
    ["export", "{path}", "{path}/there", "--for-original"],
    ["backup", "{path}"],
    ["import", "{path}"],
    ["import", "{path}", ""],
    ["backup", "{path}", ""],
    ["stats", ""],
    ["check", "{path}", "--nonsense"],
    ["repair", "{path}", "--keysize", "wide"],
]


def test_what_fails_says_why_with_status_1_and_changes_nothing(path: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = files(str(tmp_path))
    places = {name: str(tmp_path / name) for name in ("nowhere", "empty", "copy")} | {"path": path}
    results = run_many([[argument.format(**places) for argument in arguments] for arguments, _ in FAILING])
    for (arguments, says), (status, output, errors) in zip(FAILING, results, strict=True):
        assert (status, output) == (1, ""), arguments
        assert errors.startswith("ourdb: "), arguments
        assert errors.count("\n") == 1, arguments
        assert says.format(**places) in errors, (arguments, errors)
    assert files(str(tmp_path)) == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"db", "empty"}
    assert not os.listdir(tmp_path / "empty")


def _socket(name: str) -> None:
    with contextlib.chdir(os.path.dirname(name)), socket.socket(socket.AF_UNIX) as one:  # its path has to be short
        one.bind(os.path.basename(name))


@pytest.mark.parametrize("make", [os.mkfifo, _socket, os.mkdir, lambda name: os.symlink("/etc/passwd", name)])
def test_what_is_no_file_in_place_of_one_is_named(path: str, make: Callable[[str], None]) -> None:
    """Nothing is read or written there, and nobody waits for it."""
    name = os.path.join(path, "0.db")
    os.unlink(name)
    make(name)
    commands = [[command, path] for command in ("stats", "dump", "check", "repair", "compact")]
    for status, output, errors in run_many([*commands, ["set", path, "--data", "x"], ["delete", path, "1"]]):
        found = "expected a regular file, found a link, folder, pipe or device; move it away"
        assert (status, output, errors) == (1, "", f"ourdb: {name}: {found}\n")


@pytest.mark.parametrize("command", ["set", "repair", "compact", "backup", "export", "export for the original"])
def test_a_file_that_may_not_grow_is_named_and_nothing_is_left_behind(tmp_path: Path, command: str) -> None:
    folder, dest = tmp_path / "db", str(tmp_path / "not" / "there")
    with ourdb.new(folder, 1000, 65535) as db:
        db.set_many([(None, b"x" * 100)] * 100)
    before = files(str(tmp_path)), sorted(tmp_path.rglob("*"))
    rest = {
        "set": ["--data", "y" * 1000],
        "backup": [dest],
        "export": [dest],
        "export for the original": ["--for-original"],
    }
    arguments = [sys.executable, "-B", "-m", "ourdb", command.partition(" ")[0], str(folder), *rest.get(command, [])]
    for limit in (1, 900):  # -B: what Python compiles would be cut, too
        script = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])"
        result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"ourdb: {tmp_path}{os.sep}")
        assert result.stderr.endswith(f": {os.strerror(errno.EFBIG)}\n")
        if command == "set":
            with ourdb.new(folder):
                pass  # takes away a journal that could not be written whole
        assert (files(str(tmp_path)), sorted(tmp_path.rglob("*"))) == before


def test_wrong_usage_is_status_2_and_changes_nothing(path: str) -> None:
    before = files(path)
    results = run_many([[argument.format(path=path) for argument in arguments] for arguments in WRONG_USAGE])
    for arguments, (status, output, errors) in zip(WRONG_USAGE, results, strict=True):
        assert (status, output) == (2, ""), arguments
        assert "usage: ourdb" in errors, arguments
    assert files(path) == before
    assert run("nonsense", path).returncode == 2


def test_damage_is_status_1_and_what_is_whole_is_listed(path: str) -> None:
    with ourdb.new(path, read_only=True) as db:
        position = db.lookup(1).position
    with open(os.path.join(path, "0.db"), "r+b") as file:
        file.seek(position + 12)
        file.write(b"!")
    result = run("check", path, "--json")
    found = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, b"")
    first = found["problems"][0]
    assert (first["id"], first["position"], os.path.basename(first["path"])) == (1, position, "0.db")
    damaged = run("get", path, "1")
    assert (damaged.returncode, damaged.stdout, b"CRC" in damaged.stderr) == (1, b"", True)
    dumped = run("dump", path, "--json")
    assert dumped.returncode == 1
    assert b"CRC" in dumped.stderr
    assert [json.loads(line)["id"] for line in dumped.stdout.splitlines()] == [2]


PRINTING = [
    ["stats", "{path}"],
    ["get", "{path}", "1"],
    ["set", "{path}", "1", "--data", "x"],
    ["delete", "{path}", "2", "--json"],
    ["history", "{path}", "1"],
    ["dump", "{path}"],
    ["check", "{path}"],
    ["repair", "{path}"],
    ["compact", "{path}"],
    ["backup", "{path}", "{path}-copy", "--json"],
    ["export", "{path}", "{path}-table", "--json"],
    ["import", "{path}", "{path}-table", "--json"],
    ["--help"],
]
_STREAMS = """
cd "$1"; shift
case $1 in
    closed) exec >&- ;;
    full) exec > /dev/full ;;
esac
shift
exec "$@"
"""


def with_streams(which: str, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ourdb", *arguments]
    here = str(Path(ourdb.__file__).parents[1])
    return subprocess.run(
        ["sh", "-c", _STREAMS, "sh", here, which, *command], capture_output=True, check=False, **options
    )


@pytest.mark.parametrize("which", ["closed", "full"])
def test_output_that_nothing_takes_is_one_line_and_status_1(path: str, which: str) -> None:
    if which == "full" and not os.path.exists("/dev/full"):
        pytest.skip("a system without /dev/full")
    why = {"closed": os.strerror(errno.EBADF), "full": os.strerror(errno.ENOSPC)}[which]
    for arguments in PRINTING if which == "closed" else PRINTING[:1] + PRINTING[-1:]:
        result = with_streams(which, [argument.format(path=path) for argument in arguments])
        expected = (1, f"ourdb: standard output: {why}\n", "")
        assert (result.returncode, result.stderr.decode(), result.stdout.decode()) == expected, arguments
    with ourdb.new(path) as db:
        assert list(db.check()) == []


def test_what_prints_nothing_needs_no_output(path: str) -> None:
    result = with_streams("closed", ["delete", path, "1"])
    assert (result.returncode, result.stderr) == (0, b"")


def test_closed_streams_do_not_become_files_of_the_database(path: str) -> None:
    """A message to standard error would be written into one of them."""
    script = 'exec <&- >&- 2>&-; exec "$@"'
    result = subprocess.run(["sh", "-c", script, "sh", sys.executable, "-m", "ourdb", "set", path, "1"], check=False)
    assert result.returncode == 1  # there is no standard input to read data from
    result = subprocess.run(["sh", "-c", script, "sh", sys.executable, "-m", "ourdb", "delete", path, "9"], check=False)
    assert result.returncode == 1
    with ourdb.new(path) as db:
        assert (list(db.check()), db.get(1)) == ([], b"one again")


def test_a_reader_that_goes_away_ends_the_command_without_a_word(path: str) -> None:
    with ourdb.new(path) as db:
        db.set(id=1, data=b"x" * 60_000)
    for arguments in (["dump", path, "--json"], ["get", path, "1"], ["history", path, "1", "--json"], ["stats", path]):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "ourdb", *arguments]
        result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (result.returncode, result.stderr) == (1, b""), arguments


def test_ctrl_c_ends_a_command_without_a_traceback(path: str) -> None:
    command = [sys.executable, "-m", "ourdb", "set", path, "1"]
    pipe = subprocess.PIPE
    # Tests may run where the shell lets its background jobs ignore the signal.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    finally:
        signal.signal(signal.SIGINT, before)
    with child:
        assert child.stdin is not None
        child.stdin.write(b"x" * (1 << 17))  # more than a pipe holds: it is reading by now
        child.stdin.flush()
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
    assert (child.returncode, output, errors) == (130, b"", b"")
    assert good("get", path, "1") == b"one again"
