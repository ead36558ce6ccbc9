"""The same operations give the same answers and the same bytes as the reference, and what it wrote opens here."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

import ourdb
from tests.golden import cases

SOUND = cases.names("ks2", "ks3", "ks4", "ks6", "table_full", "disk_lookup")


def options_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the reference's config as arguments of `ourdb.new`."""
    options = dict(config)
    options["incremental_mode"] = bool(options.pop("incremental"))
    return options


def digest(data: bytes) -> dict[str, Any]:
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def file_digests(folder: Path, prefix: str) -> dict[str, dict[str, Any]]:
    """Return size and digest of each file in *folder*, by `prefix/name`, but for what the reference does not have."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != ".ourdb":
            data = path.read_bytes()
            found[f"{prefix}/{path.name}"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return found


def expected_files(case: dict[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    return {name: facts for name, facts in case["files"].items() if name.startswith(prefix + "/")}


class Replay:
    """Does the operations of one case, and compares each answer with the reference's and with a model's."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.db = ourdb.new(path=path, **options_of(config))
        self.versions: dict[int, list[bytes]] = {}

    def run(self, operations: list[dict[str, Any]]) -> None:
        for number, operation in enumerate(operations):
            expected = operation["expect"]
            where = f"operation {number}: {operation}"
            if expected["ok"]:
                getattr(self, operation["op"])(operation, expected["result"], where)
            else:
                self.refused(operation, expected["error"], where)

    def refused(self, operation: dict[str, Any], error: str, where: str) -> None:
        before = [(path.name, path.stat().st_size) for path in sorted(self.path.iterdir())]
        message = error.splitlines()[0].partition(",")[0]
        expected = ourdb.RecordNotFound if message == "Record not found" else ourdb.OurDBError
        with pytest.raises(expected, match=message):
            self.call(operation)
        assert [(path.name, path.stat().st_size) for path in sorted(self.path.iterdir())] == before, where

    def call(self, operation: dict[str, Any]) -> Any:
        db, kind, record_id = self.db, operation["op"], operation.get("id")
        if kind == "set":
            return db.set(id=record_id, data=cases.data_of(operation["data"]))
        if kind == "get_next_id":
            return db.get_next_id()
        assert record_id is not None
        if kind == "get_history":
            return db.get_history(record_id, operation["depth"])
        return {"get": db.get, "delete": db.delete, "lookup": db.lookup}[kind](record_id)

    def open(self, _operation: dict[str, Any], result: dict[str, Any], where: str) -> None:
        config = self.db.config
        assert config.keysize == result["keysize"], where
        if result["table_bytes"]:  # 0 is the reference's word for a table on disk
            assert config.table_size == result["table_bytes"], where
        if config.incremental_mode:
            assert self.db.get_next_id() == result["inc"], where

    def set(self, operation: dict[str, Any], result: int, where: str) -> None:
        assert self.call(operation) == result, where
        self.versions.setdefault(result, []).insert(0, cases.data_of(operation["data"]))

    def delete(self, operation: dict[str, Any], _result: None, where: str) -> None:
        assert self.call(operation) is None, where
        del self.versions[operation["id"]]

    def get(self, operation: dict[str, Any], result: dict[str, Any], where: str) -> None:
        data = self.call(operation)
        assert data == self.versions[operation["id"]][0], where
        assert digest(data) == {"len": result["len"], "sha256": result["sha256"]}, where

    def get_history(self, operation: dict[str, Any], result: list[dict[str, Any]], where: str) -> None:
        found = self.call(operation)
        assert found == self.versions[operation["id"]][: operation["depth"]], where
        expected = [{"len": version["len"], "sha256": version["sha256"]} for version in result]
        # The reference loses the way to older versions with a key size other than 6; what it does give is right.
        compared = found if self.db.config.keysize == 6 else found[: len(expected)]
        assert [digest(data) for data in compared] == expected, where

    def lookup(self, operation: dict[str, Any], result: dict[str, int], where: str) -> None:
        location = self.call(operation)
        assert (location.file_number, location.position) == (result["file_nr"], result["position"]), where

    def get_next_id(self, operation: dict[str, Any], result: int, where: str) -> None:
        assert self.call(operation) == result, where

    def findlast(self, _operation: dict[str, Any], result: int, where: str) -> None:
        assert max(self.db) == result, where

    def info(self, _operation: dict[str, Any], result: dict[str, Any], where: str) -> None:
        config = self.db.config
        assert config.keysize == result["keysize"], where
        assert config.file_size == result["file_size"], where
        assert config.incremental_mode == result["incremental_mode"], where
        last = max(int(path.stem) for path in self.path.glob("*.db"))
        assert last == result["last_used_file_nr"], where
        if config.incremental_mode and result["inc"] < config.record_nr_max:
            assert self.db.get_next_id() == result["inc"], where


