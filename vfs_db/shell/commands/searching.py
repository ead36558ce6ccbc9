"""Through whole trees: find grep du df."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from vfs_db.entries import Directory, FSEntry
from vfs_db.metadata import FileType
from vfs_db.shell.listing import as_given, as_json, human_size
from vfs_db.shell.registry import Namespace, Parser, Patterns, command
from vfs_db.shell.session import Session, UsageError

if TYPE_CHECKING:
    import re

__all__: list[str] = []

_TYPES: Final = {"f": FileType.file, "d": FileType.directory, "l": FileType.symlink}


def _find_arguments(parser: Parser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", default=["."])
    parser.add_argument("-name", metavar="PATTERN", help="the name matches: * ? [...]")
    parser.add_argument("-type", choices=list(_TYPES), help="a file, folder (d) or link")
    parser.add_argument("-size", metavar="[+-]N[ckMG]", help="+10k: more than 10 KiB; -10k: less; c: bytes")
    parser.add_argument("-newer", metavar="FILE", help="changed after FILE")
    parser.add_argument("-maxdepth", metavar="N", type=int, help="at most so many levels below PATH")
    parser.flag("-print0", "with_nul", "end each path with a NUL byte")
    parser.flag("-print", "with_newline", "end each path with a new line, as without it")


def _joined_sizes(words: list[str]) -> list[str]:
    """Return *words* with `-size -10k` as one: the value is no option."""
    result: list[str] = []
    for word in words:
        if result and result[-1] in ("-size", "-name"):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


@command(
    "find",
    "list what passes tests, in all folders below",
    _find_arguments,
    patterns=Patterns.first,
    rewrite=_joined_sizes,
    examples=["find docs -name '*.txt' -size -10k", "find -type d -maxdepth 1"],
)
def find(session: Session, options: Namespace) -> None:
    if session.as_json:
        session.values(as_json(path, entry) for _, path, entry in _found(session, options))
        return
    end = b"\0" if options.with_nul else b"\n"
    for shown, _, _ in _found(session, options):
        session.write(session.shown(shown).encode("utf-8", "surrogateescape") + end)


def _found(session: Session, options: Namespace) -> Iterator[tuple[str, str, FSEntry]]:
    """Yield (path as the operand began it, absolute path, entry)."""
    low, high = _size_limits(options.size)
    newer = None if options.newer is None else session.fs.get(session.path(options.newer)).metadata.modified_at
    for operand in options.paths:
        with session.reporting("find"):
            full = session.source(operand)
            for path, entry in session.fs.find(
                full,
                name=options.name,
                type=_TYPES.get(options.type),
                size_min=low,
                size_max=high,
                newer_than=newer,
                depth_max=options.maxdepth,
            ):
                yield as_given(operand, full, path), path, entry


def _size_limits(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    units = {"c": 1, "w": 2, "b": 512, "k": 1024, "M": 1024**2, "G": 1024**3}
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    unit = units.get(digits[-1:], 512)
    number = digits[:-1] if digits[-1:] in units else digits
    if not number.isdecimal():
        raise UsageError(f"find: -size takes a number like +10k, not {text!r}")
    count = int(number)
    # As find: sizes are rounded up to whole units.
    if sign == "+":
        return count * unit + 1, None
    if sign == "-":
        return None, (count - 1) * unit
    return max(0, count - 1) * unit + (1 if count else 0), count * unit


# grep


def _grep_arguments(parser: Parser) -> None:
    parser.flag("-r -R --recursive", "recursive", "files in all folders below")
    parser.flag("-i --ignore-case", "ignore_case", "capital letters are as small ones")
    parser.flag("-n --line-number", "numbers", "with line numbers")
    parser.flag("-l --files-with-matches", "files", "the names of files only")
    parser.flag("-L --files-without-match", "files_without", "the names of files without a match only")
    parser.flag("-c --count", "count", "the number of lines for each file")
    parser.flag("-v --invert-match", "invert", "lines that do not match")
    parser.flag("-w --word-regexp", "words", "match whole words")
    parser.flag("-x --line-regexp", "lines", "match whole lines")
    parser.flag("-o --only-matching", "parts", "only what matches of a line")
    parser.flag("-q --quiet --silent", "quiet", "the status only")
    parser.flag("-s --no-messages", "silent", "say nothing of files that cannot be read")
    parser.flag("-E --extended-regexp", "extended", "PATTERN is an extended regular expression")
    parser.flag("-F --fixed-strings", "fixed", "PATTERN is text")
    parser.flag("-h --no-filename", "no_names", "without names of files")
    parser.flag("-H --with-filename", "names", "with names of files")
    parser.add_argument("-e", "--regexp", dest="patterns", metavar="PATTERN", action="append", help="one of several")
    parser.add_argument("operands", metavar="PATTERN [FILE...]", nargs="*")


class _Search(NamedTuple):
    """What grep looks for, and how it shows it."""

    pattern: re.Pattern[str]
    options: Namespace
    has_names: bool


@command(
    "grep",
    "write the lines that match a pattern",
    _grep_arguments,
    examples=["grep -rin 'total\\|sum' docs", "grep -E '^[0-9]+$' notes.txt"],
)
def grep(session: Session, options: Namespace) -> int:
    from vfs_db.grep import Syntax, compile_pattern

    operands = list(options.operands)
    if not options.patterns and not operands:
        raise UsageError("grep: PATTERN is missing")
    patterns = options.patterns or [operands.pop(0)]
    if not operands and not options.recursive:
        raise UsageError("grep: FILE is missing; -r searches the current folder")
    syntax = Syntax.fixed if options.fixed else Syntax.extended if options.extended else Syntax.basic
    pattern = compile_pattern(
        "\n".join(patterns), syntax, ignore_case=options.ignore_case, whole_words=options.words, whole_lines=options.lines
    )  # fmt: skip
    has_names = options.names or (not options.no_names and (options.recursive or len(operands) > 1))
    search = _Search(pattern, options, has_names)
    found = False
    if session.as_json:
        matches = list[bool]()
        session.values(_match_values(session, search, operands, matches))
        found = bool(matches)
    else:
        for shown, path in _grepped_files(session, operands, options):
            found |= _grep_file(session, search, shown, path)
            if found and options.quiet:
                return 0
    if session.status:
        session.status = 2
    return 0 if found else 1


def _grepped_files(session: Session, operands: list[str], options: Namespace) -> Iterator[tuple[str, str]]:
    """Yield (path to show, absolute path) of the files to be searched."""
    for operand in operands or ["."]:
        try:
            full = session.path(operand)
            entry = session.fs.get_followed(full)
            if not isinstance(entry, Directory):
                yield operand, full
            elif options.recursive:
                full = entry.get_path()  # a link that is named is followed, as with grep's -r
                for path, _ in session.fs.find(full, type=FileType.file):
                    yield as_given(operand, full, path).removeprefix("" if operands else "./"), path
            elif not options.silent:
                session.report(f"grep: {session.shown(operand)}: Is a directory", 2)
        except BrokenPipeError:
            raise
        except OSError as error:
            session.status = 2
            if not options.silent:
                session.report(f"grep: {session.shown(operand)}: {error.strerror}", 2)


def _grep_file(session: Session, search: _Search, shown: str, path: str) -> bool:
    """Search one file and print what there is to print; say whether something was found."""
    from vfs_db.grep import matching_lines

    options = search.options
    name = session.shown(shown)
    count = 0
    with session.reporting("grep", 2), session.fs.open(path, "rb") as file:
        for match in matching_lines(file, search.pattern, invert=options.invert):
            count += 1
            if options.quiet or options.files or options.files_without:
                break
            if options.count:
                continue
            if match.is_binary:
                session.print(f"grep: {name}: binary file matches")
                break
            prefix = (f"{name}:" if search.has_names else "") + (f"{match.number}:" if options.numbers else "")
            _print_match(session, search, prefix, match.text)
    if options.quiet:
        return bool(count)
    if (options.files and count) or (options.files_without and not count):
        session.print(name)
    elif options.count and not (options.files or options.files_without):
        session.print(f"{name}:{count}" if search.has_names else str(count))
    return bool(count)


def _print_match(session: Session, search: _Search, prefix: str, line: bytes) -> None:
    text = line.decode("utf-8", "surrogateescape")
    if search.options.parts:
        for found in search.pattern.finditer(text):
            if found[0]:
                session.print(prefix + _marked(session, found[0]))
        return
    if session.has_colors and not search.options.invert:
        text = search.pattern.sub(lambda found: _marked(session, found[0]), text)
    session.print(prefix + text)


def _marked(session: Session, text: str) -> str:
    return f"\x1b[01;31m{text}\x1b[0m" if session.has_colors and text else text


def _match_values(
    session: Session, search: _Search, operands: list[str], matches: list[bool]
) -> Iterator[dict[str, object]]:
    """Yield a value for each line that matches, and note in *matches* that there was one."""
    from vfs_db.grep import matching_lines

    for _, path in _grepped_files(session, operands, search.options):
        with session.reporting("grep", 2), session.fs.open(path, "rb") as file:
            for match in matching_lines(file, search.pattern, invert=search.options.invert):
                matches[:] = [True]
                text = match.text.decode("utf-8", "surrogateescape")
                yield {"path": path, "line": match.number, "text": text, "binary": match.is_binary}


# du and df


def _du_arguments(parser: Parser) -> None:
    parser.add_argument(
        "-h", "--human-readable", dest="unit", action="store_const", const=None, default=1024, help="sizes as 1.2K, 3M"
    )
    parser.flag("-s --summarize", "summary", "the sum only")
    parser.flag("-a --all", "all", "files too")
    for option, unit, what in (("-b --bytes", 1, "bytes"), ("-k", 1024, "KiB, as without it"), ("-m", 1 << 20, "MiB")):
        parser.add_argument(*option.split(), dest="unit", action="store_const", const=unit, help=f"sizes in {what}")
    parser.flag("-c --total", "total", "the sum of all operands too")
    parser.add_argument(
        "-d", "--max-depth", dest="depth", metavar="N", type=int, default=1 << 30, help="at most so many levels"
    )
    parser.add_argument("paths", metavar="PATH", nargs="*", default=["."])


@command("du", "add up sizes (of contents, in KiB)", _du_arguments, examples=["du -hs *", "du -h -d 1"])
def du(session: Session, options: Namespace) -> None:
    if session.as_json:
        session.values({"path": path, "size": size} for _, path, size in _usages(session, options))
        return
    for shown, _, size in _usages(session, options):
        text = human_size(size) if options.unit is None else str(-(-size // options.unit))
        session.print(f"{text}\t{session.shown(shown)}")


def _usages(session: Session, options: Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield (path as the operand began it, absolute path, size)."""
    total = 0
    depth_max = 0 if options.summary else options.depth
    for operand in options.paths:
        with session.failing(f"du: cannot access '{session.shown(operand)}'"):
            full = session.source(operand)
            top_depth = full.rstrip("/").count("/")
            for path, entry, size in session.fs.usage(full):
                depth = path.rstrip("/").count("/") - top_depth
                if depth == 0:
                    total += size
                if depth == 0 or (depth <= depth_max and (options.all or isinstance(entry, Directory))):
                    yield as_given(operand, full, path), path, size
    if options.total:
        yield "total", "total", total


