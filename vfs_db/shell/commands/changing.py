"""Changing things: mkdir rmdir touch write append echo chmod chown truncate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from vfs_db.entries import Symlink
from vfs_db.shell.commands.content import size
from vfs_db.shell.listing import as_json
from vfs_db.shell.registry import Namespace, Parser, Patterns, all_operands, command
from vfs_db.shell.session import Session, UsageError, input_pieces

__all__: list[str] = []

_UMASK: Final = 0o022
"""What new entries' modes leave out, and so `chmod +w` too."""


def _some_paths(parser: Parser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+")


def _show_changed(session: Session, changed: list[str]) -> None:
    """With --json, write what the entries at the paths *changed* are now."""
    if session.as_json:
        session.values(as_json(path, session.fs.get(path)) for path in changed)


def _mkdir_arguments(parser: Parser) -> None:
    parser.flag("-p --parents", "parents", "folders above too; one that is there is fine")
    parser.flag("-v --verbose", "verbose", "print what is done")
    _some_paths(parser)


@command("mkdir", "make folders", _mkdir_arguments, examples=["mkdir -p 2024/may"])
def mkdir(session: Session, options: Namespace) -> None:
    made = []
    for path in options.paths:
        with session.failing(f"mkdir: cannot create directory '{session.shown(path)}'"):
            wanted = [*_above(path), path] if options.parents else [path]
            new = [one for one in wanted if options.verbose and not session.fs.exists(session.path(one))]
            if options.parents:
                session.fs.makedirs(session.path(path), exist_ok=True)
            else:
                session.fs.dir_create(session.path(path))
            made.append(session.path(path))
            session.tell(f"mkdir: created directory '{session.shown(one)}'" for one in new)
    _show_changed(session, made)


def _above(path: str) -> list[str]:
    """Return what *path* names above its last name, the topmost first: a and a/b of a/b/c."""
    ends = [at for at in range(1, len(path.rstrip("/"))) if path[at] == "/" != path[at - 1]]
    return [path[:end] for end in ends]


def _rmdir_arguments(parser: Parser) -> None:
    parser.flag("-p --parents", "parents", "folders that PATH names above too")
    parser.flag("-v --verbose", "verbose", "print what is done")
    _some_paths(parser)


@command("rmdir", "remove empty folders", _rmdir_arguments)
def rmdir(session: Session, options: Namespace) -> None:
    removed: list[dict[str, str]] = []
    for path in options.paths:
        for one in [path, *_above(path)[::-1]] if options.parents else [path]:
            if options.verbose:
                session.tell([f"rmdir: removing directory, '{session.shown(one)}'"])
            what = "" if one == path else "directory "
            before = len(removed)
            with session.failing(f"rmdir: failed to remove {what}'{session.shown(one)}'"):
                session.fs.dir_delete(session.path(one))
                removed.append({"path": session.path(one)})
            if len(removed) == before:
                break
    if session.as_json:
        session.value(removed)


def _touch_arguments(parser: Parser) -> None:
    parser.flag("-c --no-create", "no_create", "make no file")
    _some_paths(parser)


@command("touch", "make files, or set their times to now", _touch_arguments)
def touch(session: Session, options: Namespace) -> None:
    touched = []
    for path in options.paths:
        with session.failing(f"touch: cannot touch '{session.shown(path)}'"):
            if options.no_create and not session.fs.exists(session.path(path)):
                continue
            session.fs.touch(session.path(path))
            touched.append(session.path(path))
    _show_changed(session, touched)


# Content


def _write_arguments(parser: Parser) -> None:
    parser.flag("-f --force", "force", "replace a file without asking")
    _text_arguments(parser)


def _text_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("text", metavar="TEXT", nargs="*", default=[], help="without it, standard input is taken")


def _content(options: Namespace) -> Iterator[bytes]:
    if options.text:
        yield " ".join(options.text).encode("utf-8", "surrogateescape")
        return
    yield from input_pieces()


def _write(session: Session, options: Namespace, mode: Literal["wb", "ab"]) -> None:
    path = session.path(options.path)
    with session.fs.transaction(), session.fs.open(path, mode) as file:
        for piece in _content(options):
            file.write(piece)
    _show_changed(session, [path])


@command(
    "write",
    "make TEXT (as it is) a file's content",
    _write_arguments,
    patterns=Patterns.nothing,
    examples=["write notes.txt 'two  words'"],
)
def write(session: Session, options: Namespace) -> None:
    is_there = session.fs.exists(session.path(options.path))
    question = f"replace '{options.path}'?"
    if is_there and not options.force and not session.confirm(question, can_be_undone=True):
        return
    _write(session, options, "wb")


@command(
    "append",
    "add TEXT (as it is) to a file",
    _text_arguments,
    patterns=Patterns.nothing,
    examples=["append notes.txt more"],
)
def append(session: Session, options: Namespace) -> None:
    _write(session, options, "ab")


def _echo_arguments(parser: Parser) -> None:
    parser.add_argument("words", metavar="[-n] [TEXT...]", nargs="*")


@command(
    "echo",
    "write TEXT and a new line (-n: none); > FILE and >> FILE keep it",
    _echo_arguments,
    rewrite=all_operands,
    examples=["echo more >> notes.txt"],
)
def echo(session: Session, options: Namespace) -> None:
    words = list(options.words)
    # Like bash, which takes everything else as it is, `--` and unknown options too.
    has_end = True
    while words and words[0] == "-n":
        words.pop(0)
        has_end = False
    session.write(" ".join(words).encode("utf-8", "surrogateescape") + (b"\n" if has_end else b""))


def _truncate_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-s", "--size", dest="size", metavar="SIZE", required=True, help="bytes, or as 4K; +SIZE, -SIZE: more, less"
    )
    parser.flag("-c --no-create", "no_create", "make no file")
    parser.flag("-f --force", "force", "do not ask")
    _some_paths(parser)


