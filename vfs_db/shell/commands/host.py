"""To and from the host: put get lcd lpwd lls !command."""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vfs_db.entries import Directory
from vfs_db.shell.listing import LongLines, Row, columns
from vfs_db.shell.registry import Namespace, Parser, Patterns, all_operands, command
from vfs_db.shell.session import Session, UsageError, input_pieces

if TYPE_CHECKING:
    from vfs_db.shell.progress import Progress

__all__: list[str] = []

_PIECE: Final = 1 << 18
_BATCH_SIZE: Final = 64 << 20
"""So many bytes `put` commits at once."""


def _transfer_arguments(parser: Parser) -> None:
    parser.flag("-r -R --recursive", "recursive", "folders with all that is in them")
    parser.flag("-f --force", "force", "replace files without asking")
    parser.flag("-T --no-target-directory", "no_folder", "the target is the new name itself, even if it is a folder")
    parser.flag("-u --update", "update", "only files that are not there or differ in size or time; without asking")


def _replacing(
    session: Session, options: Namespace, progress: Progress, *, in_script: bool
) -> bool | Callable[[str], bool]:
    """Return whether files may be replaced: by option, by what a script gets, or by asking the person for each."""
    if options.force or options.update:
        return True
    if not session.is_interactive:
        return in_script
    answers = {"all": False}

    def ask(path: str) -> bool:
        if answers["all"]:
            return True
        with progress.paused():
            answer = session.ask(f"replace '{path}'? [y]es, [N]o, [a]ll ")
        answers["all"] = answer in ("a", "all")
        return answer in ("y", "yes", "a", "all")

    return ask


def _put_arguments(parser: Parser) -> None:
    _transfer_arguments(parser)
    parser.add_argument("operands", metavar="LOCAL... [DEST]", nargs="+", help="LOCAL may be -, standard input; DEST alone is left "
                        "out for the current folder")  # fmt: skip


@command(
    "put",
    "copy from the host: into DEST if it is a folder, else under that name",
    _put_arguments,
    patterns=Patterns.host,
    examples=["put -r photos /", "put -ru photos /", "put - notes.txt"],
)
def put(session: Session, options: Namespace) -> None:
    *sources, target = options.operands if len(options.operands) > 1 else [*options.operands, "."]
    from vfs_db.shell.progress import Progress

    into = not options.no_folder and session.fs.is_dir(session.path(target))
    if not into and (len(sources) > 1 or target.endswith("/")):
        raise UsageError(f"put: target '{target}' is not a directory")
    done = []
    with Progress("put", lambda: sum(_host_size(os.path.expanduser(source)) for source in sources)) as progress:
        replaces = _replacing(session, options, progress, in_script=True)
        for source in map(os.path.expanduser, sources):
            name = os.path.basename(source.rstrip(os.sep))
            is_inside = into and source != "-" and name not in ("", ".", "..")
            to = session.path(f"{target.rstrip('/')}/{name}" if is_inside else target)
            with session.reporting("put"):
                _put(session, source, to, options, progress, replaces)
                done.append({"from": source, "to": to})
    if session.as_json:
        session.value(done)


def _host_size(path: str) -> int:
    """Return the bytes at *path*, for the bar only."""
    with suppress(OSError):
        if not os.path.isdir(path):
            return os.path.getsize(path)
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(folder, name))
                size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size


def _put(
    session: Session, source: str, target: str, options: Namespace, progress: Progress,
    replaces: bool | Callable[[str], bool],
) -> None:  # fmt: skip
    if source == "-":
        with progress.paused():
            _put_input(session, target, replaces)
    elif not os.path.isdir(source):
        session.fs.import_file(source, target, progress, may_replace=replaces, update=options.update)
    elif not options.recursive:
        raise IsADirectoryError(21, "Is a directory; give -r", source)
    else:
        session.fs.import_tree(
            source, target, progress, may_replace=replaces, update=options.update, batch_size=_BATCH_SIZE
        )


def _put_input(session: Session, target: str, replaces: bool | Callable[[str], bool]) -> None:
    if callable(replaces) and session.fs.exists(target) and not replaces(target):
        return
    with session.fs.transaction(), session.fs.open(target, "wb") as file:
        for piece in input_pieces():
            file.write(piece)


def _get_arguments(parser: Parser) -> None:
    _transfer_arguments(parser)
    parser.add_argument("operands", metavar="PATH... [LOCAL]", nargs="+", help="LOCAL may be -, standard output; it is left out for "
                        "the host's current folder")  # fmt: skip


@command(
    "get",
    "copy to the host: into LOCAL if it is a folder, else under that name",
    _get_arguments,
    examples=["get -r docs .", "get -ru docs .", "get notes.txt -"],
)
def get(session: Session, options: Namespace) -> None:
    *sources, target = options.operands if len(options.operands) > 1 else [*options.operands, "."]
    if target == "-":
        for source in sources:
            with session.reporting("get"), session.fs.open(session.path(source), "rb") as file:
                while piece := file.read(_PIECE):
                    session.write(piece)
        return
    from vfs_db.shell.progress import Progress

    target = os.path.expanduser(target)
    into = not options.no_folder and os.path.isdir(target)
    if not into and len(sources) > 1:
        raise UsageError(f"get: target '{target}' is not a directory")
    done = []
    with Progress("get", lambda: _size_of(session, sources)) as progress:
        replaces = _replacing(session, options, progress, in_script=False)
        for source in sources:
            with session.reporting("get"):
                local = _local_path(session, source, target) if into else target
                try:
                    _get(session, source, local, options, progress, replaces)
                except FileExistsError as error:
                    if options.force:
                        raise
                    text = f"{error.strerror}; -f replaces files, -u those that differ"
                    raise FileExistsError(error.errno, text, error.filename) from error
                done.append({"from": session.path(source), "to": local})
    if session.as_json:
        session.value(done)


