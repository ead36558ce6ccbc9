"""The shell itself: help exit set."""

from __future__ import annotations

import sys
from typing import Final

from vfs_db.shell.commands import NAMES, all_commands, find
from vfs_db.shell.registry import Namespace, Parser, Patterns, command
from vfs_db.shell.session import Leave, Session, UsageError

__all__: list[str] = []

_GROUPS: Final = {
    "look": ("ls", "places", "content", "searching"),
    "change": ("changing", "moving"),
    "host": ("host",),
    "store": ("store",),
    "shell": ("the_shell",),
}
"""The modules under each title of `help`."""


def _help_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="COMMAND", nargs="?")


@command(
    "help", "list the commands, or explain one", _help_arguments, patterns=Patterns.nothing, examples=["help find"]
)
def help_(session: Session, options: Namespace) -> None:
    if options.name is not None:
        _explain(session, options.name)
    elif session.as_json:
        session.value({name: one.summary for name, one in all_commands().items()})
    else:
        _list_commands(session)


def _explain(session: Session, name: str) -> None:
    registered = find(name)
    if registered is None:
        from difflib import get_close_matches

        near = get_close_matches(name, NAMES, 1)
        raise UsageError(f"help: no command {name}" + (f"; did you mean {near[0]}?" if near else ""))
    text = registered.parser().format_help().rstrip()
    if session.as_json:
        session.value({"name": name, "summary": registered.summary, "help": text})
    else:
        session.print(text)


def _list_commands(session: Session) -> None:
    from textwrap import fill

    for title, modules in _GROUPS.items():
        session.print(f"{title}:")
        for name, one in all_commands().items():
            if NAMES[name] in modules:
                indent = " " * 12
                session.print(fill(one.summary, session.width, initial_indent=f"  {name:10}", subsequent_indent=indent))
    last = "`help COMMAND` explains one; quotes, * ? [...], # comments, ; between commands, > FILE, >> FILE"
    session.print(fill(last, session.width))


def _exit_arguments(parser: Parser) -> None:
    parser.add_argument("status", metavar="STATUS", nargs="?", type=int, default=0)


@command("exit", "leave", _exit_arguments)
def exit_(session: Session, options: Namespace) -> None:
    if session.in_transaction and session.is_interactive and not _is_settled(session):
        return
    if session.as_json:
        session.value({"status": options.status})
    raise Leave(options.status)


def _is_settled(session: Session) -> bool:
    """Ask what to do with the open transaction; say whether to leave."""
    try:
        answer = input("a transaction is open: commit, roll back, or stay? [c/r/S] ").strip().lower()
    except EOFError:
        # There is nobody to stay for.
        sys.stdout.write("\nrolled back\n")
        answer = "r"
    if answer not in ("c", "commit", "r", "rollback", "roll back"):
        return False
    session.end(keep=answer.startswith("c"))
    return True


def _set_arguments(parser: Parser) -> None:
    parser.flag("-e", "stop", "stop a script at the first command that fails")
    parser.add_argument("flag", nargs="?", choices=["+e"], help="go on after a command that fails")


@command("set", "set -e: stop at a failure; set +e: go on", _set_arguments)
def set_(session: Session, options: Namespace) -> None:
    session.stops_at_failure = options.stop or options.flag != "+e"
    if session.as_json:
        session.value({"stops_at_failure": session.stops_at_failure})