def replayed(case: dict[str, Any], path: Path) -> Replay:
    replay = Replay(path, case["config"])
    replay.run(case["ops"])
    return replay


@pytest.mark.parametrize("name", SOUND)
def test_same_answers_and_same_bytes_as_the_reference(name: str, tmp_path: Path) -> None:
    case = cases.load(cases.unpack(name, tmp_path / "golden"))
    path = tmp_path / "db"
    replay = replayed(case, path)
    replay.db.export_data(tmp_path / "full")
    replay.db.export_sparse(tmp_path / "sparse")
    assert list(replay.db) == sorted(replay.versions)
    assert len(replay.db) == len(replay.versions)
    assert list(replay.db.check()) == []
    replay.db.close()

    assert file_digests(path, "db") == expected_files(case, "db")
    assert file_digests(path / "lookup", "lookup_data") == expected_files(case, "lookup_data")
    assert file_digests(tmp_path / "full", "lookup_data") == expected_files(case, "lookup_data")
    assert file_digests(tmp_path / "sparse", "lookup_sparse") == expected_files(case, "lookup_sparse")
    if case["disk_lookup"]:
        assert file_digests(path / "lookup", "lookup_disk") == expected_files(case, "lookup_disk")


@pytest.mark.parametrize("name", SOUND)
def test_what_was_replayed_is_there_after_reopening_by_path_alone(name: str, tmp_path: Path) -> None:
    case = cases.load(cases.unpack(name, tmp_path / "golden"))
    replay = replayed(case, tmp_path / "db")
    replay.db.close()
    with ourdb.new(path=tmp_path / "db") as db:
        assert db.config == replay.db.config
        assert_holds(db, replay.versions)
    assert file_digests(tmp_path / "db", "db") == expected_files(case, "db")


def assert_holds(db: ourdb.OurDB, versions: dict[int, list[bytes]]) -> None:
    """Assert that *db* gives back every record, its history as far as it was kept, and no other record."""
    assert list(db) == sorted(versions)
    for record_id, history in versions.items():
        assert db.get(record_id) == history[0]
        assert db.get_history(record_id, 1000) == history
    for record_id in set(range(min(db.config.record_nr_max, 300))) - versions.keys():
        with pytest.raises(ourdb.RecordNotFound):
            db.get(record_id)


def from_reference(case_folder: Path, table: str, table_as: str, path: Path) -> Path:
    """Lay out what the reference wrote as a database folder, its *table* under the name *table_as*."""
    shutil.copytree(case_folder / "db", path)
    shutil.copytree(case_folder / table, path / table_as, dirs_exist_ok=True)
    return path


def model(case: dict[str, Any]) -> dict[int, list[bytes]]:
    """Return what the case's operations leave: per id the versions, newest first."""
    versions: dict[int, list[bytes]] = {}
    for operation in case["ops"]:
        if operation["expect"]["ok"] and operation["op"] == "set":
            record_id = operation["expect"]["result"]
            versions.setdefault(record_id, []).insert(0, cases.data_of(operation["data"]))
        elif operation["expect"]["ok"] and operation["op"] == "delete":
            del versions[operation["id"]]
    return versions


def assert_goes_on(db: ourdb.OurDB, case: dict[str, Any], versions: dict[int, list[bytes]]) -> None:
    """Assert that a database of the reference's can be written on: an update continues the history."""
    record_id = min(versions)
    db.set(id=record_id, data=b"and on")
    assert db.get_history(record_id, 1000) == [b"and on", *versions[record_id]]
    facts = case["files"].get("lookup_data/.inc")
    if facts is None:
        return
    (inc,) = (op["expect"]["result"]["inc"] for op in case["ops"] if op["op"] == "info")
    if inc < db.config.record_nr_max:
        assert db.set(data=b"new") == inc
    else:
        with pytest.raises(ourdb.DatabaseFull, match="lookup table is full"):
            db.set(data=b"new")


