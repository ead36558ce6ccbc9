"""The program around the session: its command line, the prompt, line editing, scripts."""

from __future__ import annotations

import _thread
import argparse
import errno
import io
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from vfs_db.shell.registry import Formatter
from vfs_db.shell.session import WriteError

if TYPE_CHECKING:
    from vfs_db.shell.session import Session
    from vfs_db.vfs import DatabaseVFS

__all__ = ["run"]

_HISTORY_MAX: Final = 2000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vfs-shell",
        description="Look around in a filesystem inside a database. Without -c and SCRIPT, commands are read from the "
        "terminal, or from standard input.",
        formatter_class=Formatter,
    )
    parser.add_argument("-c", dest="commands", metavar="COMMANDS", help="run these, separated by ; or new lines")
    parser.add_argument("-r", "--read-only", action="store_true", help="change nothing; works beside a writer too")
    parser.add_argument("--json", action="store_true", help="print one JSON value per command")
    parser.add_argument("path", metavar="PATH", help="the filesystem's folder; made if it is missing, except with -r")
    parser.add_argument("script", metavar="SCRIPT", nargs="?", help="a file of commands")
    return parser


def run(argv: list[str] | None) -> int:
    """Run the program; returns the exit status."""
    arguments = _parser().parse_args(argv)
    _open_missing_streams()
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # the reader has gone: nothing more to say
        return 1
    except (OSError, WriteError) as error:
        _drop_output()
        _say(f"write error: {error.strerror if isinstance(error, OSError) else error}")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    return status


def _open_missing_streams() -> None:
    """Give the process the standard streams that it was started without, so that no file of ours becomes one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the whole run


def _drop_output() -> None:
    """Let what is still buffered go nowhere when the interpreter flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str) -> None:
    sys.stderr.write(f"vfs-shell: {message}\n".encode("utf-8", "backslashreplace").decode())


def _run(arguments: argparse.Namespace) -> int:
    text = arguments.commands
    if arguments.script is not None:
        try:
            with open(arguments.script, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError as error:
            _say(f"{arguments.script}: {error.strerror}")
            return 1
    is_new = not os.path.isdir(arguments.path)
    fs = _opened(arguments)
    if fs is None:
        return 1
    _show_warnings_as_lines()
    _hear_interrupts_of_finalizers()
    from vfs_db.shell import runner
    from vfs_db.shell.session import Leave, Session

    is_interactive = text is None and sys.stdin.isatty()
    session = Session(fs, as_json=arguments.json, is_interactive=is_interactive)
    try:
        if is_interactive:
            status = _interact(session, is_new=is_new)
        else:
            status = runner.run(session, text) if text is not None else _run_lines(session, sys.stdin.buffer)
    except Leave as leave:
        status = leave.status
    finally:
        was_open = session.in_transaction
        with suppress(KeyboardInterrupt):
            if was_open:
                session.end(keep=False)
            fs.close()
    if was_open:
        _say("the open transaction was rolled back; `commit` would have kept it")
        return status or 1
    return status


def _opened(arguments: argparse.Namespace) -> DatabaseVFS | None:
    """Return the filesystem, or None after saying why not."""
    import ourdb
    import vfs_db

    try:
        return vfs_db.open(arguments.path, read_only=arguments.read_only)
    except ourdb.DatabaseLocked as error:
        _say(f"{error}\nvfs-shell: -r looks at it meanwhile")
    except (ourdb.OurDBError, vfs_db.CorruptEntry) as error:
        _say(f"{error}\n{_who_knows_more(arguments.path)}")
    except OSError as error:
        from vfs_db.shell.session import describe

        is_damage = error.errno == errno.EIO
        _say(f"{describe(error)}\n{_who_knows_more(arguments.path)}" if is_damage else describe(error))
    except (ValueError, LookupError) as error:
        _say(f"{arguments.path}: {error}")
    return None


def _who_knows_more(path: str) -> str:
    folders = " and ".join(os.path.join(path, part) for part in ("metadata", "data"))
    return f"vfs-shell: `python -m ourdb check FOLDER` says more, of {folders}"


def _show_warnings_as_lines() -> None:
    """Show what the library warns of, damage that was met, as a line like any other."""
    import warnings

    from vfs_db.errors import DamagedEntry

    warnings.simplefilter("always", DamagedEntry)
    warnings.showwarning = lambda message, *_, **__: _say(str(message))


def _hear_interrupts_of_finalizers() -> None:
    """Let a Ctrl-C that comes while Python runs a finalizer, and would print it and forget it, end the command after all."""
    usual = sys.unraisablehook

    def hook(met: sys.UnraisableHookArgs) -> None:
        if met.exc_type is KeyboardInterrupt:
            _thread.start_new_thread(_thread.interrupt_main, ())  # in this thread it would be raised here again
        else:
            usual(met)

    sys.unraisablehook = hook


def _run_lines(session: Session, lines: IO[bytes]) -> int:
    """Run commands as they come; `put -` and `write` read what follows them from the same place."""
    from vfs_db.shell import runner
    from vfs_db.shell.syntax import Incomplete

    status, text = 0, ""
    while line := lines.readline():
        text += line.decode("utf-8", "surrogateescape")
        try:
            status = runner.run(session, text, may_go_on=True)
        except Incomplete:
            continue
        text = ""
        if status and session.stops_at_failure:
            return status
    return runner.run(session, text) if text else status


def _interact(session: Session, *, is_new: bool) -> int:
    from vfs_db.shell.completion import set_up_line_editing
    from vfs_db.shell.session import Leave

    # What is typed, or completed from a name, need not be text in the terminal's encoding.
    if isinstance(sys.stdin, io.TextIOWrapper) and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
        sys.stdout.reconfigure(errors="backslashreplace")
    save_history = set_up_line_editing(session, _HISTORY_MAX)
    if is_new:
        sys.stdout.write("A new, empty filesystem. `help` lists the commands; try `put -r FOLDER /`.\n")
    text = ""
    try:
        while True:
            try:
                text = _typed_and_run(session, text)
            except KeyboardInterrupt:  # at the prompt, or just before or after a command, which hears it itself
                sys.stdout.write("\n")
                text = ""
    except Leave as leave:
        return leave.status
    finally:
        save_history()


def _typed_and_run(session: Session, begun: str) -> str:
    """Read a line, run it if with the lines *begun* it is whole, and return what is begun now. Raises Leave."""
    from vfs_db.shell import runner
    from vfs_db.shell.syntax import Incomplete

    try:
        text = begun + input("> " if begun else session.prompt)
    except EOFError:
        sys.stdout.write("\n")
        text = "exit"
    try:
        runner.run(session, text, may_go_on=True)
    except Incomplete:
        return text + "\n"
    return ""
