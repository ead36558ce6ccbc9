"""Running a text: it is parsed, patterns are expanded, each command is called, and errors become lines and a status."""

from __future__ import annotations

import errno
import os
from contextlib import closing

from vfs_db.shell.commands import NAMES, find
from vfs_db.shell.output import Spool
from vfs_db.shell.registry import HelpWanted, Patterns, Registered
from vfs_db.shell.session import Leave, Session, UsageError, describe
from vfs_db.shell.syntax import GLOB, Command, Incomplete, Word, parse

__all__ = ["run"]

_INTERRUPTED = 130


def run(session: Session, text: str, *, may_go_on: bool = False) -> int:
    """Run the commands in *text* and return the status: that of the last, or of the first that failed.

    Raises syntax.Incomplete where a quote is not closed and the text *may go on*.
    """
    status = 0
    try:
        parsed = parse(text)
    except UsageError as error:
        if may_go_on and isinstance(error, Incomplete):
            raise
        session.start_command()
        session.report(f"vfs-shell: {error}", 2)
        session.end_command()
        return 2
    for command in parsed:
        status = _run_one(session, command)
        if status and session.stops_at_failure:
            break
    return status


def _run_one(session: Session, command: Command) -> int:
    session.start_command()
    name = command.words[0].text if command.words else "vfs-shell"
    is_interrupted = False
    try:
        status = _call(session, name, command)
        session.status = max(session.status, status or 0)
        session.flush()
    except UsageError as error:
        session.report(str(error), 2)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        is_interrupted = True
        session.report("", _INTERRUPTED)
    except OSError as error:
        session.report(f"{name}: {describe(error)}")
    except RecursionError:
        session.report(f"{name}: too deeply nested")
    except (ValueError, LookupError, OverflowError) as error:
        session.report(f"{name}: {error}")
    except MemoryError:
        session.report(f"{name}: {os.strerror(errno.ENOMEM)}")
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "ourdb":
            raise
        session.report(f"{name}: {error}")
    session.end_command()
    if is_interrupted and not session.is_interactive:
        raise Leave(_INTERRUPTED)
    return session.status


def _call(session: Session, name: str, command: Command) -> int | None:
    if command.output is None:
        return _function(session, name, command.words)
    named = _one_match(session, command.output)
    target = session.path(named)
    _check_target(session, target, is_folder=named.endswith("/"))
    asks = not (command.appends or command.replaces) and session.fs.exists(target)
    if asks and not session.confirm(f"replace '{named}'?", can_be_undone=True):
        return 0
    kept = session.output, session.is_terminal, session.has_colors, session.as_json
    with closing(Spool()) as spool:
        session.output, session.is_terminal, session.has_colors, session.as_json = spool, False, False, False
        try:
            status = _function(session, name, command.words) if command.words else 0
        finally:
            session.output, session.is_terminal, session.has_colors, session.as_json = kept
        if not status and not session.status:
            _keep(session, target, spool, appends=command.appends)
    return status


def _one_match(session: Session, word: Word) -> str:
    """Return the only name that *word* matches, or, where there is none, its text. Raises UsageError for several."""
    found = _matches(session, word)
    if len(found) > 1:
        raise UsageError(f"{word.text}: ambiguous redirect")
    return found[0] if found else word.text


def _check_target(session: Session, target: str, *, is_folder: bool) -> None:
    """Raise what opening *target* would, before the command has done anything."""
    if session.fs.is_dir(target) or is_folder:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not session.fs.is_dir(target.rpartition("/")[0] or "/"):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), target)


def _keep(session: Session, target: str, spool: Spool, *, appends: bool) -> None:
    """Make the spooled output the content of *target*, or its end, in one commit."""
    size = 0
    with session.fs.transaction(), session.fs.open(target, "ab" if appends else "wb") as file:
        for piece in spool.pieces():
            file.write(piece)
            size += len(piece)
    if session.as_json:
        session.value({"path": target, "written": size})


def _function(session: Session, name: str, words: list[Word]) -> int | None:
    registered = find(name)
    if registered is None:
        raise UsageError(_unknown(name))
    operands = _expanded(session, registered, words[1:])
    try:
        options = registered.parser().parse(registered.rewrite(operands))
    except HelpWanted:
        session.print(registered.parser().format_help().rstrip())
        return 0
    return registered.function(session, options)


def _expanded(session: Session, registered: Registered, words: list[Word]) -> list[str]:
    result: list[str] = []
    patterns = registered.patterns
    for word in words:
        if patterns is Patterns.first and word.text.startswith("-"):
            patterns = Patterns.nothing
        found: list[str] = []
        if word.pattern is not None and patterns is Patterns.host:
            from glob import glob

            found = sorted(glob(os.path.expanduser(word.pattern)))
        elif word.pattern is not None and patterns is not Patterns.nothing:
            found = _matches(session, word)
        # A name that begins with a dash is no option.
        result += [f"./{path}" if path.startswith("-") else path for path in found] or [word.text]
    return result


def _matches(session: Session, word: Word) -> list[str]:
    """Return the paths that the pattern of *word* matches, as it began them."""
    if word.pattern is None:
        return []
    names = word.pattern.split("/")
    first = next(at for at, name in enumerate(names) if not GLOB.isdisjoint(name))
    lead = "/".join(word.text.split("/")[:first])  # what is before the first pattern stays as it is
    base = session.path(lead or ("/" if first else session.folder)).rstrip("/")
    is_folder = "/" if word.pattern.endswith("/") else ""
    found = sorted(session.fs.glob(session.path(word.pattern) + is_folder))
    return [lead.rstrip("/") + path[len(base) :] if first else path[len(base) + 1 :] for path in found]


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, NAMES, 1)
    hint = f"; did you mean {near[0]}?" if near else "; `help` lists them"
    return f"{name or repr('')}: unknown command{hint}"
