"""Where a command's output goes when that is not the screen: into a file of the filesystem, or into a JSON text."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from typing import IO, Final, Protocol

__all__ = ["JsonText", "Output", "Spool"]

_MEMORY_MAX: Final = 1 << 20
_PIECE: Final = 1 << 18


class Output(Protocol):
    """What commands write to."""

    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class Spool:
    """Keeps what is written until the command has ended well: a little in memory, the rest in a nameless file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._is_on_disk = False

    def write(self, data: bytes) -> None:
        if not self._is_on_disk and self._file.tell() + len(data) > _MEMORY_MAX:
            from tempfile import TemporaryFile

            on_disk = TemporaryFile()  # noqa: SIM115 - closed by close
            self._file.seek(0)
            on_disk.write(self._file.read())
            self._file, self._is_on_disk = on_disk, True
        self._file.write(data)

    def flush(self) -> None:
        """Nothing: it is read when it is whole."""

    def pieces(self) -> Iterator[bytes]:
        """Yield what was written, from its beginning."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        self._file.close()


class JsonText:
    r"""Makes what is written the value of `output` in a JSON object, as it comes: bytes that are no UTF-8 become \udcXX."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self.is_begun = False

    def write(self, data: bytes) -> None:
        if not self.is_begun:
            self.is_begun = True
            self._write(b'{"output": "')
        self._put(self._decode(data))

    def flush(self) -> None:
        """Nothing: the object is closed by `end`."""

    def end(self, more: dict[str, object]) -> None:
        """Close the object, after the keys in *more*."""
        self.write(b"")
        self._put(self._decode(b"", final=True))
        self._write(b'"')
        import json

        for key, value in more.items():
            self._write(f", {json.dumps(key)}: {json.dumps(value)}".encode())
        self._write(b"}\n")

    def _put(self, text: str) -> None:
        import json

        self._write(json.dumps(text)[1:-1].encode())