def _size_of(session: Session, paths: list[str]) -> int:
    """Return the bytes at *paths*, for the bar only."""
    total = 0
    for path in paths:
        with suppress(OSError):
            full = session.fs.get_followed(session.path(path)).get_path()
            *_, (_, _, size) = deque(session.fs.usage(full), maxlen=1)
            total += size
    return total


def _local_path(session: Session, source: str, folder: str) -> str:
    """Return the path in the host's *folder* for *source*; what has no name of its own goes into the folder itself."""
    name = source.rstrip("/").rpartition("/")[2]
    if name in ("", ".", ".."):
        return folder
    if os.sep in name or (os.altsep and os.altsep in name):
        raise UsageError(f"get: '{source}' can be no name here; name the target")
    return os.path.join(folder, name)


def _get(
    session: Session, source: str, local: str, options: Namespace, progress: Progress,
    replaces: bool | Callable[[str], bool],
) -> None:  # fmt: skip
    path = session.path(source)
    if not isinstance(session.fs.get_followed(path), Directory):
        session.fs.export_file(path, local, progress, may_replace=replaces, update=options.update)
    elif not options.recursive:
        raise IsADirectoryError(21, "Is a directory; give -r", source)
    else:
        session.fs.export_tree(path, local, progress, may_replace=replaces, update=options.update)


# The host's own


def _folder_argument(parser: Parser) -> None:
    parser.add_argument("path", metavar="FOLDER", nargs="?")


@command("lcd", "change the host's current folder", _folder_argument, patterns=Patterns.host)
def lcd(session: Session, options: Namespace) -> None:
    os.chdir(os.path.expanduser(options.path or "~"))
    if session.as_json:
        session.value(os.getcwd())


@command("lpwd", "print the host's current folder")
def lpwd(session: Session, options: Namespace) -> None:
    if session.as_json:
        session.value(os.getcwd())
    else:
        session.print(session.shown(os.getcwd()))


def _lls_arguments(parser: Parser) -> None:
    parser.flag("-l", "long", "mode, owner, size, time")
    parser.flag("-a", "all", "names that start with a dot too")
    parser.flag("-h", "human", "sizes as 1.2K, 3M")
    parser.flag("-1", "one", "one name a line")
    parser.add_argument("paths", metavar="PATH", nargs="*", default=["."])


@command("lls", "list folders of the host", _lls_arguments, patterns=Patterns.host, examples=["lls -l photos"])
def lls(session: Session, options: Namespace) -> None:
    found: list[tuple[str, str]] = []
    for path in map(os.path.expanduser, options.paths):
        with session.reporting("lls"):
            if not os.path.isdir(path):
                os.lstat(path)
                found.append((path, path))
                continue
            names = sorted(name for name in os.listdir(path) if options.all or not name.startswith("."))
            found += [(name, os.path.join(path, name)) for name in names]
    if session.as_json:
        session.value([_host_json(path) for _, path in found])
    elif options.long:
        for line in LongLines(human=options.human).lines(
            [_host_row(session.shown(name), path) for name, path in found]
        ):
            session.print(line)
    else:
        _print_names(session, [session.shown(name) for name, _ in found], options)


def _print_names(session: Session, names: list[str], options: Namespace) -> None:
    if options.one or not session.is_terminal:
        for name in names:
            session.print(name)
        return
    for row in columns(names, session.width):
        session.print("".join(name + " " * room for name, room in row))


def _host_row(shown: str, path: str) -> Row:
    status = os.lstat(path)
    arrow = f" -> {os.readlink(path)}" if stat.S_ISLNK(status.st_mode) else ""
    owner, group = str(status.st_uid), str(status.st_gid)
    with suppress(ImportError, KeyError):
        import pwd

        owner = pwd.getpwuid(status.st_uid).pw_name
    with suppress(ImportError, KeyError):
        import grp

        group = grp.getgrgid(status.st_gid).gr_name
    letters = stat.filemode(status.st_mode)
    return Row(letters, status.st_nlink, owner, group, status.st_size, int(status.st_mtime), shown + arrow)


def _host_json(path: str) -> dict[str, object]:
    status = os.lstat(path)
    kinds = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFREG: "file"}
    return {
        "path": path,
        "name": os.path.basename(path),
        "type": kinds.get(stat.S_IFMT(status.st_mode), "other"),
        "size": status.st_size,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "modified_at": int(status.st_mtime),
    }


def _command_argument(parser: Parser) -> None:
    parser.add_argument("command", metavar="COMMAND...", nargs="*")


@command(
    "!",
    "run a command of the host",
    _command_argument,
    patterns=Patterns.nothing,
    rewrite=all_operands,
    examples=["!ls -l photos | wc -l"],
)
def bang(session: Session, options: Namespace) -> int:
    text = " ".join(options.command)
    if not text.strip():
        raise UsageError("!: a command is missing")
    import subprocess

    session.output.flush()
    if session.output is sys.stdout.buffer:
        return 1 if subprocess.run(text, shell=True, check=False).returncode else 0  # noqa: S602 - it is what is asked for
    with subprocess.Popen(text, shell=True, stdout=subprocess.PIPE) as child:  # noqa: S602
        assert child.stdout is not None
        while piece := child.stdout.read(_PIECE):
            session.write(piece)
    return 1 if child.returncode else 0
