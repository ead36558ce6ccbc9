"""Listing folders: ls. A large folder is listed as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.shell.listing import LongLines, as_json, colored, columns, entry_row, human_size
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session

__all__: list[str] = []

_BATCH: Final = 1024
"""So many rows are lined up with each other; a folder of more is listed before it is read to its end."""

_Named = tuple[str, FSEntry]


def _arguments(parser: Parser) -> None:
    parser.flag("-l", "long", "mode, owner, size, time")
    parser.flag("-a --all", "all", "names that start with a dot too")
    parser.flag("-A --almost-all", "almost_all", "the same, without . and ..")
    parser.flag("-h --human-readable", "human", "sizes as 1.2K, 3M")
    parser.flag("-1", "one", "one name a line")
    parser.flag("-C", "in_columns", "in columns, as on a terminal")
    parser.flag("-t", "by_time", "newest first")
    parser.flag("-S", "by_size", "largest first")
    parser.flag("-r --reverse", "reverse", "the other way round")
    parser.flag("-R --recursive", "recursive", "folders below too")
    parser.flag("-d --directory", "itself", "the folder and not what is in it")
    parser.flag("-F --classify", "marks", "/ after folders, @ after links, * after programs")
    parser.flag("-p", "slashes", "/ after folders")
    parser.flag("-i --inode", "ids", "each entry's id")
    parser.add_argument("--color", choices=["auto", "always", "never"], help="colours; always without a value")
    parser.add_argument("paths", metavar="PATH", nargs="*")


def _joined_color(words: list[str]) -> list[str]:
    """Return *words* with `--color` as `--color=always`: what follows it is a path."""
    return ["--color=always" if word == "--color" else word for word in words]


@command("ls", "list folders", _arguments, rewrite=_joined_color, examples=["ls -la docs", "ls -lhSr *.txt"])
def ls(session: Session, options: Namespace) -> None:
    single: list[_Named] = []
    folders: list[tuple[str, Directory]] = []
    for path in options.paths or ["."]:
        with session.failing(f"ls: cannot access '{session.shown(path)}'", 2):
            entry = _operand(session, path, options)
            if isinstance(entry, Directory) and not options.itself:
                folders.append((path, entry))
            else:
                single.append((path, entry))
    single = _sorted(single, options)
    titled = len(options.paths) > 1 or options.recursive
    if session.as_json:
        session.values(_values(session, single, folders, options))
        return
    _show(session, iter(single), options, has_total=False)
    is_first = not single
    for name, _, entries in _listed(session, folders, options):
        with session.failing(f"ls: reading directory '{session.shown(name)}'", 2):
            if titled:
                session.print(f"{'' if is_first else chr(10)}{session.shown(name)}:")
            is_first = False
            _show(session, entries, options, has_total=True)


def _operand(session: Session, path: str, options: Namespace) -> FSEntry:
    """Return the entry at *path*; a link to a folder is that folder, unless -l or -d."""
    full = session.path(path)
    entry = session.fs.get(full)
    if isinstance(entry, Symlink) and not options.itself and (path.endswith("/") or not options.long):
        if session.fs.is_dir(full):
            return session.fs.get_followed(full)
        if path.endswith("/"):
            raise NotADirectoryError(20, "Not a directory", path)
    return entry


def _values(
    session: Session, single: list[_Named], folders: list[tuple[str, Directory]], options: Namespace
) -> Iterator[dict[str, object]]:
    for name, entry in single:
        yield as_json(session.path(name), entry)
    for name, folder, entries in _listed(session, folders, options):
        with session.failing(f"ls: reading directory '{session.shown(name)}'", 2):
            base = folder.get_path().rstrip("/")
            yield from (as_json(f"{base}/{child}", entry) for child, entry in entries if child not in (".", ".."))


def _listed(
    session: Session, folders: list[tuple[str, Directory]], options: Namespace
) -> Iterator[tuple[str, Directory, Iterator[_Named]]]:
    """Yield (name, folder, its entries) for each folder, and with -R for those below, when its entries were used."""
    for top in folders:
        stack = [top]
        seen: set[int] = set()
        while stack:
            name, folder = stack.pop()
            if folder.metadata.id in seen:
                session.report(f"ls: '{session.shown(name)}' contains itself; see `check`")
                continue
            seen.add(folder.metadata.id)
            below: list[tuple[str, Directory]] = []
            entries = _entries(session, folder, options)
            yield name, folder, _noting(entries, name, below) if options.recursive else entries
            stack += below[::-1]


def _noting(entries: Iterator[_Named], base: str, below: list[tuple[str, Directory]]) -> Iterator[_Named]:
    """Yield *entries*, and put the folders among them into *below*."""
    for name, entry in entries:
        if isinstance(entry, Directory) and name not in (".", ".."):
            below.append((f"{base.rstrip('/')}/{name}", entry))
        yield name, entry


def _entries(session: Session, folder: Directory, options: Namespace) -> Iterator[_Named]:
    """Return the entries to be listed, in their order. By name, those of a large folder are not held in memory."""
    found: Iterable[_Named] = ((entry.metadata.name, entry) for entry in session.fs.each_by_name(folder))
    if options.all:
        parent = session.fs.get(f"{folder.get_path()}/..")
        found = chain([(".", folder), ("..", parent)], found)
    elif not options.almost_all:
        found = (pair for pair in found if not pair[0].startswith("."))
    if options.by_time or options.by_size or options.reverse:
        return iter(_sorted(list(found), options))
    return iter(found)


def _sorted(named: list[_Named], options: Namespace) -> list[_Named]:
    ordered = sorted(named, key=lambda pair: pair[0])
    if options.by_time:
        ordered.sort(key=lambda pair: -pair[1].metadata.modified_at)
    elif options.by_size:
        ordered.sort(key=lambda pair: -pair[1].metadata.size)
    return ordered[::-1] if options.reverse else ordered


def _show(session: Session, named: Iterator[_Named], options: Namespace, *, has_total: bool) -> None:
    if options.long:
        _show_long(session, named, options, has_total=has_total)
    elif (session.is_terminal or options.in_columns) and not options.one:
        _show_columns(session, list(named), options)
    else:
        for name, entry in named:
            session.print(_shown(session, name, entry, options))


def _show_long(session: Session, named: Iterator[_Named], options: Namespace, *, has_total: bool) -> None:
    lines = LongLines(human=options.human)
    batch = list(islice(named, _BATCH))
    following = list(islice(named, _BATCH))
    if has_total:
        blocks = sum(-(-entry.metadata.size // 1024) for _, entry in batch)
        total = human_size(blocks * 1024) if options.human else str(blocks)
        session.print(f"total {'?' if following else total}")  # not known before the end
    while batch:
        rows = [
            entry_row(_shown(session, name, entry, options, arrow=True), entry, session.shown) for name, entry in batch
        ]
        for (_, entry), line in zip(batch, lines.lines(rows), strict=True):
            session.print(f"{entry.metadata.id:>7} {line}" if options.ids else line)
        batch, following = following, list(islice(named, _BATCH))


def _show_columns(session: Session, named: list[_Named], options: Namespace) -> None:
    plain = [_shown(session, name, entry, options, color=False) for name, entry in named]
    entries = dict(zip(plain, (entry for _, entry in named), strict=True))
    for row in columns(plain, session.width):
        session.print(
            "".join(
                (colored(text, entries[text]) if _has_colors(session, options) else text) + " " * room
                for text, room in row
            )
        )


def _has_colors(session: Session, options: Namespace) -> bool:
    return bool(options.color == "always" or (session.has_colors and options.color != "never"))


def _shown(
    session: Session, name: str, entry: FSEntry, options: Namespace, *, arrow: bool = False, color: bool = True
) -> str:
    """Return *name* as it is listed: its mark, its id (but in a long line) and colour, and where a link leads."""
    text = session.shown(name)
    if color and _has_colors(session, options):
        text = colored(text, entry)
    if isinstance(entry, Directory) and (options.marks or options.slashes):
        text += "/"
    elif isinstance(entry, Symlink) and arrow:
        text += f" -> {session.shown(entry.target)}"
    elif options.marks and isinstance(entry, Symlink):
        text += "@"
    elif options.marks and entry.metadata.mode & 0o111:
        text += "*"
    return f"{entry.metadata.id} {text}" if options.ids and not arrow else text
