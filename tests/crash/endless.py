"""`python -m tests.crash.endless`: operations at random, and power cuts amid them, until one leaves what it may not.

What failed is shrunk to the fewest operations and written to tests/crash/found/, where the tests run it from then on.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.crash.cuts import Recorded, examine

__all__ = ["attempt", "operations"]

Operation = list[Any]

_PATHS: Final = ("a", "b", "d", "d/a", "d/b", "e", "e/a")
_SIZES: Final = (0, 1, 100, 511, 512, 3000, 70_000)
_COUNT: Final = 60


def operations(seed: int) -> list[Operation]:
    """Return operations that follow from *seed*: a name, then its arguments."""
    choose = random.Random(seed)
    kinds = (
        "write",
        "write",
        "append",
        "truncate",
        "mkdir",
        "delete",
        "rename",
        "copy",
        "remove",
        "sync",
        "kill",
        "compact",
    )
    made: list[Operation] = [["full" if choose.random() < 0.3 else "normal"]]
    made += (
        [choose.choice(kinds), choose.choice(_PATHS), choose.choice(_PATHS), choose.choice(_SIZES)]
        for _ in range(choose.randrange(3, 25))
    )
    return made


def _do(recorded: Recorded, number: int, operation: Operation) -> None:
    kind, path, other, size = operation
    fs = recorded.fs
    data = bytes([number % 256]) * size
    if kind == "sync":
        recorded.synced()
    elif kind == "kill":
        recorded.killed()
    else:
        calls: dict[str, Any] = {
            "write": (fs.file_write, path, data),
            "append": (fs.file_concatenate, path, data),
            "truncate": (fs.truncate, path, size),
            "mkdir": (fs.dir_create, path),
            "delete": (fs.delete, path),
            "rename": (fs.rename, path, other),
            "copy": (fs.copy, path, other),
            "remove": (fs.remove_tree, path),
            "compact": (fs.compact,),
        }
        function, *arguments = calls[kind]

        def call() -> None:
            with suppress(OSError):  # what can't be done changes nothing, and the next state is the same
                function(*arguments)

        recorded.do(call)


def attempt(made: list[Operation], folder: Path, seed: int, count: int = _COUNT) -> int:
    """Do the operations, look at *count* states, and return how many were seen. Raises AssertionError and what opening raises."""
    source = folder / "source"
    source.mkdir()
    recorded = Recorded(source, made[0][0])
    for number, operation in enumerate(made[1:], 1):
        _do(recorded, number, operation)
    return examine(recorded, folder / "state", count, count // 10, seed)


def _fails(made: list[Operation], seed: int, count: int) -> str:
    folder = Path(tempfile.mkdtemp())
    try:
        attempt(made, folder, seed, count)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return ""


def shrunk(made: list[Operation], seed: int, count: int) -> list[Operation]:
    """Return as few of the operations as still fail."""
    at = 1
    while at < len(made):
        fewer = made[:at] + made[at + 1 :]
        if _fails(fewer, seed, count):
            made = fewer
        else:
            at += 1
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.endless", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="where to begin; chosen and printed if not given")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to end")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    started, seen = time.monotonic(), 0
    while (took := time.monotonic() - started) < arguments.seconds:
        print(f"\rseed {seed}, {seen} states, {seen / max(took, 0.001):.0f} a second", end="", flush=True)
        made = operations(seed)
        folder = Path(tempfile.mkdtemp())
        try:
            seen += attempt(made, folder, seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            print(f"\nseed {seed}: {type(error).__name__}: {error}"[:2000])
            few = shrunk(made, seed, _COUNT)
            path = Path(__file__).parent / "found" / f"{seed}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"seed": seed, "count": _COUNT, "operations": few}, indent=1) + "\n")
            print(f"{len(few) - 1} of {len(made) - 1} operations are enough: {path}")
            return 1
        finally:
            shutil.rmtree(folder)
        seed += 1
    print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
