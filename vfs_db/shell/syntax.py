"""The shell's grammar: a text becomes commands, each a list of words and perhaps a redirection. Text only.

Words are split at white space; quotes and backslashes keep characters as they are; `;` and new lines end a command, a backslash at
the end of a line does not; `#` at the
start of a word begins a comment; `>`, `>|` and `>>` name the file that takes the output.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from vfs_db.shell.session import UsageError

__all__ = ["GLOB", "Command", "Incomplete", "Word", "last_word", "parse"]

GLOB: Final = frozenset("*?[")
_ESCAPED: Final = frozenset('"\\$`\n')
"""What a backslash stands before within double quotes, as in bash, even if $ and ` mean nothing here."""
_SPACE: Final = frozenset(" \t\r")
_ENDS: Final = _SPACE | frozenset("\n;>|<&")
_FOREIGN: Final = {
    "|": "there are no pipes here; pipe the whole shell: vfs-shell PATH -c 'COMMAND' | ...",
    "<": "input cannot be redirected here; see `help put`",
    "&": "nothing runs in the background here, and ; separates commands",
}


class Incomplete(UsageError):
    """A quote is not closed: more lines may follow."""


class Word(NamedTuple):
    """A word: its *text*, and the *pattern* to expand if it has `*`, `?` or `[` outside quotes (else None)."""

    text: str
    pattern: str | None = None


class Command:
    """One command: its *words*, and where its *output* goes (None: to the screen).

    *appends*: to the file's end; *replaces*: in the place of what is there, without asking.
    """

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.output: Word | None = None
        self.appends = False
        self.replaces = False


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def word(self) -> Word:
        """Read one word. Raises Incomplete where a quote is not closed."""
        text: list[str] = []
        pattern: list[str] = []
        has_glob = False
        while self.at < len(self.text) and self.text[self.at] not in _ENDS:
            character = self.text[self.at]
            self.at += 1
            if character in "'\"":
                quoted = self._quoted(character)
            elif character == "\\":
                quoted = self.text[self.at : self.at + 1]
                self.at += 1
                if not quoted:
                    raise Incomplete("nothing after \\")
                if quoted == "\n":  # the line goes on
                    continue
            else:
                has_glob |= character in GLOB
                text.append(character)
                pattern.append(character)
                continue
            text.append(quoted)
            pattern += [f"[{one}]" if one in GLOB else one for one in quoted]
        return Word("".join(text), "".join(pattern) if has_glob else None)

    def _quoted(self, quote: str) -> str:
        parts: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == quote:
                return "".join(parts)
            if character == "\\" and quote == '"' and self.text[self.at : self.at + 1] in _ESCAPED:
                character = self.text[self.at].removesuffix("\n")  # the line goes on
                self.at += 1
            parts.append(character)
        raise Incomplete(f"no closing {quote}")


def parse(text: str) -> list[Command]:
    """Return the commands in *text*. Raises UsageError with what is wrong, Incomplete (a quote is not closed)."""
    reader = _Reader(text)
    commands = [Command()]
    while reader.at < len(text):
        character = text[reader.at]
        if character in "\n;":
            commands.append(Command())
            reader.at += 1
        elif character in _SPACE:
            reader.at += 1
        elif character == "#":
            end = text.find("\n", reader.at)
            reader.at = len(text) if end < 0 else end
        elif character == "!" and not commands[-1].words:
            end = text.find("\n", reader.at)
            end = len(text) if end < 0 else end
            commands[-1].words = [Word("!"), Word(text[reader.at + 1 : end].removesuffix("\r"))]
            reader.at = end
        elif character == ">":
            _redirect(reader, commands[-1])
        elif character in _FOREIGN:
            raise UsageError(f"{_FOREIGN[character]}; quote a {character} that is meant as it is")
        elif text.startswith("\\\n", reader.at):
            reader.at += 2
        else:
            commands[-1].words.append(reader.word())
    return [command for command in commands if command.words or command.output]


def _redirect(reader: _Reader, command: Command) -> None:
    command.appends = reader.text.startswith(">>", reader.at)
    command.replaces = reader.text.startswith(">|", reader.at)
    reader.at += 2 if command.appends or command.replaces else 1
    while reader.text[reader.at : reader.at + 1] in _SPACE:
        reader.at += 1
    if command.output is not None:
        raise UsageError("more than one redirection")
    command.output = reader.word()
    if not command.output.text:
        raise UsageError("no file after >")


def last_word(text: str) -> tuple[int, str, list[str]]:
    """Return (where the last word of *text* begins, the word without its quotes, the words of its command before it).

    For completion: the word may be empty, and its quote need not be closed.
    """
    start = 0
    words: list[str] = []
    reader = _Reader(text)
    while reader.at < len(text):
        start = reader.at
        character = text[reader.at]
        if character in _ENDS:
            reader.at += 1
            if character in "\n;":
                words = []
            start = reader.at
            continue
        try:
            word = reader.word().text
        except Incomplete:
            quote = _open_quote(text[start:])
            return start, _Reader(text[start:] + quote).word().text if quote else text[start:-1], words
        if reader.at == len(text):
            return start, word, words
        words.append(word)
    return start, "", words


def _open_quote(text: str) -> str:
    """Return the quote that is open at the end of *text*, a word; '' if what is open is a backslash."""
    for quote in ("'", '"'):
        try:
            _Reader(text + quote).word()
        except Incomplete:
            continue
        return quote
    return ""
