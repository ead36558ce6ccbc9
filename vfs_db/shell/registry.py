"""The commands: each a small function with its option parser and its help in one place.

    @command("pwd", "print the current folder")
    def pwd(session: Session, options: Namespace) -> None:
        session.print(session.folder)

A command adds its operands and options in a function that takes the parser, given as `arguments`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn

import attrs

from vfs_db.shell.session import Session, UsageError

__all__ = ["COMMANDS", "Namespace", "Parser", "Registered", "command"]

Namespace = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception and `-h` is free."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving the process."""
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage().strip()}")


def _no_arguments(_parser: Parser) -> None:
    """The command takes no operands."""


@attrs.frozen
class Registered:
    """A command: what it does, in a line, its function, and what makes its parser."""

    name: str
    summary: str
    function: Callable[[Session, Namespace], int | None]
    arguments: Callable[[Parser], None]

    def parser(self) -> Parser:
        """Return the command's option parser, made when it is needed."""
        parser = Parser(prog=self.name, description=self.summary, add_help=False)
        self.arguments(parser)
        return parser


COMMANDS: Final[dict[str, Registered]] = {}

_Function = Callable[[Session, Namespace], int | None]


def command(
    name: str, summary: str, arguments: Callable[[Parser], None] = _no_arguments
) -> Callable[[_Function], _Function]:
    """Register the decorated function as the command *name*."""

    def register(function: _Function) -> _Function:
        COMMANDS[name] = Registered(name, summary, function, arguments)
        return function

    return register
