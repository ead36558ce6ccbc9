"""Where each command is, in the order in which `help` lists them; its module is imported when it is first called.

A new command needs its name here. Importing all modules takes as long as the rest of the shell's start.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from vfs_db.shell.registry import COMMANDS, Registered

__all__ = ["NAMES", "all_commands", "find"]

_MODULES: Final = {
    "ls": "ls",
    "places": "cd pwd tree stat readlink",
    "content": "cat head tail wc hexdump",
    "searching": "find grep du df",
    "changing": "mkdir rmdir touch write append echo truncate chmod chown",
    "moving": "cp mv rm ln",
    "host": "put get lcd lpwd lls !",
    "store": "history check repair compact backup begin commit rollback stats",
    "the_shell": "help exit set",
}
NAMES: Final = {name: module for module, names in _MODULES.items() for name in names.split()}
"""Command -> module."""


def find(name: str) -> Registered | None:
    """Return the command called *name*."""
    if name not in NAMES:
        return None
    import_module(f"{__name__}.{NAMES[name]}")
    return COMMANDS[name]


def all_commands() -> dict[str, Registered]:
    """Return all commands by name."""
    found = {name: find(name) for name in NAMES}
    return {name: one for name, one in found.items() if one is not None}
