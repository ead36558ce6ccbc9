"""To and from the host, by a real child process: what an interrupted transfer leaves, and what is refused."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_FILES = 1500


def run(path: Path, commands: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vfs_db.shell", *flags, "-c", commands, str(path)]
    return subprocess.run(command, capture_output=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with /many, a folder of files that hold their names."""
    folder = tmp_path_factory.mktemp("transfer")
    source = folder / "many"
    source.mkdir()
    for number in range(_FILES):
        (source / f"{number:04}").write_text(f"{number:04}")
    assert run(folder / "t", f"put -r '{source}' /").returncode == 0
    return folder / "t"


def test_an_interrupted_get_leaves_whole_files_only(tree: Path, tmp_path: Path) -> None:
    statuses = set()
    for _ in range(8):  # most interrupts come where a file has just been made
        out = tmp_path / "out"
        command = [sys.executable, "-m", "vfs_db.shell", "-c", f"get -r many '{out}'", str(tree)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
            while child.poll() is None and not (out / "0100").exists():
                pass
            child.send_signal(signal.SIGINT)
        statuses.add(child.returncode)
        names = sorted(path.name for path in out.iterdir())
        assert names == [f"{number:04}" for number in range(len(names))]
        assert all(path.read_text() == path.name for path in out.iterdir())
        shutil.rmtree(out)
    assert 130 in statuses


def test_a_file_that_is_there_names_the_option_that_replaces_it(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "0001").write_text("mine")
    refused = run(tree, f"get many/0001 '{tmp_path}'")
    message = f"get: {tmp_path / '0001'}: File exists; -f replaces files, -u those that differ\n"
    assert (refused.stderr.decode(), refused.returncode) == (message, 1)
    assert (tmp_path / "0001").read_text() == "mine"
    assert run(tree, f"get -f many/0001 '{tmp_path}'").returncode == 0
    assert (tmp_path / "0001").read_text() == "0001"


def test_with_no_target_directory_a_tree_goes_to_the_name_itself(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "f").write_text("one")
    assert run(tmp_path / "t", f"put -rT '{source}' /d; put -ruT '{source}' /d").returncode == 0
    assert run(tmp_path / "t", "find d").stdout == b"d\nd/f\n"
    assert run(tmp_path / "t", f"get -rT d '{out}'; get -ruT d '{out}'").returncode == 0
    assert [path.name for path in out.iterdir()] == ["f"]
