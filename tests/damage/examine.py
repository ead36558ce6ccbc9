"""Opens what was damaged, reads all of it, repairs it, and says what broke the promises."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable
from contextlib import suppress
from zlib import crc32

import ourdb
import vfs_db
from tests.damage.images import Files, Image, State, Tree, TreeImage, read_files, write_files
from vfs_db.entries import File, Symlink

OURS = (ourdb.OurDBError, OSError)
Place = tuple[str, int, int]

_LOST = object()
"""What a read gave that raised one of our errors."""


def is_same(files: Files, damaged: Files, places: Iterable[Place]) -> bool:
    """Say whether the damage spared all of *places*."""
    return all(damaged.get(name, b"")[start:end] == files[name][start:end] for name, start, end in places)


def record_at(damaged: Files, place: Place) -> bytes | None:
    """Return the data of what is a whole record now where another one was: nothing in it tells that it is the wrong one."""
    name, start, _ = place
    raw = damaged.get(name, b"")[start:]
    if len(raw) < 12:
        return None
    size, crc = struct.unpack_from("<HI", raw)
    data = raw[12 : 12 + size]
    return data if len(data) == size and crc32(data) == crc else None


def _is_journal(name: str) -> bool:
    return name.endswith(("journal", "joined"))


# Databases


class DatabaseCase:
    """One damaged database."""

    def __init__(self, folder: str, image: Image, damaged: Files) -> None:
        self.folder = folder
        self.image = image
        self.damaged = damaged
        self.wrong: list[str] = []
        self.written: set[int] = set()
        self.unsure: set[int] = set()
        """Ids that repair says it is not sure of."""
        files = image.files
        changed = {name for name in files.keys() | damaged.keys() if files.get(name) != damaged.get(name)}
        self.is_table_whole = "lookup/data" not in changed
        self.may_go_back = "journal" in changed

    def run(self) -> list[str]:
        """Return what went wrong."""
        write_files(self.folder, self.damaged)
        self._open("read-only", read_only=True)
        after = read_files(self.folder)
        if after != self.damaged:
            self.wrong.append("opening read-only changed the folder")
        self._open("opened", read_only=False)
        write_files(self.folder, self.damaged)
        self._repair()
        return self.wrong

    def _open(self, when: str, *, read_only: bool) -> None:
        try:
            db = ourdb.new(path=self.folder, read_only=read_only)
        except OURS:
            return
        with db:
            try:
                list(db.check())
                len(db)
                list(db)
                db.stats()
            except OURS:
                pass
            self._compare(when, db)
            if not read_only:
                self._write(db)
                if is_same(self.image.files, self.damaged, [self.image.slots[1].slot, self.image.slots[1].versions[0]]):
                    self._compare("written to", db)  # else another record may have been deleted: the slot leads there
                self.written.clear()

    def _write(self, db: ourdb.OurDB) -> None:
        """Change what is there, and add to it: that must not change what else is read."""
        for one, data in ((2, b"written"), (None if db.incremental_mode else 15, b"added"), (6, b"longer " * 9)):
            try:
                self.written.add(db.set(id=one, data=data))
            except OURS:
                self.written |= set() if one is None else {one}
        try:
            db.delete(1)
            db.sync()
        except OURS:
            pass
        self.written.add(1)

    def _repair(self) -> None:
        given = {name: value for name, value in self.image.config.items() if name != "synchronous"}
        try:
            report = ourdb.repair(self.folder)
        except OURS:
            try:
                report = ourdb.repair(self.folder, **given)
            except OURS as error:
                if any(name.endswith(".db") for name in self.damaged):
                    self.wrong.append(f"repair failed: {error}")
                return
        try:
            db = ourdb.new(path=self.folder)
        except OURS as error:
            self.wrong.append(f"after repair: {error}")
            return
        # Twelve zeros are an empty record only because a slot leads there: of two slots that lead to the same zeros, who knows.
        empty = {one for one in report.lost_ids if self.image.state.get(one, (b"x",))[0] == b""}
        self.unsure = {*report.guessed_ids, *report.duplicate_ids, *(set() if self.is_table_whole else empty)}
        with db:
            self.wrong += [f"after repair: {problem}" for problem in db.check()]
            self._compare("after repair", db)

    def _read(self, db: ourdb.OurDB) -> dict[int, object]:
        found: dict[int, object] = {}
        for one in range(self.image.config["record_nr_max"]):
            try:
                found[one] = db.get(one)
            except (ourdb.RecordNotFound, ourdb.IdOutOfRange):
                continue
            except OURS:
                found[one] = _LOST
        return found

    def _is_excused(self, one: int, value: object) -> bool:
        """Say whether the damage is of a kind that can't be noticed."""
        if one in self.unsure:
            return True
        keysize = len(self.image.files["lookup/data"]) // self.image.config["record_nr_max"]
        if not is_same(self.image.files, self.damaged, [("lookup/data", one * keysize, one * keysize + keysize)]):
            return True
        slot = self.image.slots.get(one)
        if slot is None:
            # Committed since the table was written: with the journal damaged too, nothing contradicts twelve zeros.
            return value == b"" and self.may_go_back
        # With damage in record file and journal at once, it may be an older version that became zeros.
        is_zeroed = (
            value == b"" and self.may_go_back and any(record_at(self.damaged, at) == b"" for at in slot.versions)
        )
        return is_zeroed or record_at(self.damaged, slot.versions[0]) == value

    def _compare(self, when: str, db: ourdb.OurDB) -> None:
        found = self._read(db)
        states = self.image.states if self.may_go_back else self.image.states[:1]
        faults = [self._faults(found, state) for state in states]
        best = min(faults, key=len)
        self.wrong += [f"{when}: {fault}" for fault in best]
        for one, slot in self.image.slots.items():
            if one in self.written:
                continue
            versions = self.image.state[one]
            name, start, end = slot.versions[0]
            # Twelve zeros may be a part of what came into their place: all around them has to be as it was.
            if not versions[0] and not is_same(self.image.files, self.damaged, [(name, max(0, start - 64), end + 64)]):
                continue
            if (
                one not in self.unsure
                and not self.may_go_back
                and is_same(self.image.files, self.damaged, [slot.slot, slot.versions[0]])
            ):
                if found.get(one) != versions[0]:
                    self.wrong.append(f"{when}: {one} is undamaged, but reads {_shown(found.get(one))}")
                self._history(when, db, one, versions)

    def _faults(self, found: dict[int, object], state: State) -> list[str]:
        faults = []
        for one in (found.keys() | state.keys()) - self.written:
            value = found.get(one)
            expected = state[one][0] if one in state else None
            if value not in (_LOST, None, expected) and not self._is_excused(one, value):
                faults.append(f"{one} reads {_shown(value)}, not {_shown(expected)}")
        return faults

    def _history(self, when: str, db: ourdb.OurDB, one: int, versions: tuple[bytes, ...]) -> None:
        if not self.is_table_whole or not is_same(self.image.files, self.damaged, self.image.slots[one].versions):
            return  # a slot that leads into this history ends it
        try:
            found = tuple(db.get_history(one, 100))
        except OURS as error:
            self.wrong.append(f"{when}: history of {one}: {error}")
            return
        if found != versions:
            self.wrong.append(f"{when}: history of {one} is {found!r:.100}")


