"""Time contenders against each other: rounds of all of them in turn, so that a slow minute hits each alike.

A contender is a function that takes an empty folder and is a context manager over `Work`. What it does before
that and `prepare` is not timed; `run` is. Times are medians over the rounds.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import attrs

__all__ = ["Contender", "Group", "Peer", "Row", "Work", "measure"]


@attrs.frozen
class Work:
    """One round: *run* does *count* operations; *prepare* puts things back before it."""

    count: int
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


Contender = Callable[[Path, int], AbstractContextManager[Work]]
"""Takes an empty folder and the percentage of the full size (100 for published figures)."""


@attrs.frozen
class Peer:
    """A contender beside ours; *at_least* and *aim* are the ratios (its time / our time) that are expected."""

    name: str
    contender: Contender
    at_least: float | None = None
    aim: float | None = None


@attrs.frozen
class Group:
    """One kind of work: ours, and the peers that do the same."""

    name: str
    work: str
    ours: Contender
    peers: tuple[Peer, ...]
    rounds: int = 7
    missing: tuple[str, ...] = ()
    """Peers that are not installed, and so not measured."""


@attrs.frozen
class Row:
    """A line of the table; seconds are per operation."""

    work: str
    seconds: float
    peer: str
    peer_seconds: float
    at_least: float | None
    aim: float | None

    @property
    def ratio(self) -> float:
        """How many times faster than the peer ours is."""
        return self.peer_seconds / self.seconds

    @property
    def verdict(self) -> str:
        """Return "below" the floor, "ok", or "aim" where that is reached too; nothing where neither was set."""
        if self.at_least is not None and self.ratio < self.at_least:
            return "below"
        if self.aim is not None and self.ratio >= self.aim:
            return "aim"
        return "" if self.at_least is None else "ok"


def measure(group: Group, folder: Path, percent: int) -> Iterable[Row]:
    """Run *group* in fresh folders below *folder* and yield a row for each peer."""
    contenders = [group.ours, *(peer.contender for peer in group.peers)]
    with ExitStack() as stack:
        works = []
        for number, contender in enumerate(contenders):
            place = folder / f"{group.name}-{number}"
            place.mkdir()
            works.append(stack.enter_context(contender(place, percent)))
        times: list[list[float]] = [[] for _ in works]
        for _ in range(group.rounds):
            for work, seconds in zip(works, times, strict=True):
                seconds.append(_timed(work))
    ours, *theirs = (statistics.median(seconds) for seconds in times)
    for peer, median in zip(group.peers, theirs, strict=True):
        yield Row(group.work, ours, peer.name, median, peer.at_least, peer.aim)


def _timed(work: Work) -> float:
    work.prepare()
    if hasattr(os, "sync"):
        os.sync()  # what the others left to be written would be written while this one is timed
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work.run()
        return (time.perf_counter() - start) / work.count
    finally:
        gc.enable()
