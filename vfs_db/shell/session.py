"""A session: the filesystem, the current folder, where output goes, the transaction that is open. What commands work with."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import IO, Any

from vfs_db.vfs import DatabaseVFS

__all__ = ["Leave", "Session", "UsageError"]


class UsageError(Exception):
    """The command line is wrong; exit status 2."""


class Leave(Exception):
    """The user wants to leave."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Session:
    """What the commands work with: `fs`, the current `folder`, `print` and `write`."""

    def __init__(self, fs: DatabaseVFS, *, as_json: bool = False, is_interactive: bool = False) -> None:
        self.fs = fs
        self.folder = "/"
        self.as_json = as_json
        self.is_interactive = is_interactive
        self.stops_at_failure = not is_interactive
        self.status = 0
        self.output: IO[bytes] = sys.stdout.buffer
        self.is_terminal = sys.stdout.isatty()
        self._open_transaction: ExitStack | None = None

    # What commands use

    def path(self, text: str) -> str:
        """Return *text* as an absolute path."""
        return text if text.startswith("/") else f"{self.folder.rstrip('/')}/{text}"

    def write(self, data: bytes) -> None:
        """Write bytes to the output, as they are."""
        self.output.write(data)

    def print(self, text: str) -> None:
        """Write a line to the output."""
        self.output.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def value(self, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Write the command's JSON value."""
        self.output.write(json.dumps(value, default=str).encode() + b"\n")

    def shown(self, name: str) -> str:
        """Return *name* as it may be shown: control characters are escaped on a terminal only."""
        if not self.is_terminal or name.isprintable():
            return name
        return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)

    def report(self, message: str, status: int = 1) -> None:
        """Write an error and note the status."""
        sys.stderr.write(message.encode("utf-8", "backslashreplace").decode() + "\n")
        self.status = max(self.status, status)

    def confirm(self, question: str) -> bool:
        """Ask on a terminal; without one, the answer is yes."""
        if not self.is_interactive:
            return True
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

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
