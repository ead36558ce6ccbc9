"""Running a text: it is parsed, patterns are expanded, each command is called, and errors become lines and a status."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Callable

from vfs_db.shell import commands  # noqa: F401 - importing them registers them
from vfs_db.shell.registry import COMMANDS
from vfs_db.shell.session import Session, UsageError
from vfs_db.shell.syntax import Command, Word, parse

__all__ = ["describe", "run"]

# The host's files, and patterns that are not paths.
_NO_GLOBS = frozenset({"put", "lls", "lcd", "find", "grep", "!", "echo"})


def run(session: Session, text: str) -> int:
    """Run the commands in *text* and return the status: that of the last, or of the first that failed."""
    try:
        commands = parse(text)
    except ValueError as error:
        session.report(f"vfs-shell: {error}", 2)
        return 2
    status = 0
    for command in commands:
        status = _run_one(session, command)
        if status and session.stops_at_failure:
            break
    return status


def _run_one(session: Session, command: Command) -> int:
    session.status = 0
    words = _expanded(session, command.words)
    name = words[0] if words else "cat"
    try:
        registered = COMMANDS.get(name)
        if registered is None:
            raise UsageError(_unknown(name))
        options = registered.parser().parse_args(words[1:])
        if command.output is None:
            status = registered.function(session, options)
            session.output.flush()
        else:
            status = _redirected(session, command, lambda: registered.function(session, options))
    except UsageError as error:
        session.report(str(error), 2)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        session.status = max(session.status, 130)
    except OSError as error:
        session.report(f"{name}: {describe(error)}")
    except (ValueError, LookupError, RecursionError) as error:
        session.report(f"{name}: {error}")
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "ourdb":
            raise
        session.report(f"{name}: {error}")
    else:
        session.status = max(session.status, status or 0)
    return session.status


def _redirected(session: Session, command: Command, function: Callable[[], int | None]) -> int | None:
    assert command.output is not None
    target = session.path(command.output.text)
    kept, kept_terminal = session.output, session.is_terminal
    session.output, session.is_terminal = io.BytesIO(), False
    try:
        status: int | None = function()
        data = session.output.getvalue()
    finally:
        session.output, session.is_terminal = kept, kept_terminal
    if not status and not session.status:
        with session.fs.open(target, "ab" if command.appends else "wb") as file:
            file.write(data)
    return status


def _expanded(session: Session, words: list[Word]) -> list[str]:
    result: list[str] = []
    for word in words:
        found: list[str] = []
        if word.pattern is not None and words[0].text not in _NO_GLOBS:
            found = sorted(session.fs.glob(session.path(word.pattern)))
        if found and not word.text.startswith("/"):
            prefix = session.folder.rstrip("/") + "/"
            found = [path.removeprefix(prefix) for path in found]
        result += [f"./{path}" if path.startswith("-") else path for path in found] or [word.text]
    return result


def describe(error: OSError) -> str:
    """Return what `coreutils` would say of *error*."""
    text = error.strerror or str(error)
    name = error.filename
    if name is None:
        return text
    return f"{os.fsdecode(name)}: {text}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"; did you mean {near[0]}?" if near else "; `help` lists them"
    return f"{name}: unknown command{hint}"
