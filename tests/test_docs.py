"""Every code block of README and docs runs as it is written, one after the other, in an empty folder per page.

Python blocks are doctests (lines that begin with >>>) or programs; shell blocks are lines that end with status 0. Programs
of the packages are found as after an installation. Blocks marked `text` or `arrows` are no code; `shell` is a
session, which a test of the shell runs.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_pages_link_to_what_is_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
