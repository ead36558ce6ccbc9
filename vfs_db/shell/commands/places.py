"""Where one is, and what is there: cd pwd tree stat readlink."""

from __future__ import annotations

import errno
import stat as modes
import time
from collections.abc import Iterator
from typing import Final

from vfs_db.attributes import stat_of
from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.metadata import FileType
from vfs_db.moment import nanoseconds
from vfs_db.shell.listing import as_json, colored, mode_letters
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session

__all__: list[str] = []


def _cd_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="- for the folder before")


@command("cd", "change the current folder", _cd_arguments)
def cd(session: Session, options: Namespace) -> None:
    is_back = options.path == "-"
    entry = session.fs.get_followed(session.last_folder if is_back else session.path(options.path))
    if not isinstance(entry, Directory):
        raise NotADirectoryError(20, "Not a directory", options.path)
    session.last_folder, session.folder = session.folder, entry.get_path()
    if session.as_json:
        session.value(session.folder)
    elif is_back:
        session.print(session.shown(session.folder))


@command("pwd", "print the current folder")
def pwd(session: Session, options: Namespace) -> None:
    if session.as_json:
        session.value(session.folder)
    else:
        session.print(session.shown(session.folder))


def _tree_arguments(parser: Parser) -> None:
    parser.add_argument("-L", dest="levels", metavar="N", type=int, default=1 << 30, help="at most so many levels")
    parser.flag("-a", "all", "names that start with a dot too")
    parser.flag("-d", "folders", "folders only")
    parser.add_argument("path", metavar="PATH", nargs="?", default=".")


@command("tree", "draw the folders and what is in them", _tree_arguments, examples=["tree -L 2 docs"])
def tree(session: Session, options: Namespace) -> None:
    top = session.fs.get_followed(session.path(options.path))
    if session.as_json:
        _write_tree_value(session, top, options)
        return
    name = session.shown(options.path)
    session.print(colored(name, top) if session.has_colors else name)
    indents = [""]
    folders = files = 0
    for depth, entry, is_last in _visited(session, top, options):
        if isinstance(entry, Directory):
            folders += 1
        else:
            files += 1
        name = session.shown(entry.metadata.name)
        name = colored(name, entry) if session.has_colors else name
        arrow = f" -> {session.shown(entry.target)}" if isinstance(entry, Symlink) else ""
        session.print(f"{indents[depth]}{'└── ' if is_last else '├── '}{name}{arrow}")
        del indents[depth + 1 :]
        indents.append(indents[depth] + ("    " if is_last else "│   "))
    below = "" if options.folders else f", {files} file{'' if files == 1 else 's'}"
    session.print(f"\n{folders} director{'y' if folders == 1 else 'ies'}{below}")


def _visited(session: Session, top: FSEntry, options: Namespace) -> Iterator[tuple[int, FSEntry, bool]]:
    """Yield (depth, entry, whether it is the last in its folder) of all below *top*, by name."""
    stack: list[tuple[Iterator[FSEntry], FSEntry | None]] = []
    ids: list[int] = []

    def wanted(folder: Directory) -> Iterator[FSEntry]:
        for entry in session.fs.each_by_name(folder):
            is_shown = options.all or not entry.metadata.name.startswith(".")
            if is_shown and (not options.folders or isinstance(entry, Directory)):
                yield entry

    def enter(entry: FSEntry) -> None:
        if not isinstance(entry, Directory) or len(stack) >= options.levels:
            return
        if entry.metadata.id in ids:
            raise OSError(5, f"directory {entry.metadata.id} contains itself; see `check`")
        entries = wanted(entry)
        ids.append(entry.metadata.id)
        stack.append((entries, next(entries, None)))

    enter(top)
    while stack:
        entries, entry = stack.pop()
        if entry is None:
            ids.pop()
            continue
        following = next(entries, None)
        stack.append((entries, following))
        yield len(stack) - 1, entry, following is None
        enter(entry)


def _write_tree_value(session: Session, top: FSEntry, options: Namespace) -> None:
    """Write the nested value piece by piece: a tree may be deeper than Python recurses."""
    session.pieces(_tree_pieces(session, top, options))


def _tree_pieces(session: Session, top: FSEntry, options: Namespace) -> Iterator[str]:
    paths = [top.get_path()]
    opened = [isinstance(top, Directory) and options.levels > 0]
    yield from _opening(paths[0], top, has_entries=opened[0])
    is_first = True
    for depth, entry, _ in _visited(session, top, options):
        while len(paths) > depth + 1:
            paths.pop()
            yield "]}" if opened.pop() else "}"
            is_first = False
        path = f"{paths[-1].rstrip('/')}/{entry.metadata.name}"
        has_entries = isinstance(entry, Directory) and depth + 1 < options.levels
        yield "" if is_first else ", "
        yield from _opening(path, entry, has_entries=has_entries)
        paths.append(path)
        opened.append(has_entries)
        is_first = True
    while opened:
        yield "]}" if opened.pop() else "}"


def _opening(path: str, entry: FSEntry, *, has_entries: bool) -> Iterator[str]:
    import json

    yield json.dumps(as_json(path, entry))[:-1] + (', "entries": [' if has_entries else "")


