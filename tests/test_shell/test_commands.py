"""Commands are found by name without importing the others."""

from __future__ import annotations

from importlib import import_module

from vfs_db.shell.commands import NAMES, all_commands, find
from vfs_db.shell.registry import COMMANDS


def test_every_command_is_listed_under_the_module_that_has_it() -> None:
    for module in set(NAMES.values()):
        import_module(f"vfs_db.shell.commands.{module}")
    assert {name: one.function.__module__.rpartition(".")[2] for name, one in COMMANDS.items()} == NAMES
    assert list(all_commands()) == list(NAMES)


def test_unknown_command_is_none() -> None:
    assert find("nonsense") is None
