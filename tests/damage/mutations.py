"""Ways to damage a folder's files: values only."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.damage.images import Files

Mutation = tuple[str, Files]
"""What was done, and the files as they are then."""


def _with(files: Files, name: str, data: bytes) -> Files:
    return {**files, name: data}


def used(data: bytes) -> int:
    """Return where the preallocated zeros at a file's end begin, some bytes later."""
    return min(len(data), len(data.rstrip(b"\0")) + 16)


def places(data: bytes) -> Iterator[int]:
    """Yield each byte's position; of a stretch of more than 128 zeros, which a journal has between its parts, every 64th."""
    for at in range(used(data)):
        if at % 64 == 0 or any(data[max(0, at - 64) : at + 64]):
            yield at


def every_byte(files: Files) -> Iterator[Mutation]:
    """Yield each byte flipped, and each byte zeroed."""
    for name, data in sorted(files.items()):
        for at in places(data):
            yield f"{name}[{at}] flipped", _with(files, name, data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :])
            if data[at]:
                yield f"{name}[{at}] zeroed", _with(files, name, data[:at] + b"\0" + data[at + 1 :])


def every_length(files: Files) -> Iterator[Mutation]:
    """Yield each file cut to each length, and away."""
    for name, data in sorted(files.items()):
        for size in places(data):
            yield f"{name} cut to {size}", _with(files, name, data[:size])
        yield f"{name} removed", {one: kept for one, kept in files.items() if one != name}


def one(files: Files, random_: random.Random) -> Mutation:
    """Return *files* with some damage."""
    names = sorted(name for name, data in files.items() if data)
    name = random_.choice(names)
    data = files[name]
    end = used(data)
    at = random_.randrange(end)
    size = random_.choice((1, 1, 2, 4, 6, 12, 16, 64, 512))
    kind = random_.randrange(8)
    if kind == 0:
        new = data[:at] + bytes((data[at] ^ 1 << random_.randrange(8),)) + data[at + 1 :]
        return f"{name}[{at}] one bit", _with(files, name, new)
    if kind == 1:
        return f"{name}[{at}:{at + size}] random", _with(
            files, name, (data[:at] + random_.randbytes(size) + data[at + size :])[: max(len(data), at)]
        )
    if kind == 2:
        return f"{name}[{at}:{at + size}] zeroed", _with(files, name, data[:at] + bytes(size) + data[at + size :])
    if kind == 3:
        return f"{name} cut to {at}", _with(files, name, data[:at])
    if kind == 4:
        return f"{name} {size} random bytes appended", _with(files, name, data + random_.randbytes(size))
    if kind == 5:
        return f"{name}[{at}:{at + size}] taken out", _with(files, name, data[:at] + data[at + size :])
    other = random_.choice(names)
    there = random_.randrange(used(files[other]))
    here_part, there_part = data[at : at + size], files[other][there : there + size]
    if kind == 6 or other == name:
        what = f"{name}[{at}:{at + size}] from {other}[{there}]"
        return what, _with(files, name, data[:at] + there_part + data[at + len(there_part) :])
    swapped = {**files}
    swapped[name] = data[:at] + there_part + data[at + len(there_part) :]
    swapped[other] = files[other][:there] + here_part + files[other][there + len(here_part) :]
    return f"{name}[{at}] and {other}[{there}]: {size} bytes exchanged", swapped
