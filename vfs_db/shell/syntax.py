"""The shell's grammar: a text becomes commands, each a list of words and perhaps a redirection. Text only.

Words are split at white space; quotes and backslashes keep characters as they are; `;` and new lines end a command; `#` at the
start of a word begins a comment; `>` and `>>` name the file that takes the output.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Command", "Word", "parse"]

_GLOB: Final = frozenset("*?[")


@attrs.frozen
class Word:
    """A word: its *text*, and the *pattern* to expand if it has `*`, `?` or `[` outside quotes (else None)."""

    text: str
    pattern: str | None = None


@attrs.define
class Command:
    """One command: its words, and where its output goes (None: to the screen)."""

    words: list[Word] = attrs.field(factory=list)
    output: Word | None = None
    appends: bool = False


@attrs.define
class _Reader:
    text: str
    at: int = 0

    def word(self) -> Word:
        """Read one word. Raises ValueError where a quote is not closed."""
        text: list[str] = []
        pattern: list[str] = []
        has_glob = False
        while self.at < len(self.text) and self.text[self.at] not in " \t\n;>":
            character = self.text[self.at]
            self.at += 1
            if character in "'\"":
                quoted = self._quoted(character)
            elif character == "\\":
                quoted = self.text[self.at : self.at + 1]
                self.at += 1
            else:
                has_glob |= character in _GLOB
                text.append(character)
                pattern.append(character)
                continue
            text.append(quoted)
            pattern += [f"[{one}]" if one in _GLOB else one for one in quoted]
        return Word("".join(text), "".join(pattern) if has_glob else None)

    def _quoted(self, quote: str) -> str:
        parts: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == quote:
                return "".join(parts)
            if character == "\\" and quote == '"' and self.text[self.at : self.at + 1] in ('"', "\\"):
                character = self.text[self.at]
                self.at += 1
            parts.append(character)
        raise ValueError(f"no closing {quote}")


def parse(text: str) -> list[Command]:
    """Return the commands in *text*. Raises ValueError with what is wrong."""
    reader = _Reader(text)
    commands = [Command()]
    while reader.at < len(text):
        character = text[reader.at]
        if character in "\n;":
            commands.append(Command())
            reader.at += 1
        elif character in " \t":
            reader.at += 1
        elif character == "#":
            end = text.find("\n", reader.at)
            reader.at = len(text) if end < 0 else end
        elif character == "!" and not commands[-1].words:
            end = text.find("\n", reader.at)
            end = len(text) if end < 0 else end
            commands[-1].words = [Word("!"), Word(text[reader.at + 1 : end])]
            reader.at = end
        elif character == ">":
            _redirect(reader, commands[-1])
        else:
            commands[-1].words.append(reader.word())
    return [command for command in commands if command.words or command.output]


def _redirect(reader: _Reader, command: Command) -> None:
    command.appends = reader.text.startswith(">>", reader.at)
    reader.at += 2 if command.appends else 1
    while reader.text[reader.at : reader.at + 1] in (" ", "\t"):
        reader.at += 1
    if command.output is not None:
        raise ValueError("more than one redirection")
    command.output = reader.word()
    if not command.output.text:
        raise ValueError("no file after >")
