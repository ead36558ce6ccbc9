"""A session: the filesystem, the current folder, where output goes, the transaction that is open. What commands work with."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TextIO

from vfs_db.path import parts
from vfs_db.shell.output import JsonText, Output, Spool
from vfs_db.vfs import DatabaseVFS

__all__ = ["Leave", "Session", "UsageError", "WriteError", "describe", "escaped", "input_pieces", "terminal_width"]

_WIDTH: Final = 80
_PIECE: Final = 1 << 18


class UsageError(Exception):
    """The command line is wrong; exit status 2."""


class WriteError(Exception):
    """What the commands print can't be written: no command's failure, and the end of the program."""


class Leave(Exception):
    """The user wants to leave."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Session:
    """What the commands work with: `fs`, the current `folder`; `print`, `write` and `value`; `report` and `confirm`."""

    def __init__(self, fs: DatabaseVFS, *, as_json: bool = False, is_interactive: bool = False) -> None:
        self.fs = fs
        self.folder = self.last_folder = "/"
        self.as_json = as_json
        self.is_interactive = is_interactive
        self.stops_at_failure = not is_interactive
        self.status = 0
        self.output: Output = sys.stdout.buffer
        self.is_terminal = sys.stdout.isatty()
        self.has_colors = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._errors: list[str] = []
        self._has_value = False
        self._open_transaction: ExitStack | None = None

    # What commands use

    def path(self, text: str) -> str:
        """Return *text* as an absolute path, without '.'. Raises FileNotFoundError for an empty one, which names nothing."""
        if not text:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
        return "/" + "/".join(parts(text if text.startswith("/") else f"{self.folder}/{text}"))

    def source(self, text: str) -> str:
        """Return *text* as an absolute path to read from: a link that is named with a slash at its end is followed."""
        full = self.path(text)
        is_followed = text.endswith("/") and self.fs.is_symlink(full)
        return self.fs.get_followed(full).get_path() if is_followed else full

    def write(self, data: bytes) -> None:
        """Write bytes to the output, as they are."""
        try:
            self.output.write(data)
        except OSError as error:
            raise self._as_write_error(error) from error

    def flush(self) -> None:
        """Let the output go where it goes to now."""
        try:
            self.output.flush()
        except OSError as error:
            raise self._as_write_error(error) from error

    def _as_write_error(self, error: OSError) -> Exception:
        # What was spooled is still to be written to the filesystem: the command has failed, and others may follow.
        if isinstance(error, BrokenPipeError) or isinstance(self.output, Spool):
            return error
        return WriteError(error.strerror or str(error))

    def print(self, text: str) -> None:
        """Write a line to the output."""
        self.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def tell(self, lines: Iterable[str]) -> None:
        """Write the lines that tell what was done; with `--json`, the command's value says it."""
        if not self.as_json:
            for line in lines:
                self.print(line)

    def value(self, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Write the command's JSON value."""
        import json

        self._has_value = True
        sys.stdout.buffer.write(json.dumps(value, default=str).encode() + b"\n")

    def values(self, values: Iterable[Any]) -> None:
        """Write a list as the command's JSON value, one by one: it may be long. An error ends the list where it is."""
        import json

        self._has_value = True
        out = sys.stdout.buffer
        out.write(b"[")
        try:
            for index, value in enumerate(values):
                out.write((b", " if index else b"") + json.dumps(value, default=str).encode())
        finally:
            out.write(b"]\n")

    def pieces(self, pieces: Iterable[str]) -> None:
        """Write the command's JSON value, given as pieces of its text."""
        self._has_value = True
        for piece in pieces:
            sys.stdout.buffer.write(piece.encode())
        sys.stdout.buffer.write(b"\n")

    @property
    def prompt(self) -> str:
        """What the prompt shows: the folder, and a star while a transaction is open."""
        return f"vfs:{escaped(self.folder)}{'*' if self.in_transaction else ''}> "

    @property
    def width(self) -> int:
        """The terminal's columns."""
        return terminal_width(sys.__stdout__)

    def shown(self, name: str) -> str:
        """Return *name* as it may be shown: control characters are escaped on a terminal only."""
        return escaped(name) if self.is_terminal else name

    def report(self, message: str, status: int = 1) -> None:
        """Write an error and note the status."""
        self._errors.append(message)
        if sys.stderr.isatty():
            message = "\n".join(map(escaped, message.split("\n")))
        self.output.flush()
        sys.stderr.write(message.encode("utf-8", "backslashreplace").decode() + "\n")
        self.status = max(self.status, status)

    @contextmanager
    def reporting(self, prefix: str, status: int = 1) -> Iterator[None]:
        """Report an OSError in the with-block, after *prefix*, and go on with the next operand."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.report(f"{prefix}: {describe(error)}", status)

    @contextmanager
    def failing(self, what: str, status: int = 1) -> Iterator[None]:
        """Report an OSError in the with-block as *what*, which names the path itself, and go on with the next operand."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.report(f"{what}: {error.strerror or error}", status)

    def confirm(self, question: str, *, can_be_undone: bool = False) -> bool:
        """Ask on a terminal; without one, and for what the open transaction can undo, the answer is yes."""
        if not self.is_interactive or (can_be_undone and self.in_transaction):
            return True
        return self.ask(f"{question} [y/N] ") in ("y", "yes")

    def ask(self, question: str) -> str:
        """Return what is answered on the terminal, in small letters; Ctrl-D answers nothing."""
        self.output.flush()
        try:
            return input(escaped(question)).strip().lower()
        except EOFError:
            sys.stdout.write("\n")
            return ""

    # What the runner uses

    def start_command(self) -> None:
        """Forget what the last command left."""
        self.status = 0
        self._errors.clear()
        self._has_value = False
        if self.as_json:
            self.output = JsonText(sys.stdout.buffer.write)

    def end_command(self) -> None:
        """With `--json`, see to it that the command has written one value: its own, its output, or its error."""
        if not self.as_json:
            self.output.flush()
            return
        if not self._has_value:
            failure: dict[str, object] = {"error": "\n".join(self._errors)} if self._errors else {}
            if self.status:
                failure["status"] = self.status
            if self._errors and not (isinstance(self.output, JsonText) and self.output.is_begun):
                self.value(failure)
            elif isinstance(self.output, JsonText):
                self.output.end(failure)
        self.output = sys.stdout.buffer
        sys.stdout.buffer.flush()

    # Transactions

    @property
    def in_transaction(self) -> bool:
        """Say whether `begin` was given and neither `commit` nor `rollback`."""
        return self._open_transaction is not None

    def begin(self) -> None:
        """Open a transaction that lasts over commands."""
        if self._open_transaction is not None:
            raise UsageError("begin: a transaction is open already")
        stack = ExitStack()
        stack.enter_context(self.fs.transaction())
        self._open_transaction = stack

    def end(self, *, keep: bool) -> None:
        """Commit the open transaction, or roll it back."""
        if self._open_transaction is None:
            raise UsageError(f"{'commit' if keep else 'rollback'}: no transaction is open")
        stack, self._open_transaction = self._open_transaction, None
        if keep:
            stack.close()
        else:
            stack.__exit__(_RolledBack, _RolledBack(), None)


class _RolledBack(Exception):
    """Ends a transaction without committing it."""


def input_pieces() -> Iterator[bytes]:
    """Yield what comes from standard input, to its end: on a terminal, the first Ctrl-D."""
    source = sys.stdin.buffer
    assert isinstance(source, io.BufferedReader)  # which the type that sys gives it does not say
    while piece := source.read1(_PIECE):
        yield piece


def terminal_width(stream: TextIO | None) -> int:
    """Return how many columns a terminal that *stream* leads to has: $COLUMNS, or what it says, or 80.

    As shutil.get_terminal_size, whose module imports all that can be compressed.
    """
    with suppress(ValueError):
        columns = int(os.environ.get("COLUMNS", ""))
        if columns > 0:
            return columns
    with suppress(OSError, ValueError, AttributeError):
        if stream is not None:
            return os.get_terminal_size(stream.fileno()).columns or _WIDTH
    return _WIDTH


def escaped(text: str) -> str:
    """Return *text* with what a terminal would not show as a character written as an escape; bytes that are no UTF-8, too."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(one: str) -> str:
    is_byte = "\udc80" <= one <= "\udcff"  # as surrogateescape has it
    return f"\\x{ord(one) & 0xFF:02x}" if is_byte else one.encode("unicode_escape").decode()


def describe(error: OSError) -> str:
    """Return what coreutils would say of *error*."""
    text = error.strerror or str(error)
    name = error.filename
    return text if name is None else f"{os.fsdecode(name) or repr('')}: {text}"
