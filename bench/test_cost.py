"""The same work under pytest-benchmark: `pytest bench`; compare within a group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import GROUPS
from bench.measure import Contender, Group

CONTENDERS = [
    pytest.param(group, name, contender, id=f"{group.name}-{name}")
    for group in GROUPS
    for name, contender in [("ours", group.ours), *((peer.name, peer.contender) for peer in group.peers)]
]


@pytest.mark.parametrize(("group", "name", "contender"), CONTENDERS)
def test_cost(benchmark: Any, group: Group, name: str, contender: Contender, tmp_path: Path) -> None:
    benchmark.group = group.work
    benchmark.name = name
    with contender(tmp_path, 10) as work:
        benchmark.extra_info["operations"] = work.count

        def prepare() -> None:  # what a setup returns would be taken for the arguments of the run
            work.prepare()

        benchmark.pedantic(work.run, setup=prepare, rounds=group.rounds)
