"""A disk that lets something happen at one moment: what a writer does while another handle reads, step by step."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from ourdb.disk import Disk


class StepDisk(Disk):
    """Lets something happen before a call whose name and path (or descriptor) *at* picks; *times* times."""

    def __init__(self) -> None:
        self._plan: tuple[str, str, Callable[[], object]] = ("", "", lambda: None)
        self.times = 0
        self.written = 0

    def before(self, call: str, path: str, step: Callable[[], object], times: int = 1) -> None:
        self._plan, self.times = (call, path, step), times

    def _reached(self, call: str, path: object) -> None:
        name, end, step = self._plan
        if self.times and call == name and str(path).endswith(end):
            self.times -= 1
            step()

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> int:
        if create:
            self._reached("create", path)
        return super().open(path, create=create, read_only=read_only)

    def map(self, fd: int, size: int) -> mmap.mmap:
        self._reached("map", fd)
        return super().map(fd, size)

    def next_data(self, fd: int, position: int) -> int:
        self._reached("next_data", fd)
        return super().next_data(fd, position)

    def write_all(self, fd: int, data: bytes | bytearray | memoryview, position: int) -> None:
        self.written += len(data)
        super().write_all(fd, data, position)
