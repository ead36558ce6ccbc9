"""Dependencies point the way that docs/architecture.md lists, and no other.

The list there is a fenced block that starts with ```arrows; a line `module -> module, module` names all that a module
imports of its own package and of the other one.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ourdb", "vfs_db")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Return the full names that a module's import statements name, wherever in it they stand."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def as_module(name: str) -> str | None:
    """Return the module of ours that *name*, a module or something in one, is in."""
    while name:
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def dependencies(module: str) -> set[str]:
    found = {as_module(name) for name in imported(MODULES[module])}
    return {name for name in found if name is not None and name != module}


def documented_arrows() -> dict[str, set[str]]:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    arrows: dict[str, set[str]] = {}
    for block in text.split("```arrows\n")[1:]:
        for line in block.partition("```")[0].splitlines():
            source, _, targets = line.partition("->")
            if source.strip():
                arrows[source.strip()] = {target.strip() for target in targets.split(",") if target.strip()}
    return arrows


def test_the_documented_arrows_are_the_imports() -> None:
    found = {module: dependencies(module) for module in MODULES}
    documented = documented_arrows()
    wrong = {module for module in found.keys() | documented.keys() if found.get(module) != documented.get(module)}
    lines = [
        f"{module} -> {', '.join(sorted(found[module]))}".rstrip() if module in found else f"nothing of {module}"
        for module in sorted(wrong)
    ]
    assert wrong == set(), "docs/architecture.md should say:\n" + "\n".join(lines)


def test_ourdb_never_imports_vfs_db() -> None:
    for module, path in MODULES.items():
        if module.split(".")[0] == "ourdb":
            assert not any(name.split(".")[0] == "vfs_db" for name in imported(path)), module


def test_one_module_of_vfs_db_imports_ourdb() -> None:
    """The core knows the Database protocol; only what implements `vfs_db.open` knows who implements it."""
    users = [
        module
        for module, path in MODULES.items()
        if module.split(".")[0] == "vfs_db"
        and not module.startswith("vfs_db.shell")
        and any(name.split(".")[0] == "ourdb" for name in imported(path))
    ]
    assert len(users) == 1, users


def test_nothing_of_vfs_db_imports_the_shell() -> None:
    for module in MODULES:
        if module.startswith("vfs_db") and not module.startswith("vfs_db.shell"):
            assert not any(target.startswith("vfs_db.shell") for target in dependencies(module)), module


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_form_no_circle(package: str) -> None:
    remaining = {module: dependencies(module) for module in MODULES if module.split(".")[0] == package}
    while remaining:
        leaves = {module for module, targets in remaining.items() if not targets & remaining.keys()}
        assert leaves, f"these import each other: {sorted(remaining)}"
        remaining = {module: targets for module, targets in remaining.items() if module not in leaves}


def test_only_the_standard_library_and_attrs_are_imported() -> None:
    allowed = {*PACKAGES, "attrs", *sys.stdlib_module_names}
    for module, path in MODULES.items():
        assert {name.split(".")[0] for name in imported(path)} <= allowed, module


def test_only_the_seam_calls_the_operating_system_to_write() -> None:
    """Crash tests put another `ourdb.disk` in place; a write that goes past it would not be seen by them."""
    seam = {"pwrite", "write", "ftruncate", "truncate", "fsync", "fdatasync", "rename", "replace", "unlink", "mkdir"}
    for module, path in MODULES.items():
        if module.split(".")[0] != "ourdb" or module == "ourdb.disk":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in seam, f"{path}:{node.lineno} calls os.{node.attr}"
