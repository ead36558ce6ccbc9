"""Threads that commit at the same time share an fdatasync, and have one of them write for all.

A thread that needs its commit durable leads, if nobody does, or waits. The leader's one fdatasync serves every commit
that was appended before it began; when it is done the served go on, and one of those that came too late leads next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["GroupSync", "GroupWriter"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_YIELDS_MAX: Final = 4
_CALM: Final = 8
"""Groups of one thread after which it counts as the only one."""


class GroupSync:
    """Which commits are durable, by their tickets: whole numbers in the order in which they were appended."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._synced = 0
        self._is_led = False
        self._batch = 1
        self._waiting: list[tuple[int, threading.Lock]] = []
        self._idle: list[threading.Lock] = []

    def mark(self, ticket: int) -> None:
        """Note that all commits up to *ticket* are durable, as a checkpoint has made them."""
        with self._mutex:
            self._synced = max(self._synced, ticket)
            self._wake()

    def wait_for(self, ticket: int, appended: Callable[[], int], sync: Callable[[], None]) -> None:
        """Return when commit *ticket* is durable; *appended* gives the newest ticket. Raises what *sync* raises."""
        while True:
            # A lock for each waiting thread, so that all are woken at once: with one that is handed from thread to
            # thread, the last of eight waits for seven others to wake, longer than the fdatasync takes.
            with self._mutex:
                if self._synced >= ticket:
                    self._wake()  # it may have been woken to lead, and a checkpoint have come before it
                    return
                if not self._is_led:
                    self._is_led = True
                    break
                gate = _closed_gate()
                self._waiting.append((ticket, gate))
            self._wait_at(gate)
        synced = 0
        try:
            self._gather(appended)
            newest = appended()
            self._batch = newest - self._synced
            sync()
            synced = newest
        finally:
            self._hand_over(synced)

    def wait_until_idle(self) -> None:
        """Return when no fdatasync is under way that began before this call."""
        with self._mutex:
            if not self._is_led:
                return
            gate = _closed_gate()
            self._idle.append(gate)
        gate.acquire()

    def _wait_at(self, gate: threading.Lock) -> None:
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C: if this thread was woken to lead, another one has to be
            with self._mutex:
                self._waiting = [waiting for waiting in self._waiting if waiting[1] is not gate]
                self._wake()
            raise

    def _gather(self, appended: Callable[[], int]) -> None:
        # Threads that were served together come back together: wait for as many as last time, but not long.
        for _ in range(_YIELDS_MAX):
            if appended() - self._synced >= self._batch:
                return
            time.sleep(0)

    def _hand_over(self, synced: int) -> None:
        with self._mutex:
            self._is_led = False
            self._synced = max(self._synced, synced)
            woken = self._woken() + self._idle
            self._idle = []
        for gate in woken:
            gate.release()

    def _wake(self) -> None:
        for gate in self._woken():
            gate.release()

    def _woken(self) -> list[threading.Lock]:
        """Take out the gates of those that are served, and of one that is to lead, if nobody does; called with the mutex held."""
        if not self._waiting:
            return []
        woken = [gate for ticket, gate in self._waiting if ticket <= self._synced]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > self._synced]
        if self._waiting and not self._is_led:
            woken.append(self._waiting.pop(0)[1])
        return woken


def _closed_gate() -> threading.Lock:
    gate = threading.Lock()
    gate.acquire()
    return gate


class _Request(Generic[_T, _R]):
    """What one thread wants written; *gate* opens when it is done, or when the thread is to lead (*leads*)."""

    __slots__ = ("gate", "is_done", "item", "leads", "result")

    def __init__(self, item: _T) -> None:
        self.item = item
        self.result: _R | None = None
        self.is_done = False
        self.leads = False
        self.gate = threading.Lock()
        self.gate.acquire()


class GroupWriter(Generic[_T, _R]):
    """Collects what threads want written; one of them, the leader, writes it all.

    Each thread writing for itself, eight of them spend more time on passing the lock on than on the disk.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queue: list[_Request[_T, _R]] = []
        self._is_led = False
        self._last = 1
        self._calm = _CALM

    def try_lead(self) -> bool:
        """Become the leader, to write for itself alone and then `hand_over`; False where several threads write just now."""
        with self._mutex:
            if self._is_led or self._calm < _CALM:
                return False
            self._is_led = True
            return True

    def hand_over(self) -> None:
        """Let one of the threads that came meanwhile lead."""
        with self._mutex:
            self._pass_on()

    def _pass_on(self) -> None:
        self._is_led = bool(self._queue)
        if self._queue:
            self._calm = 0
            self._queue[0].leads = True
            self._queue[0].gate.release()

    def write(self, item: _T, write: Callable[[list[_T]], list[_R] | None]) -> _R | None:
        """Have *item* written, by this thread's or another's *write*, and return its result; None: it was not written.

        *write* gets the items that came together, and returns their results in order, or None for none of them.
        """
        request: _Request[_T, _R] = _Request(item)
        with self._mutex:
            self._queue.append(request)
            leads = request.leads = not self._is_led
            self._is_led = True
        try:
            if not leads:  # not `request.leads`: who is given the lead from here on has a gate that is open
                request.gate.acquire()
            if not request.is_done:
                self._lead(write)
        except BaseException:
            self._withdraw(request)
            raise
        return request.result

    def _withdraw(self, request: _Request[_T, _R]) -> None:
        """Take back what nobody has begun to write, as its thread was stopped (Ctrl-C); another one leads in its place."""
        with self._mutex:
            if request in self._queue:
                self._queue.remove(request)
                if request.leads:
                    self._pass_on()

    def _lead(self, write: Callable[[list[_T]], list[_R] | None]) -> None:
        for _ in range(_YIELDS_MAX):  # as in `GroupSync._gather`
            if len(self._queue) >= self._last:
                break
            time.sleep(0)
        group: list[_Request[_T, _R]] = []
        try:
            with self._mutex:
                group, self._queue = self._queue, []
                self._last = len(group)
                self._calm = 0 if self._last > 1 else self._calm + 1
            results = write([request.item for request in group])
            if results is not None:
                for request, result in zip(group, results, strict=True):
                    request.result = result
        finally:
            if group:  # else it is still for the leader, who was stopped, to pass on
                self.hand_over()
            for request in group:
                request.is_done = True
                request.gate.release()
