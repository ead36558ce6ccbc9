"""What users see of the packages: names, help, types, what objects say of themselves."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import ourdb
import vfs_db

PACKAGES = [ourdb, vfs_db]
_AS_ELSEWHERE = ("DirEntry.", "MemoryDatabase.", "Directory.", "File.", "Symlink.", "Metadata.")
"""What `os.DirEntry` and the protocol `Database` explain, and short methods that are said in the class."""


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_shows_what_is_meant(package: ModuleType) -> None:
    assert dir(package) == sorted(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_example_of_the_package_runs(package: ModuleType) -> None:
    found = doctest.testmod(package)
    assert found.failed == 0
    assert found.attempted > 4


def functions(package: ModuleType) -> Iterator[tuple[str, object]]:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for member, method in inspect.getmembers(value):
                function = method.fget if isinstance(method, property) else method
                is_ours = (getattr(function, "__module__", None) or "").startswith(package.__name__)
                if inspect.isfunction(function) and is_ours and not member.startswith("_"):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize("package", PACKAGES)
def test_public_signatures_have_no_any(package: ModuleType) -> None:
    found = dict(functions(package))
    assert len(found) > 30
    annotations = {name: inspect.get_annotations(function) for name, function in found.items()}  # type: ignore[arg-type]
    with_any = {name for name, types in annotations.items() if re.search(r"\bAny\b", repr(types))}
    assert with_any == set()
    assert [name for name, types in annotations.items() if "return" not in types] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_help_explains_every_function(package: ModuleType) -> None:
    manual = re.sub(".\b", "", pydoc.render_doc(package))  # bold is a character over itself
    assert ">>> import" in manual
    ours = [(name, function) for name, function in functions(package) if not name.startswith(_AS_ELSEWHERE)]
    assert len(ours) > 20
    undocumented = [name for name, function in ours if not inspect.getdoc(function)]
    assert undocumented == []
    assert [name for name in package.__all__ if name not in manual] == []


def test_objects_say_what_they_are(tmp_path: Path) -> None:
    with ourdb.new(path=tmp_path / "db") as db:
        assert str(tmp_path / "db") in repr(db)
    fs = vfs_db.open(tmp_path / "image")
    assert repr(fs) == f"<DatabaseVFS {str(tmp_path / 'image' / 'metadata')!r}>"
    fs.close()
    assert repr(fs).endswith(" closed>")
    memory = vfs_db.MemoryDatabase()
    memory.set(id=1, data=b"x")
    assert repr(memory) == "<MemoryDatabase, 1 records>"
    assert repr(vfs_db.new(memory.__class__(), memory.__class__())) == "<DatabaseVFS 'MemoryDatabase'>"
