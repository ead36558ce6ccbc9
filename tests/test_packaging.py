"""What gets installed: both packages typed, one dependency, two programs."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("package", ["ourdb", "vfs_db"])
def test_types_are_published(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_attrs_is_the_only_dependency() -> None:
    assert [requirement.partition(">")[0] for requirement in PROJECT["dependencies"]] == ["attrs"]


@pytest.mark.parametrize("name", ["ourdb", "vfs-shell"])
def test_each_program_exists_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, function = PROJECT["scripts"][name].partition(":")
    main: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    try:
        status: object = main(["--help"])
    except SystemExit as ended:
        status = ended.code
    assert status == 0
    assert "usage" in capsys.readouterr().out.lower()


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License\n                           Version 2.0" in text
    assert "9. Accepting Warranty or Additional Liability." in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_nothing_but_the_agreed_lies_at_the_top() -> None:
    expected = {
        "pyproject.toml", "ourdb", "vfs_db", "tests", "bench", "examples", "LICENSE", "README.md", "CHANGELOG.md",
        "CONTRIBUTING.md", "docs",
    }  # fmt: skip
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert expected <= found
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()}
    assert found - expected <= ignored
