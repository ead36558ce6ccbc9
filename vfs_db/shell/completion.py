"""Line editing at the prompt: history over runs, completion of commands, options and paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from vfs_db.entries import Directory
from vfs_db.shell.registry import COMMANDS
from vfs_db.shell.session import Session

__all__ = ["candidates", "set_up_line_editing"]


def set_up_line_editing(session: Session, history_max: int) -> Callable[[], None]:
    """Let readline complete, and load the history of earlier runs; returns what saves it. Without readline: nothing."""
    try:
        import readline
    except ImportError:
        return lambda: None
    path = os.path.join(os.path.expanduser("~"), ".vfs_shell_history")
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(history_max)
    readline.set_completer_delims(" \t\n;>")
    readline.parse_and_bind("tab: complete")
    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            found[:] = candidates(session, readline.get_line_buffer()[: readline.get_begidx()], text)
        return found[state] if state < len(found) else None

    readline.set_completer(complete)

    def save() -> None:
        with suppress(OSError):
            readline.write_history_file(path)

    return save


def candidates(session: Session, before: str, text: str) -> list[str]:
    """Return what *text* may become, standing behind *before* on the line."""
    command = before.rpartition(";")[2].split()
    if not command:
        return [f"{name} " for name in sorted(COMMANDS) if name.startswith(text)]
    if text.startswith("-") and command[0] in COMMANDS:
        options = [option for action in COMMANDS[command[0]].parser()._actions for option in action.option_strings]  # noqa: SLF001
        return [f"{option} " for option in sorted(options) if option.startswith(text)]
    return _paths(session, text)


def _paths(session: Session, text: str) -> list[str]:
    plain = text.replace("\\", "").strip("'\"")
    folder, _, start = plain.rpartition("/")
    base = folder + "/" if "/" in plain else ""
    try:
        entries = session.fs.dir_list(session.path(base) if base else session.folder)
    except OSError:
        return []
    found = []
    for entry in entries:
        name = entry.get_metadata().name
        if name.startswith(start) and (start or not name.startswith(".")):
            ending = "/" if isinstance(entry, Directory) else " "
            found.append((base + name).replace(" ", "\\ ") + ending)
    return sorted(found)
