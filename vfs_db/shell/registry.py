"""The commands: each a small function with its option parser and its help in one place.

    @command("pwd", "print the current folder")
    def pwd(session: Session, options: Namespace) -> None:
        session.print(session.folder)

A command adds its operands and options in a function that takes the parser, given as `arguments`; its help ends with
`examples`, which a test runs. With `--json` it writes one value by `session.value`; what it prints instead becomes the value
`{"output": TEXT}`.
"""

from __future__ import annotations

import argparse
import enum
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from vfs_db.shell.session import Session, UsageError, terminal_width

__all__ = [
    "COMMANDS",
    "Formatter",
    "HelpWanted",
    "Namespace",
    "Parser",
    "Patterns",
    "Registered",
    "all_operands",
    "command",
]

Namespace = argparse.Namespace


_MARK: Final = "\0"
"""Before an operand that follows `--` and looks like an option: argparse forgets the `--` when options may stand anywhere."""


_WORDING: Final = (
    (r"argument \S+: ignored explicit argument '(.).*'", r"invalid option -- '\1'"),
    (r"unrecognized arguments: (-\S+).*", r"unknown option '\1'"),
    (r"unrecognized arguments: (.*)", r"extra operand '\1'"),
    (r"the following arguments are required: (.*)", r"missing operand: \1"),
    (r"argument ([^ /:]+)\S*: expected one argument", r"option \1 needs a value"),
    (r"argument ([^ /:]+)\S*: invalid int value: (.*)", r"\1: invalid number: \2"),
    (r"argument ([^ /:]+)\S*: (.*)", r"\1: \2"),
)
"""What argparse says, and what people with coreutils in their fingers understand sooner."""


class HelpWanted(Exception):
    """`--help` stands among a command's options."""


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:  # noqa: ANN401 - argparse's
        raise HelpWanted(parser.prog)


class Formatter(argparse.HelpFormatter):
    """argparse's, as wide as the terminal; operands of which there is nothing to say are in the usage only."""

    def __init__(self, prog: str) -> None:
        # argparse makes one for each option, and would import shutil to learn the width.
        super().__init__(prog, width=terminal_width(sys.__stdout__) - 2)

    def add_argument(self, action: argparse.Action) -> None:
        """Add *action* to the list of options and operands."""
        if action.option_strings or action.help:
            super().add_argument(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """Show operands like `SOURCE... TARGET` as they are."""
        metavar = action.metavar
        return (
            metavar if isinstance(metavar, str) and "..." in metavar else super()._format_args(action, default_metavar)
        )


class Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception, `-h` is free, and options may stand between operands."""

    def __init__(self, prog: str, description: str, examples: Sequence[str]) -> None:
        super().__init__(
            prog=prog, description=description, add_help=False, allow_abbrev=False, formatter_class=Formatter
        )
        self._positionals.title = "operands"
        self._examples = examples
        self.add_argument("--help", action=_Help, nargs=0, help=argparse.SUPPRESS)

    def flag(self, option: str, dest: str, help: str) -> None:
        """Add an option without a value."""
        self.add_argument(*option.split(), dest=dest, action="store_true", help=help)

    def format_help(self) -> str:
        """Return the help: argparse's, and the examples, whose lines are not to be filled."""
        title = "\nexamples:\n" if self._examples else ""
        return super().format_help() + title + "".join(f"  {one}\n" for one in self._examples)

    def parse(self, words: Sequence[str]) -> Namespace:
        """Return the options and operands in *words*. Raises UsageError, HelpWanted."""
        end = words.index("--") if "--" in words else len(words)
        operands = [_MARK + word if word.startswith("-") else word for word in words[end + 1 :]]
        try:
            self.usage = ""  # else argparse formats it first, whether or not it is needed
            options = self.parse_intermixed_args([*words[:end], *operands])
        except UsageError as error:
            self.usage = None
            raise UsageError(f"{error}\n{self.format_usage().strip()}") from None
        for name, value in vars(options).items():
            if isinstance(value, str):
                setattr(options, name, value.removeprefix(_MARK))
            elif isinstance(value, list):
                setattr(options, name, [one.removeprefix(_MARK) for one in value])
        return options

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving the process."""
        import re

        for theirs, ours in _WORDING:
            if match := re.fullmatch(theirs, message, re.DOTALL):
                message = match.expand(ours)
                break
        raise UsageError(f"{self.prog}: {message}")


class Patterns(enum.Enum):
    """What `*`, `?` and `[...]` in a command's words match."""

    paths = enum.auto()
    """Names in the filesystem."""
    host = enum.auto()
    """Names on the host."""
    first = enum.auto()
    """Names in the filesystem, up to the first word that is an option: what follows are patterns for the command."""
    nothing = enum.auto()


def _no_arguments(_parser: Parser) -> None:
    """The command takes no operands."""


def all_operands(words: list[str]) -> list[str]:
    """Return *words* so that none of them is an option."""
    return ["--", *words]


def _as_they_are(words: list[str]) -> list[str]:
    return words


_Function = Callable[[Session, Namespace], int | None]


class Registered(NamedTuple):
    """A command: what it does, in a line, its function, what makes its parser, and what its patterns match.

    *rewrite* turns spellings that argparse has no word for (`head -5`) into ones that it has. *examples*: for its help.
    """

    name: str
    summary: str
    function: _Function
    arguments: Callable[[Parser], None]
    patterns: Patterns
    rewrite: Callable[[list[str]], list[str]]
    examples: Sequence[str]

    def parser(self) -> Parser:
        """Return the command's option parser, made when it is needed."""
        parser = Parser(self.name, self.summary, self.examples)
        self.arguments(parser)
        return parser


COMMANDS: Final[dict[str, Registered]] = {}


def command(
    name: str,
    summary: str,
    arguments: Callable[[Parser], None] = _no_arguments,
    *,
    patterns: Patterns = Patterns.paths,
    rewrite: Callable[[list[str]], list[str]] = _as_they_are,
    examples: Sequence[str] = (),
) -> Callable[[_Function], _Function]:
    """Register the decorated function as the command *name*."""

    def register(function: _Function) -> _Function:
        COMMANDS[name] = Registered(name, summary, function, arguments, patterns, rewrite, examples)
        return function

    return register