# The reference never closes with a table of its own making; ports keep `lookup/`, it loads `lookup_dump.db/`.
LAYOUTS = [
    ("lookup_data", "lookup"),
    ("lookup_sparse", "lookup_dump.db"),
    ("lookup_sparse", "lookup_sparse"),
    ("lookup_data", "lookup_data"),
]


@pytest.mark.parametrize(("table", "table_as"), LAYOUTS)
@pytest.mark.parametrize("name", SOUND)
def test_a_folder_of_the_reference_opens_with_its_config(name: str, table: str, table_as: str, tmp_path: Path) -> None:
    case_folder = cases.unpack(name, tmp_path / "golden")
    case, versions = cases.load(case_folder), model(cases.load(case_folder))
    path = from_reference(case_folder, table, table_as, tmp_path / "db")
    with ourdb.new(path=path, **options_of(case["config"])) as db:
        assert_holds(db, versions)
        assert list(db.check()) == []
        assert_goes_on(db, case, versions)
    with ourdb.new(path=path) as db:
        assert db.get(min(versions)) == b"and on"


def is_ambiguous(case: dict[str, Any]) -> bool:
    """Say whether the table reads as slots of another size as well: in key-value mode any id may be in use.

    Wide slots that hold small locations are, read as narrower ones, empty slots between slots in use.
    """
    (keysize,) = (op["expect"]["result"]["keysize"] for op in case["ops"] if op["op"] == "info")
    record_files = [name for name in case["files"] if name.startswith("db/")]
    return keysize > 3 and not case["config"]["incremental"] and len(record_files) == 1


@pytest.mark.parametrize("table_as", ["lookup", "lookup_data"])
@pytest.mark.parametrize("name", SOUND)
def test_a_folder_of_the_reference_opens_by_its_path_alone(name: str, table_as: str, tmp_path: Path) -> None:
    """The config follows from the full table: its size, `.inc`, and what its slots point at; a tie is refused."""
    case_folder = cases.unpack(name, tmp_path / "golden")
    case, versions = cases.load(case_folder), model(cases.load(case_folder))
    path = from_reference(case_folder, "lookup_data", table_as, tmp_path / "db")
    if is_ambiguous(case):
        before = sorted(path.rglob("*"))
        with pytest.raises(ourdb.UnsupportedFormat, match="give"):
            ourdb.new(path=path)
        assert sorted(path.rglob("*")) == before
        return
    with ourdb.new(path=path) as db:
        assert db.config.record_nr_max == case["config"]["record_nr_max"]
        assert db.config.incremental_mode == bool(case["config"]["incremental"])
        assert_holds(db, versions)


@pytest.mark.parametrize("name", SOUND)
def test_opening_and_closing_a_folder_of_the_reference_changes_none_of_its_bytes(name: str, tmp_path: Path) -> None:
    case_folder = cases.unpack(name, tmp_path / "golden")
    case = cases.load(case_folder)
    path = from_reference(case_folder, "lookup_data", "lookup", tmp_path / "db")
    ourdb.new(path=path, **options_of(case["config"])).close()
    assert file_digests(path, "db") == expected_files(case, "db")
    assert file_digests(path / "lookup", "lookup_data") == expected_files(case, "lookup_data")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", SOUND)
def test_an_exported_table_is_imported_into_a_database_with_the_same_records(
    name: str, sparse: bool, tmp_path: Path
) -> None:
    """Importing the reference's table takes the database back to what that table says."""
    case_folder = cases.unpack(name, tmp_path / "golden")
    case, versions = cases.load(case_folder), model(cases.load(case_folder))
    path = from_reference(case_folder, "lookup_data", "lookup", tmp_path / "db")
    with ourdb.new(path=path, **options_of(case["config"])) as db:
        db.set(id=min(versions), data=b"to be forgotten")
        if sparse:
            db.import_sparse(case_folder / "lookup_sparse")
        else:
            db.import_data(case_folder / "lookup_data")
        assert_holds(db, versions)
    with ourdb.new(path=path) as db:
        assert_holds(db, versions)


# The reference's bugs: the same operations, answered as docs/format.md says.


def quirk(name: str, tmp_path: Path) -> tuple[dict[str, Any], ourdb.OurDB]:
    case = cases.load(cases.unpack(f"quirks/{name}", tmp_path / "golden"))
    return case, ourdb.new(path=tmp_path / "db", **options_of(case["config"]))


