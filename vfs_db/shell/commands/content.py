"""What is in files: cat head tail wc hexdump. Files are read in pieces, whatever their size."""

from __future__ import annotations

import io
import re
from argparse import ArgumentTypeError
from collections import deque
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session, UsageError

__all__ = ["size"]

_PIECE: Final = 1 << 18
_UNITS: Final = {"": 1, "b": 512, "K": 1024, "k": 1024, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int:
    """Return the number in *text*, which may end in a unit: 10, 4K, 1M. Raises ValueError."""
    match = re.fullmatch(r"([+-]?[0-9]+)([bkKMGT]?)(?:i?B)?", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]


def _size_option(text: str) -> int:
    try:
        return size(text)
    except ValueError:
        raise ArgumentTypeError(f"invalid number: '{text}'") from None


def _files(parser: Parser) -> None:
    parser.add_argument("paths", metavar="FILE", nargs="+")


def _each(session: Session, name: str, paths: list[str]) -> Iterator[tuple[int, str, IO[Any]]]:
    """Yield (index, path, open file) for each path that can be opened; what cannot is reported."""
    for index, path in enumerate(paths):
        with session.reporting(name):
            file = session.fs.open(session.path(path), "rb")
            with file:
                yield index, path, file


def _pieces(file: IO[Any]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _cat_arguments(parser: Parser) -> None:
    parser.flag("-n --number", "numbered", "with line numbers")
    _files(parser)


@command("cat", "write files to the output, byte for byte", _cat_arguments, examples=["cat docs/*.txt > all.txt"])
def cat(session: Session, options: Namespace) -> None:
    number, is_new_line = 1, True
    for _, _, file in _each(session, "cat", options.paths):
        for piece in _pieces(file):
            if not options.numbered:
                session.write(piece)
                continue
            for line in io.BytesIO(piece):  # at \\n only
                session.write((b"%6d\t" % number if is_new_line else b"") + line)
                is_new_line = line.endswith(b"\n")
                number += is_new_line


# head and tail


def _count(text: str) -> tuple[str, int]:
    """Return the sign of *text* and the number: `+3` and `-3` mean other things than `3`."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    return sign, abs(_size_option(text))


def _head_arguments(parser: Parser) -> None:
    parser.add_argument("-n", "--lines", dest="lines", metavar="N", type=_count, help="so many lines (10); head -n -N: all but the "
                        "last N; tail -n +N: from the Nth on")  # fmt: skip
    parser.add_argument(
        "-c", "--bytes", dest="bytes", metavar="N", type=_count, help="so many bytes, likewise; units as in 4K"
    )
    parser.flag("-q --quiet", "quiet", "no names")
    parser.flag("-v --verbose", "verbose", "names for a single file too")
    _files(parser)


def _dashed_number(words: list[str]) -> list[str]:
    """Return *words* with a first `-5` as `-n5`."""
    return [f"-n{words[0][1:]}", *words[1:]] if words and re.fullmatch("-[0-9]+", words[0]) else words


def _print_title(session: Session, options: Namespace, index: int) -> None:
    if (len(options.paths) > 1 and not options.quiet) or options.verbose:
        session.print(f"{chr(10) if index else ''}==> {session.shown(options.paths[index])} <==")


@command(
    "head",
    "write the first lines",
    _head_arguments,
    rewrite=_dashed_number,
    examples=["head -n 3 notes.txt", "head -c 4K notes.txt"],
)
def head(session: Session, options: Namespace) -> None:
    for index, _, file in _each(session, "head", options.paths):
        _print_title(session, options, index)
        if options.bytes is not None:
            sign, count = options.bytes
            end = max(0, file.seek(0, 2) - count) if sign == "-" else count
        else:
            sign, count = options.lines or ("", 10)
            end = _start_of_last(file, count) if sign == "-" else _end_of_first(file, count)
        _write_range(session, file, 0, end)


@command(
    "tail",
    "write the last lines",
    _head_arguments,
    rewrite=_dashed_number,
    examples=["tail -n 3 notes.txt", "tail -n +2 notes.txt"],
)
def tail(session: Session, options: Namespace) -> None:
    for index, _, file in _each(session, "tail", options.paths):
        _print_title(session, options, index)
        if options.bytes is not None:
            sign, count = options.bytes
            start = max(0, count - 1) if sign == "+" else max(0, file.seek(0, 2) - count)
        else:
            sign, count = options.lines or ("", 10)
            start = _end_of_first(file, max(0, count - 1)) if sign == "+" else _start_of_last(file, count)
        _write_range(session, file, start, None)


def _write_range(session: Session, file: IO[Any], start: int, end: int | None) -> None:
    file.seek(start)
    while end is None or start < end:
        piece = file.read(_PIECE if end is None else min(_PIECE, end - start))
        if not piece:
            return
        session.write(piece)
        start += len(piece)


def _end_of_first(file: IO[Any], count: int) -> int:
    """Return the position after the first *count* lines."""
    position: int = 0
    file.seek(0)
    if not count:
        return 0
    for piece in _pieces(file):
        at = -1
        while (at := piece.find(b"\n", at + 1)) >= 0:
            count -= 1
            if not count:
                return int(position + at + 1)
        position += len(piece)
    return position


def _start_of_last(file: IO[Any], count: int) -> int:
    """Return the position where the last *count* lines begin, read from the end."""
    end: int = file.seek(0, 2)
    if not count or not end:
        return end
    file.seek(end - 1)
    if file.read(1) == b"\n":
        count += 1  # the one at the very end begins no line
    position = end
    while position > 0:
        start = max(0, position - _PIECE)
        file.seek(start)
        piece = file.read(position - start)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            count -= 1
            if not count:
                return int(start + at + 1)
        position = start
    return 0


# wc


class _Counts(NamedTuple):
    lines: int = 0
    words: int = 0
    chars: int = 0
    bytes: int = 0


def _counted(file: IO[Any]) -> _Counts:
    """Count what is in *file*; a word may go over the end of a piece."""
    lines = words = chars = size = 0
    is_inside = False
    for piece in _pieces(file):
        size += len(piece)
        lines += piece.count(b"\n")
        chars += len(piece) if piece.isascii() else len(piece) - sum(map(piece.count, _CONTINUATIONS))
        words += len(piece.split()) - (is_inside and not piece[:1].isspace())
        is_inside = not piece[-1:].isspace()
    return _Counts(lines, words, chars, size)


_CONTINUATIONS: Final = [bytes([byte]) for byte in range(0x80, 0xC0)]
"""The bytes of UTF-8 that begin no character."""


def _wc_arguments(parser: Parser) -> None:
    for flag, what in (("-l", "lines"), ("-w", "words"), ("-m", "chars"), ("-c", "bytes")):
        parser.flag(f"{flag} --{what}", what, what)
    _files(parser)


@command("wc", "count lines, words and bytes", _wc_arguments, examples=["wc -l docs/*.txt"])
def wc(session: Session, options: Namespace) -> None:
    wanted = [name for name in ("lines", "words", "chars", "bytes") if getattr(options, name)]
    wanted = wanted or ["lines", "words", "bytes"]
    rows: list[tuple[str, _Counts]] = []
    for _, path, file in _each(session, "wc", options.paths):
        rows.append((path, _counted(file)))
    if session.as_json:
        session.value([{"path": session.path(path), **counts._asdict()} for path, counts in rows])
        return
    if len(options.paths) > 1:
        total = _Counts(*(sum(column) for column in zip(*(one for _, one in rows), strict=True)))
        rows.append(("total", total))
    is_single = len(wanted) == 1 and len(options.paths) == 1
    width = 1 if is_single else max((len(str(counts.bytes)) for _, counts in rows), default=1)
    for path, counts in rows:
        session.print(f"{' '.join(f'{getattr(counts, name):{width}}' for name in wanted)} {session.shown(path)}")


# hexdump


def _hexdump_arguments(parser: Parser) -> None:
    parser.flag("-C", "canonical", "bytes, and the characters beside them")
    parser.flag("-v", "verbose", "lines that repeat are all written")
    parser.add_argument("-n", dest="length", metavar="N", type=_size_option, help="so many bytes at most")
    parser.add_argument("-s", dest="skip", metavar="N", type=_size_option, default=0, help="begin after so many bytes")
    _files(parser)


@command(
    "hexdump",
    "write a file's bytes as hexadecimal numbers",
    _hexdump_arguments,
    examples=["hexdump -C -n 64 notes.txt"],
)
def hexdump(session: Session, options: Namespace) -> None:
    if options.skip < 0 or (options.length or 0) < 0:
        raise UsageError("hexdump: -n and -s take a number that is not negative")
    line = _canonical_line if options.canonical else _words_line
    position = options.skip
    last: deque[bytes] = deque(maxlen=1)
    is_repeated = False
    for data in _blocks(session, options):
        if not options.verbose and len(data) == 16 and last and last[0] == data:
            if not is_repeated:
                session.print("*")
            is_repeated = True
        else:
            session.print(line(position, data))
            is_repeated = False
        last.append(data)
        position += len(data)
    if last:
        session.print(f"{position:08x}" if options.canonical else f"{position:07x}")


def _blocks(session: Session, options: Namespace) -> Iterator[bytes]:
    """Yield 16 bytes at a time of all files, one after the other; the last may be less."""
    skip, left, rest = options.skip, options.length, b""
    for _, _, file in _each(session, "hexdump", options.paths):
        end = file.seek(0, 2)
        file.seek(min(skip, end))
        skip -= min(skip, end)
        while left is None or left > 0:
            piece = file.read(_PIECE if left is None else min(_PIECE, left))
            if not piece:
                break
            left = None if left is None else left - len(piece)
            rest += piece
            whole = len(rest) - len(rest) % 16
            yield from (rest[at : at + 16] for at in range(0, whole, 16))
            rest = rest[whole:]
    if rest:
        yield rest


def _words_line(position: int, data: bytes) -> str:
    """Return the bytes as numbers of two, the lower first."""
    words = (int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))
    return f"{position:07x}" + "".join(f" {word:04x}" for word in words).ljust(40)


def _canonical_line(position: int, data: bytes) -> str:
    halves = "  ".join(data[start : start + 8].hex(" ").ljust(23) for start in (0, 8))
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{position:08x}  {halves}  |{text}|"
