"""A session: the filesystem, the current folders, where output goes, and how a line is run."""

from __future__ import annotations

import difflib
import io
import json
import os
import sys
from contextlib import ExitStack
from typing import IO, Any

from vfs_db.shell import commands as _commands  # registers them
from vfs_db.shell.registry import COMMANDS, UsageError
from vfs_db.shell.syntax import Command, Word, parse
from vfs_db.vfs import DatabaseVFS

__all__ = ["Leave", "Session"]

_ = _commands


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

    # Running

    def run(self, text: str) -> int:
        """Run the commands in *text* and return the status: that of the last, or of the first that failed."""
        try:
            commands = parse(text)
        except ValueError as error:
            self.report(f"vfs-shell: {error}", 2)
            return 2
        status = 0
        for command in commands:
            status = self._run_one(command)
            if status and self.stops_at_failure:
                break
        return status

    def _run_one(self, command: Command) -> int:
        self.status = 0
        words = self._expanded(command.words)
        name = words[0] if words else "cat"
        try:
            registered = COMMANDS.get(name)
            if registered is None:
                raise UsageError(_unknown(name))
            options = registered.parser().parse_args(words[1:])
            if command.output is None:
                status = registered.function(self, options)
                self.output.flush()
            else:
                status = self._redirected(command, lambda: registered.function(self, options))
        except UsageError as error:
            self.report(str(error), 2)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            self.status = max(self.status, 130)
        except OSError as error:
            self.report(f"{name}: {describe(error)}")
        except (ValueError, LookupError, RecursionError) as error:
            self.report(f"{name}: {error}")
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "ourdb":
                raise
            self.report(f"{name}: {error}")
        else:
            self.status = max(self.status, status or 0)
        return self.status

    def _redirected(self, command: Command, function: Any) -> int | None:  # noqa: ANN401
        assert command.output is not None
        target = self.path(command.output.text)
        kept, kept_terminal = self.output, self.is_terminal
        self.output, self.is_terminal = io.BytesIO(), False
        try:
            status: int | None = function()
            data = self.output.getvalue()
        finally:
            self.output, self.is_terminal = kept, kept_terminal
        if not status and not self.status:
            with self.fs.open(target, "ab" if command.appends else "wb") as file:
                file.write(data)
        return status

    def _expanded(self, words: list[Word]) -> list[str]:
        result: list[str] = []
        for word in words:
            found: list[str] = []
            if word.pattern is not None and words[0].text not in _NO_GLOBS:
                found = sorted(self.fs.glob(self.path(word.pattern)))
            if found and not word.text.startswith("/"):
                prefix = self.folder.rstrip("/") + "/"
                found = [path.removeprefix(prefix) for path in found]
            result += [f"./{path}" if path.startswith("-") else path for path in found] or [word.text]
        return result


class _RolledBack(Exception):
    """Ends a transaction without committing it."""


# The host's files, and patterns that are not paths.
_NO_GLOBS = frozenset({"put", "lls", "lcd", "find", "grep", "!", "echo"})


def describe(error: OSError) -> str:
    """Return what `coreutils` would say of *error*."""
    text = error.strerror or str(error)
    name = error.filename
    if name is None:
        return text
    return f"{os.fsdecode(name)}: {text}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"; did you mean {near[0]}?" if near else "; `help` lists them"
    return f"{name}: unknown command{hint}"
