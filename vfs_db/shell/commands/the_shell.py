"""The shell itself: help exit set."""

from __future__ import annotations

import difflib

from vfs_db.shell.registry import COMMANDS, Namespace, Parser, command
from vfs_db.shell.session import Leave, Session, UsageError

__all__: list[str] = []

_GROUPS = {"looking": "look", "changing": "change", "host": "host", "store": "store", "the_shell": "shell"}


def _help_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="COMMAND", nargs="?")


@command("help", "list the commands, or explain one", _help_arguments)
def help_(session: Session, options: Namespace) -> None:
    if options.name is not None:
        registered = COMMANDS.get(options.name)
        if registered is None:
            near = difflib.get_close_matches(options.name, COMMANDS, 1)
            raise UsageError(f"help: no command {options.name}" + (f"; did you mean {near[0]}?" if near else ""))
        session.print(registered.parser().format_help().rstrip())
        return
    if session.as_json:
        session.value({name: one.summary for name, one in COMMANDS.items()})
        return
    for module, title in _GROUPS.items():
        session.print(f"{title}:")
        for name, one in COMMANDS.items():
            if one.function.__module__.endswith("." + module):
                session.print(f"  {name:9} {one.summary}")
    session.print("`help COMMAND` explains one; quotes, * ? [...], # comments, ; between commands, > FILE, >> FILE")


def _exit_arguments(parser: Parser) -> None:
    parser.add_argument("status", nargs="?", type=int, default=0)


@command("exit", "leave", _exit_arguments)
def exit_(session: Session, options: Namespace) -> None:
    if session.in_transaction and session.is_interactive:
        answer = input("a transaction is open: commit, roll back, or stay? [c/r/S] ").strip().lower()
        if answer not in ("c", "commit", "r", "rollback"):
            return
        session.end(keep=answer.startswith("c"))
    raise Leave(options.status)


def _set_arguments(parser: Parser) -> None:
    parser.add_argument("-e", dest="stop", action="store_true", help="stop a script at the first command that fails")
    parser.add_argument("flag", nargs="?", choices=["+e"], help="go on after a command that fails")


@command("set", "set -e: stop at a failure; set +e: go on", _set_arguments)
def set_(session: Session, options: Namespace) -> None:
    session.stops_at_failure = options.stop or options.flag != "+e"