def _df_arguments(parser: Parser) -> None:
    parser.flag("-h --human-readable", "human", "sizes as 1.2K, 3M")
    parser.add_argument("paths", metavar="PATH", nargs="*")


@command("df", "show the space on the disk that the databases are on", _df_arguments)
def df(session: Session, options: Namespace) -> None:
    for path in options.paths:
        session.fs.get(session.path(path))
    figures = session.fs.statvfs("/")
    total, free = figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize
    used = total - figures.f_bfree * figures.f_frsize
    if session.as_json:
        session.value({"total": total, "free": free, "used": used})
        return
    sizes = [human_size(size) if options.human else str(-(-size // 1024)) for size in (total, used, free)]
    part = f"{-(-used * 100 // (used + free))}%" if used + free else "-"
    place = os.path.dirname(session.fs.metadata_dir) or "memory"
    titles = ("Size", "Used", "Avail") if options.human else ("1K-blocks", "Used", "Available")
    rows = [("Filesystem", *titles, "Use%"), (session.shown(place), *sizes, part)]
    name_width, *widths = [max(map(len, column)) for column in zip(*rows, ("." * 14, *["." * 5] * 3, ""), strict=True)]
    for (name, *texts), where in zip(rows, ("Mounted on", "/"), strict=True):
        numbers = " ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        session.print(f"{name:{name_width}} {numbers} {where}")
