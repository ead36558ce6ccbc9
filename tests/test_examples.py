"""Each example does what it says, as a program of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ourdb

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_settings_are_changed_and_taken_back(tmp_path: Path) -> None:
    shown = run("config_store.py", tmp_path).splitlines()
    assert shown == [
        "now:    {'colour': 'red', 'size': 3}",
        "before: {'colour': 'green', 'size': 3}",
        "undone: {'colour': 'green', 'size': 3}",
    ]


def test_a_note_whose_attachment_fails_is_not_there(tmp_path: Path) -> None:
    shown = run("attachments.py", tmp_path)
    assert "refused: [Errno 2]" in shown
    assert "notes: ['garden']" in shown
    assert "{'plan.txt': 11, 'photo.jpg': 200000}" in shown
    assert "versions of the note: 2" in shown


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    command = [sys.executable, str(ROOT / "examples" / "serve.py"), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def test_files_and_ranges_are_served(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    content = os.urandom(200_000)
    (tmp_path / "folder" / "a file.bin").write_bytes(content)
    with serving(tmp_path) as url:
        with urllib.request.urlopen(f"{url}folder/a%20file.bin") as answer:
            assert answer.status == 200
            assert answer.read() == content
        request = urllib.request.Request(f"{url}folder/a%20file.bin", headers={"Range": "bytes=65530-65545"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == "bytes 65530-65545/200000"
            assert answer.read() == content[65530:65546]
        request = urllib.request.Request(f"{url}folder/a%20file.bin", headers={"Range": "bytes=200000-"})
        with pytest.raises(urllib.error.HTTPError, match="416"):
            urllib.request.urlopen(request)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}missing")


def test_a_dict_holds_a_filesystem(tmp_path: Path) -> None:
    assert run("own_database.py").splitlines() == ["Hello []"]


def test_nothing_acknowledged_is_lost_in_a_crash() -> None:
    shown = run("crash.py")
    assert shown.startswith("acknowledged before SIGKILL: 5")
    assert shown.rstrip().endswith("problems: 0")


def test_an_image_of_the_original_is_moved(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("example_cases", ROOT / "tests" / "golden" / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    sys.modules["example_cases"] = cases
    spec.loader.exec_module(cases)
    image = cases.unpack(cases.names("vfs_image")[0], tmp_path)
    for part in ("data", "metadata"):
        shutil.copytree(image / f"{part}_lookup_data", image / part / "lookup")
        ourdb.new(path=image / part, record_nr_max=3000, record_size_max=65535).close()
    before = {path: path.read_bytes() for path in image.rglob("*") if path.is_file()}
    shown = run("from_the_original.py", image, tmp_path / "moved")
    names = {item["path"].rpartition("/")[2] for item in cases.load(image)["final_tree"]}
    assert len(names) > 3
    assert [name for name in names if name not in shown] == []
    assert {path: path.read_bytes() for path in image.rglob("*") if path.is_file()} == before


def test_each_is_short() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert len(lengths) == 7
    assert {name for name, length in lengths.items() if length >= 60} == set()


def test_each_is_started_by_the_command_that_it_names() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert f"python examples/{path.name}" in path.read_text("utf-8").partition('"""\n\n')[0]
