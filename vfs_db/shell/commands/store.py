"""The store below: history check repair compact backup begin commit rollback stats."""

from __future__ import annotations

from vfs_db.shell.listing import as_json, shown_time
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session

__all__: list[str] = []


def _a_path(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH")


@command("history", "list the kept versions of an entry, newest first", _a_path, examples=["history notes.txt"])
def history(session: Session, options: Namespace) -> None:
    versions = session.fs.history(session.path(options.path))
    if session.as_json:
        session.value(
            [
                {"version": one.number, "changed": list(one.changed), **as_json(session.path(options.path), one.entry)}
                for one in versions
            ]
        )
        return
    for one in versions:
        metadata = one.entry.get_metadata()
        when = shown_time(metadata.modified_at)
        session.print(f"{one.number:4d}  {when}  {metadata.size:10d}  {' '.join(one.changed)}")


@command("check", "read everything and list what is wrong")
def check(session: Session, options: Namespace) -> int:
    problems = []
    for problem in map(str, session.fs.check()):
        problems.append(problem)
        if not session.as_json:
            session.print(session.shown(problem))
    if session.as_json:
        session.value({"problems": problems})
    elif not problems:
        session.print("no problem")
    return 1 if problems else 0


def _repair_arguments(parser: Parser) -> None:
    parser.flag("--free", "free", "free what no folder lists, instead of /lost+found")
    parser.flag("-f", "force", "do not ask")


@command("repair", "mend what check finds", _repair_arguments)
def repair(session: Session, options: Namespace) -> None:
    if not options.force and not session.confirm("change the tree so that check finds nothing?"):
        return
    problems = [str(problem) for problem in session.fs.repair("free" if options.free else "lost+found")]
    if session.as_json:
        session.value({"mended": problems})
        return
    for problem in problems:
        session.print(f"mended: {session.shown(problem)}")


def _compact_arguments(parser: Parser) -> None:
    parser.flag("--drop-history", "drop_history", "keep the newest version of everything only")
    parser.flag("-f", "force", "do not ask")


@command("compact", "take back the space of what was deleted", _compact_arguments, examples=["compact --drop-history"])
def compact(session: Session, options: Namespace) -> None:
    question = "forget all older versions?"
    if options.drop_history and not options.force and not session.confirm(question):
        return
    session.fs.compact(keep_history=not options.drop_history)
    if session.as_json:
        session.value({"kept_history": not options.drop_history})


def _backup_arguments(parser: Parser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a new folder of the host")


@command("backup", "copy the whole filesystem to a new folder", _backup_arguments, examples=["backup copy"])
def backup(session: Session, options: Namespace) -> None:
    session.fs.backup(options.folder)
    if session.as_json:
        session.value({"to": options.folder})


def _tell(session: Session, state: str) -> None:
    if session.as_json:
        session.value({"transaction": state})


@command("begin", "open a transaction over the commands that follow", examples=["begin; rm -rf docs; rollback"])
def begin(session: Session, options: Namespace) -> None:
    session.begin()
    _tell(session, "open")


@command("commit", "keep what was done since begin")
def commit(session: Session, options: Namespace) -> None:
    session.end(keep=True)
    _tell(session, "committed")


@command("rollback", "undo what was done since begin")
def rollback(session: Session, options: Namespace) -> None:
    session.end(keep=False)
    _tell(session, "rolled back")


@command("stats", "print figures about the databases")
def stats(session: Session, options: Namespace) -> None:
    figures = session.fs.stats()
    if session.as_json:
        session.value(figures)
        return
    for part, values in figures.items():
        for name, value in values.items():
            session.print(f"{part:9} {name:22} {value}")