def _joined_size(words: list[str]) -> list[str]:
    """Return *words* with `-s -4K` as one: the value is no option."""
    at = words.index("-s") if "-s" in words else -1
    return words if at < 0 or at + 1 == len(words) else [*words[:at], f"-s{words[at + 1]}", *words[at + 2 :]]


@command(
    "truncate",
    "cut files off, or make them longer with zeros",
    _truncate_arguments,
    rewrite=_joined_size,
    examples=["truncate -s 1M disk.img"],
)
def truncate(session: Session, options: Namespace) -> None:
    try:
        wanted = size(options.size)
    except ValueError:
        raise UsageError(f"truncate: Invalid number: '{options.size}'") from None
    done = []
    for path in options.paths:
        full = session.path(path)
        with session.failing(f"truncate: cannot open '{session.shown(path)}' for writing"), session.fs.transaction():
            is_there = session.fs.is_file(full)
            if not is_there and options.no_create:
                continue
            if not is_there:
                session.fs.open(full, "ab").close()
            old = session.fs.stat(full).st_size
            new = max(0, old + wanted) if options.size[:1] in "+-" else wanted
            question = f"cut off what '{path}' has after {new} bytes?"
            if new < old and not options.force and not session.confirm(question, can_be_undone=True):
                continue
            session.fs.truncate(full, new)
            done.append(full)
    _show_changed(session, done)


# Attributes


def _below(session: Session, path: str, options: Namespace) -> Iterator[str]:
    """Yield *path*, and with -R what is below it, without links."""
    full = session.path(path)
    session.fs.get_followed(full)
    if not options.recursive:
        yield full
        return
    for found, entry in session.fs.find(full):
        if found == full or not isinstance(entry, Symlink):
            yield found


def _chmod_arguments(parser: Parser) -> None:
    parser.flag("-R --recursive", "recursive", "what is in folders too")
    parser.add_argument("mode", metavar="MODE", help="octal, as 644, or as u+x, go-w, a+X")
    _some_paths(parser)


_SYMBOLIC: Final = "([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)"


def _dashed_mode(words: list[str]) -> list[str]:
    """Return *words* with a mode like `-x` as `,-x`, which is no option."""
    return [f",{word}" if re.fullmatch("-[rwxXst]+", word) else word for word in words]


@command(
    "chmod",
    "change modes",
    _chmod_arguments,
    rewrite=_dashed_mode,
    examples=["chmod 640 notes.txt", "chmod -R go-w,a+X docs"],
)
def chmod(session: Session, options: Namespace) -> None:
    _new_mode(options.mode, 0, is_directory=False)
    changed = []
    for path in options.paths:
        with session.failing(f"chmod: cannot access '{session.shown(path)}'"), session.fs.transaction():
            for full in _below(session, path, options):
                mode = session.fs.stat(full).st_mode
                session.fs.chmod(full, _new_mode(options.mode, mode & 0o7777, is_directory=mode & 0o170000 == 0o040000))
            changed.append(session.path(path))
    _show_changed(session, changed)


def _new_mode(text: str, mode: int, *, is_directory: bool) -> int:
    """Return *mode* as *text*, octal or symbolic, changes it. Raises UsageError."""
    if re.fullmatch("[0-7]{1,4}", text):
        return int(text, 8)
    for part in text.removeprefix(",").split(","):
        match = re.fullmatch(_SYMBOLIC, part)
        if match is None:
            raise UsageError(f"chmod: invalid mode: '{text.removeprefix(',')}'")
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        for operator, letters in re.findall("([-+=])([rwxXstugo]*)", match[2]):
            bits = _bits(letters, who, mode, is_directory=is_directory) & ~(0 if match[1] else _UMASK)
            if operator == "=":
                mode &= ~sum(7 << _SHIFTS[one] for one in set(who))
            mode = mode & ~bits if operator == "-" else mode | bits
    return mode


_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}


def _bits(letters: str, who: str, mode: int, *, is_directory: bool) -> int:
    """Return the permission bits that *letters* name, for those in *who*."""
    one = 0
    for letter in set(letters):
        if letter in _SHIFTS:
            one |= mode >> _SHIFTS[letter] & 7
        elif letter == "X":
            one |= 1 if is_directory or mode & 0o111 else 0
        else:
            one |= {"r": 4, "w": 2, "x": 1}.get(letter, 0)
    bits = 0
    for shift in (_SHIFTS[each] for each in set(who)):
        bits |= one << shift
    if "s" in letters:
        bits |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
    return bits | (0o1000 if "t" in letters else 0)


def _chown_arguments(parser: Parser) -> None:
    parser.flag("-R --recursive", "recursive", "what is in folders too")
    parser.add_argument("owner", metavar="OWNER[:GROUP]")
    _some_paths(parser)


@command("chown", "change owner and group", _chown_arguments, examples=["chown -R me:staff docs"])
def chown(session: Session, options: Namespace) -> None:
    owner, _, group = options.owner.partition(":")
    changed = []
    for path in options.paths:
        with session.failing(f"chown: cannot access '{session.shown(path)}'"), session.fs.transaction():
            for full in _below(session, path, options):
                session.fs.chown(full, owner or None, group or None)
            changed.append(session.path(path))
    _show_changed(session, changed)