def sets_of(case: dict[str, Any]) -> list[bytes]:
    return [cases.data_of(operation["data"]) for operation in case["ops"] if operation["op"] == "set"]


@pytest.mark.parametrize(
    ("name", "limit", "reason"),
    [("ks2_position_wrap", 65536, "slot of 2 bytes"), ("ks4_multifile_lost", 100, "key size")],
)
def test_a_key_size_past_its_reach_is_refused_instead_of_losing_records(
    name: str, limit: int, reason: str, tmp_path: Path
) -> None:
    """The reference writes on, and later reads wrong data: positions wrap, or file numbers are lost."""
    case, db = quirk(name, tmp_path)
    taken: list[bytes] = []
    refused = 0
    for data in sets_of(case):
        size = (tmp_path / "db" / "0.db").stat().st_size
        if size >= limit:
            refused += 1
            with pytest.raises(ourdb.DatabaseFull, match=reason):
                db.set(data=data)
            assert (tmp_path / "db" / "0.db").stat().st_size == size
        else:
            assert db.set(data=data) == len(taken) + 1
            taken.append(data)
    assert refused > 0
    assert [db.get(record_id) for record_id in db] == taken
    assert sorted(path.name for path in (tmp_path / "db").glob("*.db")) == ["0.db"]
    assert list(db.check()) == []
    db.close()


def test_delete_zeroes_the_record_in_its_own_file(tmp_path: Path) -> None:
    """The reference zeroes the same place in whatever record file is open."""
    case, db = quirk("ks6_delete_wrong_file", tmp_path)
    records = sets_of(case)
    for data in records:
        db.set(data=data)
    db.delete(1)
    assert [db.get(record_id) for record_id in range(2, 7)] == records[1:]
    db.close()
    assert (tmp_path / "db" / "0.db").read_bytes()[:83] == bytes(83)
    for number in (1, 2):
        assert bytes(12) not in (tmp_path / "db" / f"{number}.db").read_bytes()


def test_empty_records_are_read_back(tmp_path: Path) -> None:
    """The reference writes a record of no bytes and can't read it; the bytes on disk are the same."""
    case, db = quirk("ks6_empty_record", tmp_path)
    versions: dict[int, list[bytes]] = {}
    for operation in case["ops"]:
        kind, record_id = operation["op"], operation.get("id")
        if kind == "set":
            data = cases.data_of(operation["data"])
            assert db.set(id=record_id, data=data) == operation["expect"]["result"]
            versions.setdefault(operation["expect"]["result"], []).insert(0, data)
        elif kind == "delete":
            db.delete(record_id)
            del versions[record_id]
        elif kind in ("get", "get_history") and record_id in versions:
            assert db.get(record_id) == versions[record_id][0]
            assert db.get_history(record_id, 3) == versions[record_id][:3]
    assert list(db.check()) == []
    db.close()
    assert file_digests(tmp_path / "db", "db") == expected_files(case, "db")
    assert file_digests(tmp_path / "db" / "lookup", "lookup_data") == expected_files(case, "lookup_data")


def test_oversize_records_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The reference writes them with a size field that wrapped, and can't read them."""
    case, db = quirk("ks6_oversize", tmp_path)
    too_large, much_too_large, small = sets_of(case)
    for data in (too_large, much_too_large):
        with pytest.raises(ourdb.RecordTooLarge, match="65535"):
            db.set(data=data)
        assert (tmp_path / "db" / "0.db").stat().st_size == 1
    assert db.get_next_id() == 1
    assert db.set(data=small) == 1
    assert db.get(1) == small
    db.close()


@pytest.mark.parametrize("name", cases.names("quirks"))
def test_a_folder_the_reference_spoiled_opens_and_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    """Each record is the data that was set, or a CorruptRecord with its path, or zeros, which are an empty record."""
    case_folder = cases.unpack(name, tmp_path / "golden")
    case = cases.load(case_folder)
    path = from_reference(case_folder, "lookup_data", "lookup", tmp_path / "db")
    try:
        db = ourdb.new(path=path, **options_of(case["config"]))
    except ourdb.OurDBError as error:
        assert str(path) in str(error)
        return
    written = {b"", *sets_of(case)}
    for record_id in db:
        try:
            assert db.get(record_id) in written
        except ourdb.CorruptRecord as error:
            assert str(path) in str(error)
    db.close()
