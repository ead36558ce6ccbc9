"""Time and memory limits around calls in this process, so that a test of damage needs no process of its own."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MEMORY_MAX = 64 << 20
"""Bytes of anonymous memory that damage may cost, over the size of the files."""


class Hung(BaseException):
    """A call took longer than it was given. No Exception: nothing may swallow it."""


def _anonymous_limit(extra: int) -> tuple[int, int]:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[5])
    return pages * resource.getpagesize() + extra, resource.getrlimit(resource.RLIMIT_DATA)[1]


@contextmanager
def limited(seconds: float, memory: int = MEMORY_MAX) -> Iterator[None]:
    """Raise Hung after *seconds*, MemoryError beyond *memory* more bytes of anonymous memory (Linux)."""

    def ring(_number: int, _frame: object) -> None:
        raise Hung(f"took longer than {seconds} s")

    old_limit = resource.getrlimit(resource.RLIMIT_DATA)
    if os.path.exists("/proc/self/statm"):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, _anonymous_limit(memory))
    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_DATA, old_limit)
