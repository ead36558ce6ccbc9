"""Pieces of work, and every state in which a power cut amid them may leave the disk: done, or never begun."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.crash.works import WORKS, Work
from tests.power_cut import Model, QuickDisk, RecordingDisk, every_state, write_state

QUICK = ("creation", "import", "compact", "recovery", "repair", "recovery of two")
"""Work that no other test of power cuts does."""


def cut_at_each_step(work: Work, place: Path, *, share: float, subsets_max: int, seed: int) -> int:
    """Examine a *share* of the states, and return how many that were."""
    root = place / "root"
    root.mkdir()
    work.prepare(root)
    before: Any = {}
    if work.name != "creation":
        shutil.copytree(root, place / "looked at")
        before = work.look(place / "looked at")
    start = Model.of(str(root))
    disk = RecordingDisk(str(root))
    work.do(root, disk)
    events = disk.events[:]
    after = work.look(root)
    choose = random.Random(f"{seed} {work.name}")
    examined = 0
    for step, files in every_state(events, start, subsets_max):
        if examined and choose.random() > share:
            continue
        examined += 1
        target = place / "state"
        target.mkdir()
        write_state(files, str(target))
        try:
            assert work.look(target, QuickDisk()) in (before, after)
        except BaseException as error:
            error.add_note(f"{work.name}, seed {seed}, state {examined}, after event {step} {events[step - 1]!r:.80}")
            raise
        shutil.rmtree(target)
    end = place / "end"
    end.mkdir()
    write_state(next(start.states(1)), str(end))  # with all that is pending lost
    assert work.look(end, QuickDisk()) == after
    print(work.name, examined)
    return examined


@pytest.mark.parametrize("work", [work for work in WORKS if work.name in QUICK], ids=lambda work: work.name)
def test_a_power_cut_leaves_work_done_or_never_begun(work: Work, tmp_path: Path) -> None:
    assert cut_at_each_step(work, tmp_path, share=0.1, subsets_max=16, seed=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_every_power_cut_leaves_work_done_or_never_begun(work: Work, tmp_path: Path) -> None:
    assert cut_at_each_step(work, tmp_path, share=1, subsets_max=64, seed=1) > 20