_KINDS: Final = {
    FileType.file: "regular file",
    FileType.directory: "directory",
    FileType.symlink: "symbolic link",
}


def _stat_arguments(parser: Parser) -> None:
    parser.add_argument("-c", "--format", dest="format", metavar="FORMAT", help="instead: %%n name, %%N name and target, %%s size, %%a mode, "
                        "%%A letters, %%f mode in hex, %%F kind, %%U %%u owner, %%G %%g group (lower case: as number), %%i id, "
                        "%%h links, %%b blocks of %%B bytes, %%o block size, %%Y %%X %%Z %%W times in seconds (modified, read, "
                        "changed, made), %%y %%x %%z %%w as text")  # fmt: skip
    parser.flag("-L --dereference", "follow", "what a link leads to")
    parser.add_argument("paths", metavar="PATH", nargs="+")


@command("stat", "show all that is known of entries", _stat_arguments, examples=["stat -c '%A %s %n' docs/*"])
def stat(session: Session, options: Namespace) -> None:
    values = []
    for path in options.paths:
        with session.failing(f"stat: cannot stat '{session.shown(path)}'"):
            entry = (session.fs.get_followed if options.follow else session.fs.get)(session.source(path))
            if session.as_json:
                values.append(as_json(session.source(path), entry))
            elif options.format is not None:
                session.print(_formatted(_values_of(session, path, entry), options.format))
            else:
                _print_stat(session, path, entry)
    if session.as_json:
        session.value(values)


def _kind(entry: FSEntry) -> str:
    metadata = entry.get_metadata()
    is_empty = metadata.file_type is FileType.file and not metadata.size
    return "regular empty file" if is_empty else _KINDS[metadata.file_type]


def _moment(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    try:
        local = time.localtime(seconds)
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', local)}.{rest:09d} {time.strftime('%z', local)}"
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _values_of(session: Session, path: str, entry: FSEntry) -> dict[str, str]:
    """Return what each letter of -c stands for."""
    metadata = entry.get_metadata()
    status = stat_of(entry)
    name = session.shown(path)
    return {
        "n": name,
        "N": f"'{name}' -> '{session.shown(entry.target)}'" if isinstance(entry, Symlink) else f"'{name}'",
        "s": str(status.st_size),
        "a": f"{modes.S_IMODE(metadata.mode):o}",
        "f": f"{status.st_mode:x}",
        "A": mode_letters(entry),
        "F": _kind(entry),
        "U": session.shown(metadata.owner),
        "G": session.shown(metadata.group),
        "u": str(status.st_uid),
        "g": str(status.st_gid),
        "i": str(metadata.id),
        "h": str(status.st_nlink),
        "b": str(status.st_blocks),
        "B": "512",
        "o": str(status.st_blksize),
        "Y": str(status.st_mtime_ns // 10**9),
        "X": str(status.st_atime_ns // 10**9),
        "Z": str(status.st_ctime_ns // 10**9),
        "W": str(int(metadata.created_at)),
        "y": _moment(status.st_mtime_ns),
        "x": _moment(status.st_atime_ns),
        "z": _moment(status.st_ctime_ns),
        "w": _moment(nanoseconds(metadata.created_at)),
        "%": "%",
    }


def _formatted(values: dict[str, str], text: str) -> str:
    first, *parts = text.replace("%%", "\0").split("%")
    filled = first + "".join(values.get(part[:1], f"%{part[:1]}") + part[1:] for part in parts)
    return filled.replace("\0", "%")


def _print_stat(session: Session, path: str, entry: FSEntry) -> None:
    values = _values_of(session, path, entry)
    arrow = f" -> {session.shown(entry.target)}" if isinstance(entry, Symlink) else ""
    session.print(f"  File: {values['n']}{arrow}")
    session.print(f"  Size: {values['s']:<10}\tBlocks: {values['b']:<10} IO Block: {values['o']:<6} {values['F']}")
    session.print(f"Inode: {values['i']:<11} Links: {values['h']}")
    session.print(f"Access: ({values['a']:>04}/{values['A']})  Uid: {values['U']}  Gid: {values['G']}")
    for label, key in (("Access", "x"), ("Modify", "y"), (" Birth", "w")):
        session.print(f"{label}: {values[key]}")


def _readlink_arguments(parser: Parser) -> None:
    parser.flag("-f --canonicalize", "canonical", "the path of what is there in the end")
    parser.flag("-v --verbose", "verbose", "say why there is none")
    parser.add_argument("paths", metavar="PATH", nargs="+")


@command("readlink", "print where a link leads", _readlink_arguments)
def readlink(session: Session, options: Namespace) -> None:
    targets: list[str] = []
    for path in options.paths:
        with session.reporting("readlink"):
            try:
                full = session.path(path)
                target = session.fs.get_followed(full).get_path() if options.canonical else session.fs.link_read(full)
            except OSError as error:
                if error.errno not in _NO_LINK or options.verbose:
                    raise
                session.status = 1  # the question was whether it is a link
                continue
            targets.append(target)
            session.tell([session.shown(target)])
    if session.as_json:
        session.value(targets)


_NO_LINK: Final = (errno.EINVAL, errno.ENOENT, errno.ENOTDIR)
