"""Looking around: ls cd pwd tree stat cat head tail find du df wc readlink."""

from __future__ import annotations

import shutil
import stat as modes
import time
from collections.abc import Iterator
from itertools import islice

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.metadata import FileType
from vfs_db.shell.listing import as_json, columns, human_size, long_lines, mode_letters
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session, UsageError

__all__: list[str] = []

_PIECE = 1 << 20


def _paths(parser: Parser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*")


def _files(parser: Parser) -> None:
    parser.add_argument("paths", metavar="FILE", nargs="+")


def _ls_arguments(parser: Parser) -> None:
    parser.add_argument("-l", dest="long", action="store_true", help="mode, owner, size, time")
    parser.add_argument("-a", dest="all", action="store_true", help="names that start with a dot too")
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.2K, 3M")
    parser.add_argument("-1", dest="one", action="store_true", help="one name a line")
    parser.add_argument("-t", dest="by_time", action="store_true", help="newest first")
    parser.add_argument("-S", dest="by_size", action="store_true", help="largest first")
    parser.add_argument("-r", dest="reverse", action="store_true", help="the other way round")
    parser.add_argument("-R", dest="recursive", action="store_true", help="folders below too")
    parser.add_argument("-d", dest="itself", action="store_true", help="the folder and not what is in it")
    _paths(parser)


@command("ls", "list folders", _ls_arguments)
def ls(session: Session, options: Namespace) -> int:
    paths = options.paths or [session.folder]
    single: list[tuple[str, FSEntry]] = []
    folders: list[tuple[str, str]] = []
    for path in paths:
        try:
            entry = session.fs.get(session.path(path))
            if (
                not options.itself
                and isinstance(entry, Symlink)
                and not options.long
                and session.fs.is_dir(session.path(path))
            ):
                entry = session.fs.get_followed(session.path(path))
        except OSError as error:
            session.report(f"ls: cannot access '{path}': {error.strerror}", 2)
            continue
        if isinstance(entry, Directory) and not options.itself:
            folders.append((path, session.path(path)))
        else:
            single.append((path, entry))
    if session.as_json:
        found = [as_json(session.path(name), entry) for name, entry in _sorted(single, options)]
        for _, path in folders:
            found += [
                as_json(entry.get_path(), entry)
                for name, entry in _entries(session, path, options)
                if name not in (".", "..")
            ]
        session.value(found)
        return 0
    if single:
        _show(session, _sorted(single, options), options)
    for index, (name, path) in enumerate(folders):
        _show_folder(
            session, name, path, options, titled=len(paths) > 1 or options.recursive, first=not (index or single)
        )
    return 0


def _show_folder(session: Session, name: str, path: str, options: Namespace, *, titled: bool, first: bool) -> None:
    entries = _entries(session, path, options)
    if titled:
        session.print(f"{'' if first else chr(10)}{session.shown(name)}:")
    _show(session, entries, options, total=True)
    if options.recursive:
        for child, entry in entries:
            if isinstance(entry, Directory) and child not in (".", ".."):
                below = f"{name.rstrip('/')}/{child}"
                _show_folder(session, below, session.path(below), options, titled=True, first=False)


def _entries(session: Session, path: str, options: Namespace) -> list[tuple[str, FSEntry]]:
    named = [(entry.get_metadata().name, entry) for entry in session.fs.dir_list(path)]
    if options.all:
        named += [(".", session.fs.get(path)), ("..", session.fs.get(f"{path}/.."))]
    return _sorted([(name, entry) for name, entry in named if options.all or not name.startswith(".")], options)


def _sorted(named: list[tuple[str, FSEntry]], options: Namespace) -> list[tuple[str, FSEntry]]:
    ordered = sorted(named, key=lambda pair: pair[0])
    if options.by_time:
        ordered.sort(key=lambda pair: -pair[1].get_metadata().modified_at)
    elif options.by_size:
        ordered.sort(key=lambda pair: -pair[1].get_metadata().size)
    return ordered[::-1] if options.reverse else ordered


def _show(session: Session, named: list[tuple[str, FSEntry]], options: Namespace, *, total: bool = False) -> None:
    shown = [(session.shown(name), entry) for name, entry in named]
    if options.long:
        if total:
            blocks = sum(-(-entry.get_metadata().size // 1024) for _, entry in named)
            session.print(f"total {human_size(blocks * 1024) if options.human else blocks}")
        for line in long_lines(shown, human=options.human):
            session.print(line)
    elif options.one or not session.is_terminal:
        for name, _ in shown:
            session.print(name)
    else:
        for line in columns([name for name, _ in shown], shutil.get_terminal_size().columns):
            session.print(line)


def _cd_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", default="/")


@command("cd", "change the current folder", _cd_arguments)
def cd(session: Session, options: Namespace) -> None:
    path = session.path(options.path)
    entry = session.fs.get_followed(path)
    if not isinstance(entry, Directory):
        raise NotADirectoryError(20, "Not a directory", options.path)
    session.folder = entry.get_path()


@command("pwd", "print the current folder")
def pwd(session: Session, options: Namespace) -> None:
    if session.as_json:
        session.value(session.folder)
    else:
        session.print(session.shown(session.folder))


def _tree_arguments(parser: Parser) -> None:
    parser.add_argument("-L", dest="levels", metavar="N", type=int, default=1000, help="at most so many levels")
    parser.add_argument("-a", dest="all", action="store_true", help="names that start with a dot too")
    parser.add_argument("path", metavar="PATH", nargs="?", default=".")


@command("tree", "draw the folders and what is in them", _tree_arguments)
def tree(session: Session, options: Namespace) -> None:
    top = session.path(options.path)
    entry = session.fs.get_followed(top)
    if session.as_json:
        session.value(_tree_value(session, entry, options.levels))
        return
    session.print(session.shown(options.path))
    counts = [0, 0]
    for line in _tree_lines(session, entry, "", options, options.levels, counts):
        session.print(line)
    folders, files = counts
    session.print(f"\n{folders} director{'y' if folders == 1 else 'ies'}, {files} file{'' if files == 1 else 's'}")


def _tree_lines(
    session: Session, entry: FSEntry, indent: str, options: Namespace, levels: int, counts: list[int]
) -> Iterator[str]:
    if not isinstance(entry, Directory) or levels <= 0:
        return
    children = sorted(session.fs.list_of(entry), key=lambda child: child.get_metadata().name)
    children = [child for child in children if options.all or not child.get_metadata().name.startswith(".")]
    for index, child in enumerate(children):
        last = index == len(children) - 1
        counts[not isinstance(child, Directory)] += 1
        arrow = f" -> {session.shown(child.target)}" if isinstance(child, Symlink) else ""
        yield f"{indent}{'└── ' if last else '├── '}{session.shown(child.get_metadata().name)}{arrow}"
        yield from _tree_lines(session, child, indent + ("    " if last else "│   "), options, levels - 1, counts)


def _tree_value(session: Session, entry: FSEntry, levels: int) -> dict[str, object]:
    value = as_json(entry.get_path(), entry)
    if isinstance(entry, Directory) and levels > 0:
        value["entries"] = [_tree_value(session, child, levels - 1) for child in session.fs.list_of(entry)]
    return value


@command("stat", "show an entry's metadata", _files)
def stat(session: Session, options: Namespace) -> None:
    for path in options.paths:
        entry = session.fs.get(session.path(path))
        if session.as_json:
            session.value(as_json(entry.get_path(), entry))
            continue
        metadata = entry.get_metadata()
        kind = {FileType.file: "regular file", FileType.directory: "directory", FileType.symlink: "symbolic link"}
        if metadata.file_type is FileType.file and not metadata.size:
            kind[FileType.file] = "regular empty file"
        arrow = f" -> {session.shown(entry.target)}" if isinstance(entry, Symlink) else ""
        session.print(f"  File: {session.shown(path)}{arrow}")
        session.print(f"  Size: {metadata.size:<15} Inode: {metadata.id:<12} {kind[metadata.file_type]}")
        letters = mode_letters(entry)
        session.print(
            f"Access: ({modes.S_IMODE(metadata.mode):04o}/{letters})  Uid: {metadata.owner}  Gid: {metadata.group}"
        )
        for label, moment in (
            ("Access", metadata.accessed_at),
            ("Modify", metadata.modified_at),
            (" Birth", metadata.created_at),
        ):
            session.print(f"{label}: {time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(moment))}")


@command("cat", "write files to the output, byte for byte", _files)
def cat(session: Session, options: Namespace) -> None:
    for path in options.paths:
        with session.fs.open(session.path(path), "rb") as file:
            while piece := file.read(_PIECE):
                session.write(piece)


def _head_arguments(parser: Parser) -> None:
    parser.add_argument("-n", dest="lines", metavar="N", type=int, default=10, help="so many lines (10)")
    parser.add_argument("-c", dest="bytes", metavar="N", type=int, help="so many bytes")
    _files(parser)


def _titled(session: Session, paths: list[str], index: int) -> None:
    if len(paths) > 1:
        session.print(f"{chr(10) if index else ''}==> {session.shown(paths[index])} <==")


@command("head", "write the first lines", _head_arguments)
def head(session: Session, options: Namespace) -> None:
    for index, path in enumerate(options.paths):
        with session.fs.open(session.path(path), "rb") as file:
            _titled(session, options.paths, index)
            if options.bytes is not None:
                session.write(file.read(max(0, options.bytes)))
            else:
                for line in islice(file, max(0, options.lines)):
                    session.write(line)


@command("tail", "write the last lines", _head_arguments)
def tail(session: Session, options: Namespace) -> None:
    for index, path in enumerate(options.paths):
        data = session.fs.file_read(session.path(path))
        _titled(session, options.paths, index)
        if options.bytes is not None:
            session.write(data[-options.bytes :] if options.bytes > 0 else b"")
        elif options.lines > 0:
            session.write(b"".join(data.splitlines(keepends=True)[-options.lines :]))


def _find_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", default=".")
    parser.add_argument("-name", metavar="PATTERN")
    parser.add_argument("-type", choices=["f", "d", "l"])
    parser.add_argument("-size", metavar="[+-]N[ckM]", help="+10k: more than 10 KiB")
    parser.add_argument("-newer", metavar="FILE", help="changed after FILE")
    parser.add_argument("-maxdepth", type=int)


_TYPES = {"f": FileType.file, "d": FileType.directory, "l": FileType.symlink}


@command("find", "list what passes tests, in all folders below", _find_arguments)
def find(session: Session, options: Namespace) -> None:
    low, high = _size_limits(options.size)
    newer = None if options.newer is None else session.fs.get(session.path(options.newer)).get_metadata().modified_at
    top = session.path(options.path)
    found = session.fs.find(
        top,
        name=options.name,
        type=_TYPES.get(options.type),
        size_min=low,
        size_max=high,
        newer_than=newer,
        depth_max=options.maxdepth,
    )
    shown: list[dict[str, object]] | None = [] if session.as_json else None
    for path, entry in found:
        if shown is not None:
            shown.append(as_json(path, entry))
        else:
            session.print(session.shown(options.path.rstrip("/") + path[len(top.rstrip("/")) :] or "/"))
    if shown is not None:
        session.value(shown)


def _size_limits(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    units = {"c": 1, "k": 1024, "M": 1024**2, "G": 1024**3}
    sign, digits = (text[0], text[1:]) if text[:1] in "+-" and text else ("", text)
    unit = units.get(digits[-1:], 512)
    number = digits[:-1] if digits[-1:] in units else digits
    if not number.isdigit():
        raise UsageError(f"find: -size takes a number like +10k, not {text!r}")
    count = int(number)
    # As find: sizes are rounded up to whole units.
    if sign == "+":
        return count * unit + 1, None
    if sign == "-":
        return None, max(0, count - 1) * unit
    return max(0, count - 1) * unit + (1 if count else 0), count * unit


def _du_arguments(parser: Parser) -> None:
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.2K, 3M")
    parser.add_argument("-s", dest="summary", action="store_true", help="the sum only")
    _paths(parser)


@command("du", "add up sizes (of contents, in KiB)", _du_arguments)
def du(session: Session, options: Namespace) -> None:
    values: list[dict[str, object]] = []
    for path in options.paths or ["."]:
        _du(session, path, session.fs.get(session.path(path)), options, values, top=True)
    if session.as_json:
        session.value(values)


def _du(
    session: Session, path: str, entry: FSEntry, options: Namespace, values: list[dict[str, object]], *, top: bool
) -> int:
    size = entry.get_metadata().size
    if isinstance(entry, Directory):
        size = sum(
            _du(session, f"{path.rstrip('/')}/{child.get_metadata().name}", child, options, values, top=False)
            for child in session.fs.list_of(entry)
        )
    if top or (isinstance(entry, Directory) and not options.summary):
        values.append({"path": path, "size": size})
        if not session.as_json:
            session.print(f"{human_size(size) if options.human else -(-size // 1024)}\t{session.shown(path)}")
    return size


def _df_arguments(parser: Parser) -> None:
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.2K, 3M")


@command("df", "show the space on the disk that the databases are on", _df_arguments)
def df(session: Session, options: Namespace) -> None:
    figures = session.fs.statvfs("/")
    total, free = figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize
    if session.as_json:
        session.value({"total": total, "free": free, "used": total - free})
        return
    sizes = [human_size(size) if options.human else str(size // 1024) for size in (total, total - free, free)]
    session.print(f"{'Size' if options.human else '1K-blocks':>12} {'Used':>12} {'Available':>12}")
    session.print(" ".join(f"{size:>12}" for size in sizes))


def _wc_arguments(parser: Parser) -> None:
    for flag, what in (("-l", "lines"), ("-w", "words"), ("-c", "bytes")):
        parser.add_argument(flag, dest=what, action="store_true", help=what)
    _files(parser)


@command("wc", "count lines, words and bytes", _wc_arguments)
def wc(session: Session, options: Namespace) -> None:
    wanted = [options.lines, options.words, options.bytes]
    wanted = wanted if any(wanted) else [True, True, True]
    rows: list[tuple[list[int], str]] = []
    for path in options.paths:
        data = session.fs.file_read(session.path(path))
        rows.append(([data.count(b"\n"), len(data.split()), len(data)], path))
    if session.as_json:
        session.value(
            [{"path": path, "lines": counts[0], "words": counts[1], "bytes": counts[2]} for counts, path in rows]
        )
        return
    if len(rows) > 1:
        rows.append(([sum(column) for column in zip(*(counts for counts, _ in rows), strict=True)], "total"))
    width = max(len(str(count)) for counts, _ in rows for count in counts) if sum(wanted) > 1 or len(rows) > 1 else 1
    for counts, path in rows:
        chosen = [f"{count:{width}}" for count, want in zip(counts, wanted, strict=True) if want]
        session.print(f"{' '.join(chosen)} {session.shown(path)}")


@command("readlink", "print where a link leads", _files)
def readlink(session: Session, options: Namespace) -> None:
    targets = [session.fs.link_read(session.path(path)) for path in options.paths]
    if session.as_json:
        session.value(targets)
        return
    for target in targets:
        session.print(session.shown(target))