def _shown(value: object) -> str:
    return "an error" if value is _LOST else "nothing" if value is None else f"{value!r:.60}"


# Filesystems


class TreeCase:
    """One damaged filesystem."""

    def __init__(self, folder: str, image: TreeImage, damaged: Files) -> None:
        self.folder = folder
        self.image = image
        self.damaged = damaged
        self.wrong: list[str] = []
        files = image.files
        changed = {name for name in files.keys() | damaged.keys() if files.get(name) != damaged.get(name)}
        self.is_table_whole = not any(name.endswith("lookup/data") for name in changed)
        self.has_whole_journal = not any(_is_journal(name) for name in changed)
        self.resized: set[str] = set()
        self.written: set[str] = set()
        self.is_sure = True
        # With both pointers gone, or one of them and a config, nobody knows the pair.
        changed_pair = [name for name in changed if name.endswith(("joined", ".ourdb"))]
        self.can_be_given = len(changed_pair) < 2
        self.may_go_back = any(_is_journal(name) for name in files) and any(
            _is_journal(name) or name.endswith(".db") for name in changed
        )

    def run(self) -> list[str]:
        """Return what went wrong."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", vfs_db.DamagedEntry)
            write_files(self.folder, self.damaged)
            self._open("read-only", read_only=True)
            if read_files(self.folder) != self.damaged:
                self.wrong.append("opening read-only changed the folder")
            self._open("opened", read_only=False)
            write_files(self.folder, self.damaged)
            self._repair()
        return self.wrong

    def _open(self, when: str, *, read_only: bool) -> None:
        try:
            fs = vfs_db.open(self.folder, read_only=read_only)
        except OURS:
            return
        try:
            with suppress(*OURS):
                list(fs.check())
            self._compare(when, fs)
            if not read_only and self.is_table_whole:
                self._write(fs)
                self._compare("written to", fs)
                self.written.clear()
        finally:
            with suppress(*OURS):
                fs.close()

    def _write(self, fs: vfs_db.DatabaseVFS) -> None:
        """Change what is there, and add to it: that must not change what else is read."""
        self.written |= {"/new", "/a/one", "/link", "/many/a", "/many/new"}
        for change in (
            lambda: fs.file_write("/new", b"new" * 30),
            lambda: fs.file_write("/a/one", b"written"),
            lambda: fs.delete("/link"),
            lambda: fs.file_write("/many/new", b"new"),
            lambda: fs.delete("/many/a"),
            fs.sync,
        ):
            with suppress(*OURS):
                change()

    def _repair(self) -> None:
        given = {"record_nr_max": 40, "record_size_max": 100, "incremental_mode": False, "keysize": 4}
        # Of a pair, the one that can be read leads to the other; a config that is lost has to be given.
        failed: list[str] = []
        for name, known in (("data", {}), ("metadata", {}), ("data", given), ("metadata", given), ("data", given)):
            try:
                report = ourdb.repair(f"{self.folder}/{name}", **known)  # type: ignore[arg-type]
                self.is_sure &= not report.duplicate_ids
            except OURS as error:
                failed.append(f"{name}: {error}")
            else:
                failed = [one for one in failed if not one.startswith(name)]
        if failed:
            if self.can_be_given and all(f"{name}/0.db" in self.damaged for name in ("data", "metadata")):
                self.wrong += [f"repair failed: {one}" for one in failed]
            return
        try:
            fs = vfs_db.open(self.folder)
        except OURS as error:
            root_places = next(iter(self.image.trees[0].values())).places[:2]
            if is_same(self.image.files, self.damaged, root_places) and self.has_whole_journal:
                self.wrong.append(f"after repair of the databases: {error}")
            return
        try:
            # A size that its chunks do not have becomes theirs, and repair says so.
            self.resized = {problem.path for problem in fs.repair() if problem.kind == "size"}
            for problem in fs.check():
                node = self.image.trees[0].get(problem.path)
                is_lost_content = problem.kind == "chunk" or (problem.kind == "page" and node and node.kind == "file")
                if not is_lost_content:
                    self.wrong.append(f"after repair: {problem}")
            self._compare("after repair", fs)
        finally:
            fs.close()

    def _read(self, fs: vfs_db.DatabaseVFS) -> dict[str, object]:
        found: dict[str, object] = {}
        try:
            for path, entry in fs.find("/"):
                if path == "/":
                    continue
                try:
                    if type(entry) is File:
                        found[path] = ("file", fs.file_read(path))
                    elif type(entry) is Symlink:
                        found[path] = ("link", fs.link_read(path).encode())
                    else:
                        found[path] = ("directory", b"")
                except OURS:
                    found[path] = _LOST
        except OURS:
            pass
        return found

    def _compare(self, when: str, fs: vfs_db.DatabaseVFS) -> None:
        found = self._read(fs)
        trees = self.image.trees if self.may_go_back else self.image.trees[:1]
        best = min((self._faults(found, tree) for tree in trees), key=len)
        self.wrong += [f"{when}: {fault}" for fault in best]
        if not (self.has_whole_journal and self.is_sure):
            return
        for path, node in self.image.trees[0].items():
            if (
                path in self.written
                or not is_same(self.image.files, self.damaged, node.places)
                or found.get(path) == (node.kind, node.content)
            ):
                continue
            try:  # a listing that breaks off elsewhere is no reason not to find this
                direct = ("file", fs.file_read(path)) if node.kind == "file" else None
                direct = direct or (
                    ("link", fs.link_read(path).encode()) if node.kind == "link" else ("directory", b"")
                )
                fs.get(path)
            except OURS as error:
                self.wrong.append(f"{when}: {path} is undamaged, but {error}")
                continue
            if direct != (node.kind, node.content):
                self.wrong.append(f"{when}: {path} is undamaged, but reads {_shown(direct)}")

    def _faults(self, found: dict[str, object], tree: Tree) -> list[str]:
        faults = []
        for path, value in found.items():
            if value is _LOST or path.startswith("/lost+found"):
                continue
            node = tree.get(path)
            if path in self.resized | self.written:
                continue
            if node is not None and value == (node.kind, node.content):
                continue
            if not self.is_table_whole:
                continue  # a slot may lead to an older version, or another chunk: docs/durability.md
            faults.append(f"{path} reads {_shown(value)}, not {_shown(node and (node.kind, node.content))}")
        return faults
