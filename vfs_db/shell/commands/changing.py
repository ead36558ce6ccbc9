"""Changing things: mkdir rmdir touch write append echo cp mv rm ln chmod chown truncate."""

from __future__ import annotations

import re
import sys

from vfs_db.entries import Directory
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session, UsageError

__all__: list[str] = []


def _some_paths(parser: Parser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+")


def _mkdir_arguments(parser: Parser) -> None:
    parser.add_argument("-p", dest="parents", action="store_true", help="folders above too; one that is there is fine")
    _some_paths(parser)


@command("mkdir", "make folders", _mkdir_arguments)
def mkdir(session: Session, options: Namespace) -> None:
    for path in options.paths:
        try:
            if options.parents:
                session.fs.makedirs(session.path(path), exist_ok=True)
            else:
                session.fs.dir_create(session.path(path))
        except OSError as error:
            session.report(f"mkdir: cannot create directory '{session.shown(path)}': {error.strerror}")


@command("rmdir", "remove empty folders", _some_paths)
def rmdir(session: Session, options: Namespace) -> None:
    for path in options.paths:
        try:
            session.fs.dir_delete(session.path(path))
        except OSError as error:
            session.report(f"rmdir: failed to remove '{session.shown(path)}': {error.strerror}")


@command("touch", "make files, or set their times to now", _some_paths)
def touch(session: Session, options: Namespace) -> None:
    for path in options.paths:
        session.fs.touch(session.path(path))


def _text_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("text", metavar="TEXT", nargs="*", help="without it, standard input is taken")


def _content(options: Namespace) -> bytes:
    if options.text:
        return " ".join(options.text).encode("utf-8", "surrogateescape")
    return sys.stdin.buffer.read()


@command("write", "make TEXT (as it is) a file's content", _text_arguments)
def write(session: Session, options: Namespace) -> None:
    with session.fs.transaction(), session.fs.open(session.path(options.path), "wb") as file:
        file.write(_content(options))


@command("append", "add TEXT (as it is) to a file", _text_arguments)
def append(session: Session, options: Namespace) -> None:
    with session.fs.transaction(), session.fs.open(session.path(options.path), "ab") as file:
        file.write(_content(options))


def _echo_arguments(parser: Parser) -> None:
    parser.add_argument("words", metavar="TEXT", nargs="*")


@command("echo", "write TEXT and a new line; > FILE and >> FILE keep it", _echo_arguments)
def echo(session: Session, options: Namespace) -> None:
    session.print(" ".join(options.words))


def _sources_and_target(parser: Parser) -> None:
    parser.add_argument("sources", metavar="SOURCE", nargs="+")
    parser.add_argument("target", metavar="TARGET")


def _cp_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-r", "-R", "-a", dest="recursive", action="store_true", help="folders with all that is in them"
    )
    _sources_and_target(parser)


def _destinations(session: Session, options: Namespace, name: str) -> list[tuple[str, str]]:
    """Return (source, where it goes): into the target if that is a folder, else under its name."""
    target = session.path(options.target)
    if session.fs.is_dir(target):
        return [
            (session.path(one), f"{target.rstrip('/')}/{one.rstrip('/').rpartition('/')[2]}") for one in options.sources
        ]
    if len(options.sources) > 1:
        raise UsageError(f"{name}: target '{options.target}' is not a directory")
    return [(session.path(options.sources[0]), target)]


@command("cp", "copy files, or folders with -r", _cp_arguments)
def cp(session: Session, options: Namespace) -> None:
    for source, target in _destinations(session, options, "cp"):
        entry = session.fs.get(source)
        if isinstance(entry, Directory) and not options.recursive:
            session.report(f"cp: -r not specified; omitting directory '{session.shown(source)}'")
            continue
        session.fs.copy(source, target)


@command("mv", "move or rename", _sources_and_target)
def mv(session: Session, options: Namespace) -> None:
    for source, target in _destinations(session, options, "mv"):
        session.fs.move(source, target)


def _rm_arguments(parser: Parser) -> None:
    parser.add_argument("-r", "-R", dest="recursive", action="store_true", help="folders with all that is in them")
    parser.add_argument("-f", dest="force", action="store_true", help="do not ask; what is missing is fine")
    _some_paths(parser)


@command("rm", "remove files and links, or folders with -r", _rm_arguments)
def rm(session: Session, options: Namespace) -> None:
    for path in options.paths:
        try:
            _rm(session, path, options)
        except FileNotFoundError as error:
            if not options.force:
                session.report(f"rm: cannot remove '{session.shown(path)}': {error.strerror}")
        except OSError as error:
            session.report(f"rm: cannot remove '{session.shown(path)}': {error.strerror}")


def _rm(session: Session, path: str, options: Namespace) -> None:
    full = session.path(path)
    if not isinstance(session.fs.get(full), Directory):
        session.fs.delete(full)
    elif not options.recursive:
        raise IsADirectoryError(21, "Is a directory", path)
    elif options.force or session.confirm(f"remove '{session.shown(path)}' and all that is in it?"):
        session.fs.remove_tree(full)


def _ln_arguments(parser: Parser) -> None:
    parser.add_argument("-s", dest="symbolic", action="store_true", help="needed: there are no other links here")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("link", metavar="LINK", nargs="?")


@command("ln", "make a symbolic link", _ln_arguments)
def ln(session: Session, options: Namespace) -> None:
    if not options.symbolic:
        raise UsageError("ln: there are no hard links here; give -s")
    link = session.path(options.link or ".")
    if session.fs.is_dir(link):
        link = f"{link.rstrip('/')}/{options.target.rstrip('/').rpartition('/')[2]}"
    session.fs.link_create(options.target, link)


def _chmod_arguments(parser: Parser) -> None:
    parser.add_argument("mode", metavar="MODE", help="octal, as 644, or as u+x, go-w")
    _some_paths(parser)


@command("chmod", "change modes", _chmod_arguments)
def chmod(session: Session, options: Namespace) -> None:
    for path in options.paths:
        full = session.path(path)
        session.fs.chmod(full, _new_mode(options.mode, session.fs.stat(full).st_mode & 0o7777))


def _new_mode(text: str, mode: int) -> int:
    if re.fullmatch("[0-7]{1,4}", text):
        return int(text, 8)
    shifts = {"u": 6, "g": 3, "o": 0}
    for part in text.split(","):
        match = re.fullmatch("([ugoa]*)([-+=])([rwx]*)", part)
        if match is None:
            raise UsageError(f"chmod: invalid mode: '{text}'")
        bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(match[3]))
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        for shift in (shifts[letter] for letter in set(who)):
            if match[2] == "=":
                mode &= ~(7 << shift)
            mode = mode & ~(bits << shift) if match[2] == "-" else mode | bits << shift
    return mode


def _chown_arguments(parser: Parser) -> None:
    parser.add_argument("owner", metavar="OWNER[:GROUP]")
    _some_paths(parser)


@command("chown", "change owner and group", _chown_arguments)
def chown(session: Session, options: Namespace) -> None:
    owner, _, group = options.owner.partition(":")
    for path in options.paths:
        session.fs.chown(session.path(path), owner or None, group or None)


def _truncate_arguments(parser: Parser) -> None:
    parser.add_argument("-s", dest="size", metavar="SIZE", type=int, required=True, help="bytes")
    _some_paths(parser)


@command("truncate", "cut files off, or make them longer with zeros", _truncate_arguments)
def truncate(session: Session, options: Namespace) -> None:
    for path in options.paths:
        if not session.fs.exists(session.path(path)):
            session.fs.file_create(session.path(path))
        session.fs.truncate(session.path(path), options.size)
