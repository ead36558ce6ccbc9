"""Commands are found by name without importing the others."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from vfs_db.shell.commands import NAMES, all_commands, find
from vfs_db.shell.registry import COMMANDS


def test_every_command_is_listed_under_the_module_that_has_it() -> None:
    for module in set(NAMES.values()):
        import_module(f"vfs_db.shell.commands.{module}")
    assert {name: one.function.__module__.rpartition(".")[2] for name, one in COMMANDS.items()} == NAMES
    assert list(all_commands()) == list(NAMES)


def test_unknown_command_is_none() -> None:
    assert find("nonsense") is None


def test_the_document_has_each_option() -> None:
    """A command's short options, and those that have no short name."""
    table = (
        (Path(__file__).parents[2] / "docs" / "shell.md")
        .read_text("utf-8")
        .partition("|---|---|")[2]
        .partition("\n\n")[0]
    )
    documented: dict[str, set[str]] = {}
    for name, rest in re.findall(r"`([a-z]+|!)([^`]*)`", table):
        for word in re.findall(r"-[-\w]+", rest):
            is_whole = word in _options(name)
            documented.setdefault(name, set()).update({word} if is_whole else {f"-{letter}" for letter in word[1:]})
    assert documented.pop("echo") == {"-n"}  # is no option of argparse's, as it ends where the text begins
    assert documented == {name: _options(name) for name in NAMES if _options(name)}


def _options(name: str) -> set[str]:
    found = find(name)
    assert found is not None
    options = set[str]()
    for action in found.parser()._actions:
        options |= {one for one in action.option_strings if len(one) == 2} or set(action.option_strings)
    return options - {"--help"}
