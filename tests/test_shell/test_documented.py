"""docs/shell.md: its example does what it shows, and each command has the JSON value that its table promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "shell.md"


def run(path: Path, commands: str, *flags: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vfs_db.shell", *flags, "-c", commands, str(path)]
    return subprocess.run(command, capture_output=True, check=False, input=stdin)


def test_the_example_does_what_it_shows(tmp_path: Path) -> None:
    example = _DOCUMENT.read_text("utf-8").split("```shell\n")[1].partition("```")[0]
    lines = example.splitlines()
    commands = [line.removeprefix("vfs> ") for line in lines if line.startswith("vfs> ")]
    shown = [line for line in lines if not line.startswith("vfs> ")]
    result = run(tmp_path / "t", "\n".join(commands))
    assert (result.stdout.decode().splitlines(), result.stderr, result.returncode) == (shown, b"", 0)


def test_each_command_prints_one_json_value(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("from the host")
    expected = [
        ("mkdir -p a b", ["/a", "/b"]), ("touch a/f", ["/a/f"]), ("write a/f text", ["/a/f"]), ("append a/f more", ["/a/f"]),
        ("truncate -s 8 a/f", ["/a/f"]), ("chmod 600 a/f", ["/a/f"]), ("chown me a/f", ["/a/f"]),
    ]  # fmt: skip
    others = [
        "ls", "cd a", "pwd", "cat f", "head f", "tail f", "hexdump f", "wc f", "stat f /b", "tree", "find", "grep e f",
        "grep -r zzz", "du", "df", "echo hi", "echo hi > g", "cp f h", "mv h i", "ln -s i l", "readlink l", "rm i l", "rmdir /b",
        f"put '{tmp_path / 'host'}' p", f"get p '{tmp_path / 'out'}'", "get p -", "lcd .", "lpwd", "lls", "!true", "!exit 3", "history f",
        "check", "repair", "compact", f"backup '{tmp_path / 'copy'}'", "begin", "rollback", "begin", "commit", "stats", "set +e",
        "help", "help ls", "cat nix", "nope", "exit",
    ]  # fmt: skip
    lines = ["set +e", *(command for command, _ in expected), *others]
    result = run(tmp_path / "t", "\n".join(lines), "--json")
    values = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(values) == len(lines), result
    for (command, paths), value in zip(expected, values[1:], strict=False):
        assert [entry["path"] for entry in value] == paths, command
    by_command = dict(zip(lines, values, strict=True))
    assert by_command["cat f"] == {"output": "textmore"}
    assert by_command["echo hi > g"] == {"path": "/a/g", "written": 3}
    assert by_command["grep e f"] == [{"path": "/a/f", "line": 1, "text": "textmore", "binary": False}]
    assert by_command["cat nix"] == {"error": "cat: /a/nix: No such file or directory", "status": 1}
    assert by_command["nope"]["status"] == 2
    assert by_command["!exit 3"] == {"output": "", "status": 1}
    assert [one["path"] for one in by_command["du"]] == ["/a"]
    assert {one["path"] for one in by_command["history f"]} == {"/a/f"}


def test_the_examples_of_the_help_do_what_they_show(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a photo")
    names = json.loads(run(tmp_path / "t", "help", "--json").stdout)
    helps = [
        json.loads(line)["help"]
        for line in run(tmp_path / "t", "\n".join(f"help {name}" for name in names), "--json").stdout.splitlines()
    ]
    lines = [f"lcd '{tmp_path / 'photos'}'", "lcd .."]
    for number, text in enumerate(helps):
        _, _, examples = text.partition("\nexamples:\n")
        lines += [
            f"mkdir -p /{number}/docs/old", f"cd /{number}", "write docs/a.txt 'the sum'", "write notes.txt 42", "write b.txt b",
            *(line.strip() for line in examples.splitlines()),
        ]  # fmt: skip
    result = run(tmp_path / "t", "\n".join(lines))
    assert (result.stderr, result.returncode) == (b"", 0)
    assert len(lines) > 5 * len(names) + 30
    assert (tmp_path / "docs" / "a.txt").read_text() == "the sum"


def test_a_script_that_is_not_whole_is_one_value(tmp_path: Path) -> None:
    result = run(tmp_path / "t", "pwd\necho 'one", "--json")
    assert (json.loads(result.stdout), result.returncode) == ({"error": "vfs-shell: no closing '", "status": 2}, 2)


def test_deep_trees_are_shown(tmp_path: Path) -> None:
    deep = "/".join("d" * 1000)
    result = run(
        tmp_path / "t", f"mkdir -p {deep}; echo x > {deep}/f; ls -R; tree; du; find; grep -r x; cp -r d e; rm -rf d; ls"
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.endswith(b"\ne\n")
