"""Damaged bytes: wrong content is never given as right, nothing hangs, eats memory or raises what is not ours.

What is undamaged stays readable; after `repair`, `check` finds nothing. The default run samples; the slow one damages every
byte, cuts to every length, and makes 100,000 random changes.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.damage import images, mutations
from tests.damage.examine import DatabaseCase, TreeCase
from tests.damage.images import Image, TreeImage
from tests.damage.limits import Hung, limited
from tests.damage.mutations import Mutation

SECONDS = 5.0
SHOWN = 10


def _fault(case: DatabaseCase | TreeCase) -> list[str]:
    try:
        with limited(SECONDS):
            return case.run()
    except (Exception, Hung) as error:  # noqa: BLE001 - whatever it is, it is the finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__} {error} at {os.path.basename(place.filename)}:{place.lineno}"]


def survive(root: Path, image: Image | TreeImage, damage: Iterable[Mutation]) -> None:
    """Assert that all of *damage* is borne."""
    kind = DatabaseCase if isinstance(image, Image) else TreeCase
    found: list[str] = []
    for what, files in damage:
        fault = _fault(kind(str(root / "damaged"), image, files))  # type: ignore[arg-type]
        if fault:
            found.append(f"{image.name}: {what}: " + "; ".join(fault[:3]))
        if len(found) >= SHOWN:
            break
    assert not found, "\n".join(found)


def some(image: Image | TreeImage, count: int, seed: int) -> Iterator[Mutation]:
    """Yield nothing changed at all, then *count* random changes."""
    print(f"{image.name}: seed {seed}")
    random_ = random.Random(seed)
    yield "nothing", image.files
    for _ in range(count):
        yield mutations.one(image.files, random_)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sample_of_damage_to_databases(tmp_path: Path, seed: int) -> None:
    for image in images.databases(tmp_path):
        survive(tmp_path, image, some(image, 40, seed))


def test_a_sample_of_damage_to_filesystems(tmp_path: Path) -> None:
    for image in images.filesystems(tmp_path):
        survive(tmp_path, image, some(image, 45, 3))


@pytest.mark.parametrize("kind", [images.databases, images.filesystems])
def test_a_sample_of_damaged_bytes_and_lengths(tmp_path: Path, kind: images.Kind) -> None:
    for image in kind(tmp_path):
        each = [*mutations.every_byte(image.files), *mutations.every_length(image.files)]
        survive(tmp_path, image, random.Random(image.name).sample(each, 30))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [images.databases, images.filesystems])
def test_every_damaged_byte_and_length(tmp_path: Path, kind: images.Kind) -> None:
    for image in kind(tmp_path):
        survive(tmp_path, image, mutations.every_byte(image.files))
        survive(tmp_path, image, mutations.every_length(image.files))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [(images.databases, 94_000), (images.filesystems, 6_000)])
def test_a_hundred_thousand_random_changes(tmp_path: Path, kind: images.Kind, count: int) -> None:
    made = kind(tmp_path)
    for image in made:
        survive(tmp_path, image, some(image, count // len(made), random.SystemRandom().randrange(1 << 32)))
