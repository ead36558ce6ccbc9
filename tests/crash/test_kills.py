"""A process that is killed loses nothing that it acknowledged, and leaves nothing by halves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def kills(*arguments: object) -> int:
    """Run the program that kills; return the number that it prints."""
    command = [sys.executable, "-m", "tests.crash.kills", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_work_that_is_killed_at_some_call_is_done_or_was_never_begun() -> None:
    """And so is what opens the folder then, and is killed too: recovery, repair, compaction."""
    assert kills("each", 1, 10) > 60


def test_no_acknowledged_commit_of_four_threads_is_lost_by_a_kill() -> None:
    assert kills("threads", 1, 40) > 1000


@pytest.mark.slow
def test_no_acknowledged_commit_of_four_threads_is_lost_by_a_thousand_kills() -> None:
    assert kills("threads", 2, 1000) > 50_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_work_that_is_killed_at_each_call_is_done_or_was_never_begun(seed: int) -> None:
    assert kills("each", seed, 1) > 600
