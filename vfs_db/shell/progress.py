"""A progress bar on standard error: files, bytes, rate; on a terminal only, as wide as it is."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Final, Self

from vfs_db.shell.listing import human_size

__all__ = ["Progress"]

_INTERVAL_SECONDS: Final = 0.1


class Progress:
    """Counts what `import_tree` and `export_tree` report; call it with (path, bytes), 0 bytes for an entry that is done.

    With *bytes_total* a bar and the time left are shown. Does nothing where standard error is no terminal.
    """

    def __init__(self, what: str, bytes_total: int = 0) -> None:
        self._what = what
        self._total = bytes_total
        self._is_shown = sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self._bytes = 0
        self._count = 0

    def __call__(self, _path: str, size: int) -> None:
        """Take *size* more bytes into account, or one more entry."""
        if size:
            self._bytes += size
        else:
            self._count += 1
        now = time.monotonic()
        if self._is_shown and now - self._last >= _INTERVAL_SECONDS:
            self._last = now
            self._draw(now)

    def _draw(self, now: float) -> None:
        width = shutil.get_terminal_size().columns - 1
        seconds = max(now - self._start, 1e-3)
        rate = self._bytes / seconds
        text = f"{self._what} {self._count} files {human_size(self._bytes)} {human_size(int(rate))}/s"
        if self._total:
            part = min(1.0, self._bytes / self._total)
            left = int((self._total - self._bytes) / rate) if rate else 0
            text += f" {part:4.0%} {left // 60}:{left % 60:02d}"
            room = width - len(text) - 3
            if room >= 8:
                filled = int(room * part)
                text += f" [{'#' * filled}{'.' * (room - filled)}]"
        sys.stderr.write("\r" + text[:width].ljust(width))
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._draw(time.monotonic())
            sys.stderr.write("\n")
