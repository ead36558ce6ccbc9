"""The program's streams: what it reads and prints, and the line on a terminal that shows how far long work is."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from contextlib import suppress
from typing import Final

__all__ = [
    "StreamFailed",
    "complain",
    "erase_line",
    "flush",
    "give_up_output",
    "output_is_file",
    "preview",
    "print_json",
    "print_text",
    "progress_line",
    "read",
    "stand_in_for_closed_streams",
    "write",
]

_QUIET_SECONDS: Final = 0.5
_INTERVAL_SECONDS: Final = 0.2
_COLUMNS: Final = 80
_SIZES: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_ECHO: Final = len("^C")
"""Columns behind the line that stay free: what the terminal itself shows there is erased with it, and does not wrap."""


class StreamFailed(Exception):
    """Standard input can't be read, or standard output not be written."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(f"{name}: {error.strerror}")
        self.is_broken_pipe = isinstance(error, BrokenPipeError)


def stand_in_for_closed_streams() -> None:
    """Open the null device for standard streams that are closed: else a database's file would get their descriptors.

    What is read or written there fails, but for messages, as in a program that had none.
    """
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, closefd=False))  # noqa: SIM115 - open to the end


def read() -> bytes:
    """Return all of standard input. Raises StreamFailed, as do all that use the other stream, but for `complain`."""
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StreamFailed("standard input", error) from None


def output_is_file() -> bool:
    """Say whether standard output goes to a file: nothing of it can get to the terminal, then."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except OSError:
        return False


def write(data: bytes) -> None:
    """Write *data* to standard output; it is there at once if that is a terminal, else after `flush`."""
    if _line is not None and _line.is_shown and not output_is_file():
        _line.erase()
    try:
        sys.stdout.buffer.write(data)
        if sys.stdout.isatty():
            sys.stdout.buffer.flush()
    except OSError as error:
        raise StreamFailed("standard output", error) from None


def flush() -> None:
    """Hand on what was written to standard output."""
    erase_line()
    try:
        sys.stdout.flush()
    except OSError as error:
        raise StreamFailed("standard output", error) from None


def give_up_output() -> None:
    """Let what is still to be written go nowhere: else Python would try again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_text(text: str) -> None:
    """Print *text*: names in it are shown escaped on a terminal, and go as they are into a file or pipe."""
    shown = _escaped(text) if sys.stdout.isatty() else text
    write(shown.encode("utf-8", "surrogateescape") + b"\n")


def print_json(value: object) -> None:
    """Print *value* as one line of JSON."""
    print_text(json.dumps(value))


def complain(text: object) -> None:
    """Print a message to standard error, if it can be written; the exit status tells, too."""
    erase_line()
    with suppress(OSError):
        sys.stderr.write(f"ourdb: {_escaped(str(text))}\n")


def _escaped(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def preview(data: bytes) -> str:
    """Return the beginning of *data* as text."""
    text = data[:48].decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() else "." for character in text)
    return shown + ("…" if len(data) > 48 else "")


class _Line:
    """What is done, how much of how much, percent: on standard error, as an `ourdb.progress.Progress`.

    It appears when work has taken half a second. Where the terminal is narrow, it is shorter.
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what = what
        self._unit = unit
        self._next = time.monotonic() + _QUIET_SECONDS
        self._width = 0

    @property
    def is_shown(self) -> bool:
        return self._width > 0

    def __call__(self, done: int, in_all: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL_SECONDS
            self._draw(done, in_all)

    def _draw(self, done: int, in_all: int) -> None:
        room = _columns() - 1 - _ECHO  # a character in the last column may wrap
        percent = f"{done * 100 // in_all}%"
        forms = f"{self._what}  {_amount(done, in_all, self._unit)}  {percent}", f"{self._what} {percent}", percent, ""
        text = next(form for form in forms if len(form) <= max(room, 0)).ljust(min(self._width, room))
        self._width = max(self._width, len(text))  # before it is shown: Ctrl-C may come in between
        _show(f"\r{text}")

    def erase(self) -> None:
        if self.is_shown:
            _show(f"\r{' ' * (self._width + _ECHO)}\r")
            self._width = 0


_line: _Line | None = None


def progress_line(what: str, unit: str) -> _Line | None:
    """Return a line that shows progress, of *unit* "bytes" or "records", once it is told; None without a terminal.

    All that is printed here erases it before, and `erase_line` does at the end.
    """
    global _line  # noqa: PLW0603 - there is one terminal
    _line = _Line(what, unit) if sys.stderr.isatty() else None
    return _line


def erase_line() -> None:
    """Take the line that shows progress off the terminal, if there is one."""
    if _line is not None:
        _line.erase()


def _show(text: str) -> None:
    with suppress(OSError):  # the terminal is gone; the work is not to end for that
        sys.stderr.write(text)
        sys.stderr.flush()


def _columns() -> int:
    with suppress(OSError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    return _COLUMNS


def _amount(done: int, in_all: int, unit: str) -> str:
    for size, name in _SIZES:
        if unit == "bytes" and in_all >= size:
            return f"{done / size:.1f} of {in_all / size:.1f} {name}"
    return f"{done:,} of {in_all:,} {unit}"
