"""The program around the session: its command line, the prompt, line editing, scripts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

__all__ = ["run"]

_HISTORY_MAX: Final = 2000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vfs-shell",
        description="Look around in a filesystem inside a database. Without -c and SCRIPT, commands are read from the "
        "terminal, or from standard input.",
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
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone: nothing more to say, and nothing to say it to when the interpreter flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _run(arguments: argparse.Namespace) -> int:
    import ourdb
    import vfs_db
    from vfs_db.shell import runner
    from vfs_db.shell.session import Leave, Session

    script = None
    try:
        if arguments.script is not None:
            with open(arguments.script, encoding="utf-8", errors="surrogateescape") as file:
                script = file.read()
        is_new = not os.path.isdir(arguments.path)
        fs = vfs_db.open(arguments.path, read_only=arguments.read_only)
    except ourdb.DatabaseLocked as error:
        sys.stderr.write(f"vfs-shell: {error}\nvfs-shell: -r looks at it meanwhile\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"vfs-shell: {runner.describe(error)}\n")
        return 1
    except ourdb.OurDBError as error:
        sys.stderr.write(
            f"vfs-shell: {error}\nvfs-shell: `python -m ourdb check {arguments.path}/metadata` says more\n"
        )
        return 1
    text = arguments.commands if arguments.commands is not None else script
    is_interactive = text is None and sys.stdin.isatty()
    session = Session(fs, as_json=arguments.json, is_interactive=is_interactive)
    try:
        if text is not None:
            return _finish(session, runner.run(session, text))
        if is_interactive:
            return _interact(session, is_new=is_new)
        return _finish(session, _run_lines(session, sys.stdin))
    except Leave as leave:
        return _finish(session, leave.status)
    finally:
        with suppress(KeyboardInterrupt):
            fs.close()


def _run_lines(session: object, lines: Iterable[str]) -> int:
    from vfs_db.shell import runner
    from vfs_db.shell.session import Session

    assert isinstance(session, Session)
    status = 0
    for line in lines:
        status = runner.run(session, line)
        if status and session.stops_at_failure:
            break
    return status


def _finish(session: object, status: int) -> int:
    from vfs_db.shell.session import Session

    assert isinstance(session, Session)
    if session.in_transaction:
        session.end(keep=False)
        sys.stderr.write("vfs-shell: the open transaction was rolled back; `commit` would have kept it\n")
        return status or 1
    return status


def _interact(session: object, *, is_new: bool) -> int:
    from vfs_db.shell import runner
    from vfs_db.shell.completion import set_up_line_editing
    from vfs_db.shell.session import Leave, Session

    assert isinstance(session, Session)
    save_history = set_up_line_editing(session, _HISTORY_MAX)
    if is_new:
        sys.stdout.write("A new, empty filesystem. `help` lists the commands; try `put -r FOLDER /`.\n")
    try:
        while True:
            try:
                line = input(f"vfs:{session.shown(session.folder)}{'*' if session.in_transaction else ''}> ")
            except KeyboardInterrupt:
                sys.stdout.write("\n")
                continue
            except EOFError:
                sys.stdout.write("\n")
                line = "exit"
            try:
                runner.run(session, line)
            except Leave as leave:
                return leave.status
    finally:
        save_history()
