"""Lines that match: what `grep` prints, and POSIX's regular expressions as Python's."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import IO, Final

import attrs

__all__ = ["Match", "Syntax", "compile_pattern", "matching_lines"]

_LINE_MAX: Final = 1 << 20
_BLOCK: Final = 1 << 18
_LOOKED_AT: Final = 32768
_CLASSES: Final = {
    "alpha": "A-Za-z", "digit": "0-9", "alnum": "A-Za-z0-9", "upper": "A-Z", "lower": "a-z", "space": "\\s",
    "blank": " \\t", "punct": "!-/:-@\\[-`{-~", "xdigit": "0-9A-Fa-f", "cntrl": "\\x00-\\x1f\\x7f", "print": " -~",
    "graph": "!-~",
}  # fmt: skip


class Syntax(enum.Enum):
    """How a pattern is written: POSIX's basic or extended regular expression, or as it is."""

    basic = enum.auto()
    extended = enum.auto()
    fixed = enum.auto()


@attrs.frozen
class Match:
    """A line: its *number*, from 1, and its *text*, without its end; *is_binary*: it is not meant to be shown."""

    number: int
    text: bytes
    is_binary: bool = False


def matching_lines(file: IO[bytes], pattern: re.Pattern[str], *, invert: bool = False) -> Iterator[Match]:
    """Yield the lines of *file*, open for reading bytes, in which *pattern* is found (or, inverted, is not).

    A file with a NUL byte near its beginning is binary. Bytes that are no UTF-8 are surrogates to the pattern. A line of
    more than 1 MiB is taken in pieces of that size, so that memory is bounded.
    """
    # Whole blocks are searched, not each line: few lines match. That `^` and `$` are the ends of a line there lets nothing
    # escape, and what goes over an end of line is no match of the line.
    anywhere = re.compile("" if invert else pattern.pattern, pattern.flags | re.MULTILINE)
    number, is_binary = 1, None
    for block in _blocks(file):
        if is_binary is None:
            is_binary = b"\0" in block[:_LOOKED_AT]
        text = block.decode("utf-8", "surrogateescape")
        at = 0
        while at < len(text) and (found := anywhere.search(text, at)):
            start = text.rfind("\n", at, found.start()) + 1 or at
            number += text.count("\n", at, start)
            at = text.find("\n", start) + 1 or len(text) + 1
            line = text[start : at - 1]
            if start < len(text) and (pattern.search(line) is None) is invert:
                yield Match(number, line.encode("utf-8", "surrogateescape"), is_binary)
            number += at <= len(text)
        number += text.count("\n", at)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield *file* in blocks of whole lines; of a line that is too long, pieces."""
    rest = b""
    while piece := file.read(_BLOCK):
        rest += piece
        while len(rest) >= _LINE_MAX and not 0 <= rest.find(b"\n") < _LINE_MAX:
            yield rest[:_LINE_MAX]
            rest = rest[_LINE_MAX:]
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def compile_pattern(
    text: str,
    syntax: Syntax = Syntax.basic,
    *,
    ignore_case: bool = False,
    whole_words: bool = False,
    whole_lines: bool = False,
) -> re.Pattern[str]:
    """Return *text*, patterns separated by new lines, as Python's. Raises ValueError for what is no pattern."""
    parts = [re.escape(one) if syntax is Syntax.fixed else _translated(one, syntax) for one in text.split("\n")]
    joined = "|".join(f"(?:{part})" for part in parts)
    if whole_lines:
        joined = f"^(?:{joined})$"
    elif whole_words:
        joined = rf"(?<!\w)(?:{joined})(?!\w)"
    try:
        return re.compile(joined, re.IGNORECASE if ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"invalid pattern {text!r}: {error}") from None


def _translated(text: str, syntax: Syntax) -> str:
    """Return a POSIX regular expression in Python's spelling."""
    result: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "[":
            bracket, at = _bracket(text, at)
            result.append(bracket)
        elif character == "\\":
            if at == len(text):
                raise ValueError("invalid pattern: nothing after the last \\")
            result.append(_escaped(text[at], syntax))
            at += 1
        elif syntax is Syntax.basic and character in "(){}|+?":
            result.append("\\" + character)
        elif character == "*" and (not result or result[-1] in ("(", "|", "^")):
            result.append("\\*")  # nothing to repeat: it means itself
        elif syntax is Syntax.basic and character == "^" and result and result[-1] not in ("(", "|"):
            result.append("\\^")
        elif syntax is Syntax.basic and character == "$" and not _ends(text, at):
            result.append("\\$")
        else:
            result.append(character)
    return "".join(result)


def _ends(text: str, at: int) -> bool:
    return at == len(text) or text.startswith(("\\)", "\\|"), at)


def _escaped(character: str, syntax: Syntax) -> str:
    if character in "(){}|+?":
        return character if syntax is Syntax.basic else "\\" + character
    if character in "<>":
        return r"\b"
    if character == "W":
        return r"[^\w\n]"
    if character in "wsSbB" or character.isdigit():
        return "\\" + character
    return re.escape(character)


def _bracket(text: str, at: int) -> tuple[str, int]:
    """Return the bracket expression whose `[` stands before *at*, and where it ends."""
    start = at
    parts: list[str] = []
    if negated := text.startswith("^", at):
        at += 1
    first = at
    while at < len(text) and (text[at] != "]" or at == first):
        if text.startswith("[:", at) and (end := text.find(":]", at + 2)) > 0:
            name = text[at + 2 : end]
            if name not in _CLASSES:
                raise ValueError(f"invalid pattern: no character class is called {name!r}")
            parts.append(_CLASSES[name])
            at = end + 2
        else:
            parts.append("\\" + text[at] if text[at] in "\\[]^&~|" else text[at])
            at += 1
    if at >= len(text):
        raise ValueError(f"invalid pattern: no ] for the [ at {start - 1}")
    # No line has an end of line in it, but where whole blocks are searched, `[^x]*` would go to their ends from each place.
    return "[" + ("^\\n" if negated else "") + "".join(parts) + "]", at + 1
