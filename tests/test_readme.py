"""README's examples run as written, its commands are those that CI runs, and what it names exists."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_examples_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, one after the other."""
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    test = doctest.DocTestParser().get_doctest(README.replace("```", ""), {}, "README.md", "README.md", 0)
    output: list[str] = []
    runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)
    assert len(test.examples) > 15
    assert {"notes", "t"} <= {path.name for path in tmp_path.iterdir()}


def commands() -> list[str]:
    return re.findall(r"```sh\n(.+?)\n```", README)


def test_there_are_two_commands_and_ci_runs_the_second_as_it_is_written() -> None:
    _, test_command = commands()
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert f"\n    {test_command}\n" in ci


def test_the_first_command_ends_with_a_program_that_packs_a_tree(tmp_path: Path) -> None:
    """Here on a small tree; without arguments it takes the standard library."""
    program = commands()[0].split()[-1]
    tree = tmp_path / "tree"
    (tree / "folder" / "empty").mkdir(parents=True)
    (tree / "folder" / "file").write_bytes(b"x" * 100_000)
    (tree / "link").symlink_to("folder/file")
    found = subprocess.run(
        [sys.executable, ROOT / program, tree, tmp_path / "image"], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "diff -r: no difference" in found.stdout
    assert "2 files, 2 folders, 100,011 bytes" in found.stdout
    assert (tmp_path / "image" / "metadata" / "0.db").is_file()


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"\b(?:docs|ourdb|vfs_db|examples|bench)/[\w./]+\.(?:md|py)", README)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_it_says_what_is_planned_and_what_works() -> None:
    part = README.partition("## What works")[2].partition("\n## ")[0]
    assert "works |" in part
    assert "planned" in part


def test_it_ends_with_the_order_in_which_to_read_the_source() -> None:
    last = README.rpartition("\n## ")[2]
    assert last.startswith("Reading the source")
    named = re.findall(r"`((?:ourdb|vfs_db)/\w+\.py)`", last)
    assert len(named) > 15
    assert len(set(named)) == len(named)
