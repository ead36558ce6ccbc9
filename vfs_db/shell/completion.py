"""Line editing at the prompt: history over runs, completion of commands, options and paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from vfs_db.entries import Directory, Symlink
from vfs_db.shell.commands import NAMES, find
from vfs_db.shell.registry import Patterns
from vfs_db.shell.session import Session, escaped
from vfs_db.shell.syntax import last_word

__all__ = ["candidates", "completed", "set_up_line_editing"]

_QUOTED: Final = frozenset(" \t\r\n;><|&*?[]\\'\"#!")


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
    # The completer gets the whole line: only the shell's own grammar knows where a word begins.
    readline.set_completer_delims("")
    is_libedit = "libedit" in (readline.__doc__ or "")  # as macOS has it
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            try:
                found[:] = completed(session, text)
            except (OSError, ValueError):
                found.clear()
        return found[state] if state < len(found) else None

    readline.set_completer(complete)

    def show(_text: str, matches: Sequence[str], _longest: int) -> None:
        from vfs_db.shell.listing import columns

        names = [_shown_name(match) for match in matches]
        print()
        for row in columns(names, session.width):
            print("".join(name + " " * room for name, room in row))
        print(session.prompt + readline.get_line_buffer(), end="", flush=True)

    readline.set_completion_display_matches_hook(show)

    def save() -> None:
        with suppress(OSError):
            readline.write_history_file(path)

    return save


def _shown_name(line: str) -> str:
    """Return the last part of the last word of *line*, for a list of what it may become."""
    word = last_word(line.rstrip())[1]
    return escaped(word.rstrip("/").rpartition("/")[2] + ("/" if word.endswith("/") else "")) or "/"


def completed(session: Session, line: str) -> list[str]:
    """Return what *line* may become: its last word completed, and quoted as it was begun."""
    start, word, before = last_word(line)
    quote = line[start : start + 1]
    return [line[:start] + _as_typed(one, quote, is_whole) for one, is_whole in candidates(session, before, word)]


def _as_typed(word: str, quote: str, is_whole: bool) -> str:
    if quote in ("'", '"') and quote not in word and "\\" not in word:
        return f"{quote}{word}{f'{quote} ' if is_whole else ''}"
    if "\n" in word:  # a backslash before it would take it away
        return "'" + word.replace("'", "'\\''") + ("' " if is_whole else "")
    escaped_word = "".join("\\" + one if one in _QUOTED else one for one in word)
    return escaped_word + (" " if is_whole else "")


def candidates(session: Session, before: list[str], word: str) -> list[tuple[str, bool]]:
    """Return (what *word* may become, whether it ends there), standing behind the words *before*."""
    if not before or before[0] == "help":
        return [(name, True) for name in sorted(NAMES) if name.startswith(word)]
    registered = find(before[0])
    if word.startswith("-") and registered is not None:
        options = [option for action in registered.parser()._actions for option in action.option_strings]  # noqa: SLF001
        return [(option, True) for option in sorted(options) if option.startswith(word)]
    operands = [one for one in before[1:] if not one.startswith("-")]
    is_on_host = before[0].startswith("!") or (registered is not None and registered.patterns is Patterns.host)
    if is_on_host and not (before[0] == "put" and operands):
        return _host_paths(word)
    found = _paths(session, word)
    # What put reads may be several; where get writes to is the last.
    return found + _host_paths(word) if before[0] in ("put", "get") and operands else found


def _paths(session: Session, word: str) -> list[tuple[str, bool]]:
    folder, slash, start = word.rpartition("/")
    base = folder + slash
    directory = session.fs.get_followed(session.path(base or "."))
    if not isinstance(directory, Directory):
        return []
    found = []
    for entry in session.fs.each_by_name(directory):
        name = entry.metadata.name
        if name.startswith(start) and (start or not name.startswith(".")):
            is_folder = isinstance(entry, Directory) or (
                isinstance(entry, Symlink) and session.fs.is_dir(session.path(base + name))
            )
            found.append((base + name + ("/" if is_folder else ""), not is_folder))
    return found


def _host_paths(word: str) -> list[tuple[str, bool]]:
    folder, slash, start = word.rpartition("/")
    base = folder + slash
    found = []
    with suppress(OSError):
        there = os.path.expanduser(base)
        for name in sorted(os.listdir(there or ".")):
            if name.startswith(start) and (start or not name.startswith(".")):
                is_folder = os.path.isdir(there + name)
                found.append((base + name + ("/" if is_folder else ""), not is_folder))
    return found
