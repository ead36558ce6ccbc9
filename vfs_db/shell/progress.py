"""A transfer under way: a bar on standard error, on a terminal only, as wide as it is; Ctrl-C is heard between pieces."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

from vfs_db.shell.listing import human_size
from vfs_db.shell.session import terminal_width

__all__ = ["Progress"]

_INTERVAL_SECONDS: Final = 0.1
_BAR_MIN: Final = 8


class Progress:
    """Counts what imports and exports report; call it with (path, bytes), 0 bytes for an entry that is done.

    *total* gives the bytes that there will be, for the bar and the time left; it is called if there is a terminal to show
    them on. Without one, this only counts.

    In its with-block, Ctrl-C raises KeyboardInterrupt from such a call: where a file has just been made and nobody knows of it
    yet, nobody would take it away again. A second Ctrl-C raises it at once.
    """

    def __init__(self, what: str, total: Callable[[], int]) -> None:
        self._what = what
        self._is_shown = sys.stderr.isatty()
        self._total = total() if self._is_shown else 0
        self._start = self._last = time.monotonic()
        self._bytes = 0
        self._count = 0
        self._is_interrupted = False
        # Where nobody listens to Ctrl-C (a job in the background), it stays so.
        self._listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def __call__(self, _path: str, size: int) -> None:
        """Take *size* more bytes into account, or one more entry. Raises KeyboardInterrupt."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        if size:
            self._bytes += size
        else:
            self._count += 1
        if not self._is_shown:
            return
        now = time.monotonic()
        if now - self._last >= _INTERVAL_SECONDS:
            self._last = now
            self._draw(now)

    def line(self, now: float, width: int) -> str:
        """Return what is shown in *width* columns: as much as there is room for, the most important first."""
        seconds = max(now - self._start, 1e-3)
        rate = self._bytes / seconds
        parts = [
            self._what,
            f"{self._count} file{'' if self._count == 1 else 's'}",
            human_size(self._bytes),
            f"{human_size(int(rate))}/s",
        ]
        part = min(1.0, self._bytes / self._total) if self._total else None
        if part is not None:
            left = int((self._total - self._bytes) / rate) if rate and part < 1.0 else 0
            parts[1:1] = [f"{part:4.0%}"]
            parts.append(f"{left // 60}:{left % 60:02d} left")
        text = ""
        for one in parts:
            if len(text) + 1 + len(one) > width:
                break
            text += f" {one}" if text else one
        room = width - len(text) - 3
        if part is not None and room >= _BAR_MIN:
            filled = int(room * part)
            text += f" [{'#' * filled}{'.' * (room - filled)}]"
        return text[:width]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away, for what waits for the person in the with-block: Ctrl-C ends that at once."""
        if self._is_shown:
            sys.stderr.write("\r" + " " * self._width() + "\r")
            sys.stderr.flush()
        self._hear_at_once()
        try:
            yield
        finally:
            self._hear_between_pieces()

    def _hear_between_pieces(self) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._interrupt)

    def _hear_at_once(self) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._is_interrupted = True
        self._hear_at_once()

    def _width(self) -> int:
        return max(1, terminal_width(sys.stderr) - 1)

    def _draw(self, now: float) -> None:
        width = self._width()
        sys.stderr.write("\r" + self.line(now, width).ljust(width))
        sys.stderr.flush()

    def __enter__(self) -> Self:
        self._hear_between_pieces()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hear_at_once()
        if error is None:
            self._total = self._bytes  # files that were left as they are, were never read
        if self._is_shown and (self._count or self._bytes):
            self._draw(time.monotonic())
            sys.stderr.write("\n")
        if self._is_interrupted and error is None:
            raise KeyboardInterrupt
