"""Finding what is wrong with a tree.

Mending is in `repair`.

A sound tree: every entry that a directory lists can be read, names that directory as its parent, and is listed once; names
are valid and differ; chunks are there, belong to one file, and sum up to its size; no record is without an owner; no id
in use is one that the counters would give out.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable, Iterator
from itertools import chain

import attrs

from vfs_db.chunk_tree import ChunkIds
from vfs_db.commit import Commits
from vfs_db.counter import COUNTER_ID, Counter
from vfs_db.database import Database
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.id_list import IdList
from vfs_db.name_tree import Children, page_ids, scan
from vfs_db.path import NAME_SIZE_MAX, join

__all__ = ["Problem", "Survey", "check"]


@attrs.frozen
class Problem:
    """One thing that is wrong: *kind* is a fixed word, *path* and *entry_id* say where, *message* what."""

    kind: str
    path: str
    entry_id: int
    message: str

    def __str__(self) -> str:
        return f"{self.path or '?'} (entry {self.entry_id}): {self.message}"


class Survey:
    """One pass over all entries and chunks."""

    def __init__(self, state: Commits) -> None:
        self.state = state
        self.entries: dict[int, FSEntry] = {}
        self.paths: dict[int, str] = {}
        self.chunk_owner: dict[int, int] = {}
        self.keep: dict[int, list[int]] = {}
        """Directory id -> the children it should have, where that differs from those it has."""
        self.rename: dict[int, str] = {}
        self.resize: dict[int, int] = {}
        """File id -> the size that its readable chunks have."""
        self.shared: list[int] = []
        self.pages: dict[int, list[int]] = {}
        """Entry id -> the pages of its list, as far as they can be read."""
        self.is_partial = False
        """An entry of a newer format, or a file's damaged list: what it refers to is not known, so nothing is an orphan."""
        self.orphans: list[int] = []
        self.orphan_chunks: list[int] = []
        self.is_counter_low = False

    def _read(self, entry_id: int) -> FSEntry:
        return self.state.entry(entry_id)

    def run(self) -> Iterator[Problem]:
        """Yield the problems, noting what would mend them."""
        root = self._read(self.state.root_id)
        self._note(root, "/")
        stack: list[FSEntry] = [root]
        while stack:
            entry = stack.pop()
            if type(entry) is Directory:
                found: list[FSEntry] = []
                yield from self._directory(entry, found)
                stack += reversed(found)
            elif type(entry) is File:
                yield from self._file(entry)
        yield from self._unreached()
        yield from self._counters()

    def can_be_mended(self) -> bool:
        """Say whether something was found that `repair` changes."""
        return self.is_counter_low or any(
            (self.keep, self.rename, self.resize, self.shared, self.orphans, self.orphan_chunks)
        )

    def _note(self, entry: FSEntry, path: str) -> None:
        self.entries[entry.metadata.id] = entry
        self.paths[entry.metadata.id] = path

    def _directory(self, directory: Directory, found: list[FSEntry]) -> Iterator[Problem]:
        path = self.paths[directory.metadata.id]
        names: set[str] = set()
        keep: list[int] = []
        is_wrong = yield from self._page_problems(directory, directory.children)
        for name, child_id in self._items(directory.children):
            try:
                child = self._read(child_id)
            except OSError as error:
                if error.errno == errno.ENOTSUP:
                    self.is_partial = True
                    keep.append(child_id)
                    yield Problem("unsupported", path, child_id, str(error.strerror))
                    continue
                if error.errno != errno.EIO:
                    raise
                yield Problem("unreadable", path, child_id, f"listed in {path}, but {error.strerror}")
                continue
            problem = self._misplaced(directory, child)
            if problem:
                yield Problem("stale", path, child_id, problem)
                continue
            keep.append(child_id)
            if name is not None and name != child.metadata.name.encode("utf-8", "surrogateescape"):
                is_wrong = True
                yield Problem("page", path, child_id, f"{child.metadata.name!r} is called {name!r:.300} in its page")
            yield from self._name(child, path, names)
            self._note(child, join(path, self.rename.get(child_id, child.metadata.name)))
            found.append(child)
        if len(keep) != len(directory.children) or is_wrong:
            self.keep[directory.metadata.id] = keep

    def _items(self, children: IdList) -> Iterator[tuple[bytes | None, int]]:
        """Yield (name in the page, id) of all children, as far as the pages can be read; without pages no name."""
        if not isinstance(children, Children):
            yield from ((None, child_id) for child_id in children)
            return
        try:
            yield from scan(children)
        except OSError as error:
            if error.errno != errno.EIO:
                raise

    def _page_problems(self, entry: Directory | File, ids: IdList) -> Generator[Problem, None, bool]:
        """Yield what is wrong with the pages of a long list, and return whether something is."""
        if not isinstance(ids, (Children, ChunkIds)):
            return False
        entry_id, path = entry.metadata.id, self.paths[entry.metadata.id]
        pages = self.pages.setdefault(entry_id, [])
        try:
            pages.extend(page_ids(ids) if isinstance(ids, Children) else ids.page_ids())
            count = sum(1 for _ in ids)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            yield Problem("page", path, entry_id, f"its list can't be read to its end: {error.strerror}")
            return True
        if count != len(ids):
            yield Problem("page", path, entry_id, f"says {len(ids)}, its pages list {count}")
        return count != len(ids)

    def _misplaced(self, directory: Directory, child: FSEntry) -> str:
        if child.metadata.id in self.entries:
            return f"listed in {self.paths[directory.metadata.id]}, and in {self.paths[child.metadata.id]} already"
        if child.parent_id != directory.metadata.id:
            return f"listed in {self.paths[directory.metadata.id]}, but its directory is entry {child.parent_id}"
        return ""

    def _name(self, child: FSEntry, path: str, names: set[str]) -> Iterator[Problem]:
        name = child.metadata.name
        size = len(name.encode("utf-8", "surrogateescape"))
        is_valid = name not in ("", ".", "..") and "/" not in name and "\0" not in name and size <= NAME_SIZE_MAX
        if not is_valid:
            yield Problem("name", path, child.metadata.id, f"{name!r:.80} can be no name")
        elif name in names:
            yield Problem("name", path, child.metadata.id, f"{name!r} is there twice; only the first can be reached")
        if not is_valid or name in names:
            name = f"#{child.metadata.id}"
            while name in names:
                name += "_"
            self.rename[child.metadata.id] = name
        names.add(name)

    def _file(self, file: File) -> Iterator[Problem]:
        file_id, path = file.metadata.id, self.paths[file.metadata.id]
        total = 0
        is_whole = True
        if (yield from self._page_problems(file, file.chunk_ids)):
            self.is_partial = True  # its other chunks are not known, and must not be freed
            return
        for chunk_id in file.chunk_ids:
            if chunk_id in self.chunk_owner:
                other = self.paths[self.chunk_owner[chunk_id]]
                self.shared.append(file_id)
                yield Problem("shared", path, file_id, f"chunk {chunk_id} is a part of {other} too")
            self.chunk_owner.setdefault(chunk_id, file_id)
            try:
                size = len(self.state.chunks([chunk_id])[0])
                total += size
                if not size:
                    is_whole = False  # content that is there has bytes: these became zeros
                    yield Problem("chunk", path, file_id, f"chunk {chunk_id} is empty: its content is lost")
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                is_whole = False
                yield Problem("chunk", path, file_id, f"chunk {chunk_id} can't be read: {error.strerror}")
        if is_whole and total != file.metadata.size:
            self.resize[file_id] = total
            yield Problem("size", path, file_id, f"says {file.metadata.size} bytes, its chunks have {total}")

    def _unreached(self) -> Iterator[Problem]:
        store = self.state.store
        if self.is_partial:
            return
        known = {one for pages in self.pages.values() for one in pages}
        unreached = [one for one in _ids(store.metadata) if one not in self.entries and one not in known and one]
        orphan_pages = {page for one in unreached for page in self.pages_of(one)}
        for entry_id in unreached:
            if entry_id not in orphan_pages:
                self.orphans.append(entry_id)
                yield Problem("orphan", "", entry_id, "no directory that can be reached lists it")
        adopted = {chunk for orphan in self.orphans for chunk in self._chunks_of(orphan)}
        for chunk_id in _ids(store.data):
            if chunk_id not in self.chunk_owner and chunk_id != COUNTER_ID and chunk_id not in adopted:
                self.orphan_chunks.append(chunk_id)
                yield Problem("orphan", "", 0, f"chunk {chunk_id} belongs to no file")

    def pages_of(self, entry_id: int) -> list[int]:
        """Return the pages of an entry's list, none if they can't be read."""
        try:
            entry = self._read(entry_id)
            if type(entry) is File and isinstance(entry.chunk_ids, ChunkIds):
                return list(entry.chunk_ids.page_ids())
            if type(entry) is Directory and isinstance(entry.children, Children):
                return list(page_ids(entry.children))
        except OSError:
            pass
        return []

    def _chunks_of(self, entry_id: int) -> Iterable[int]:
        try:
            entry = self._read(entry_id)
        except OSError:
            return ()
        return entry.chunk_ids if type(entry) is File else ()

    def _counters(self) -> Iterator[Problem]:
        store = self.state.store
        for source, used, name in (
            (store.entry_ids, [*self.entries, *chain.from_iterable(self.pages.values())], "entry"), (store.chunk_ids, self.chunk_owner, "chunk")
        ):  # fmt: skip
            if isinstance(source, Counter) and used and max(used) >= source.next_id:
                self.is_counter_low = True
                yield Problem("counter", "", 0, f"the next {name} id is {source.next_id}, but {max(used)} is in use")


def _ids(database: Database) -> list[int]:
    return list(database) if isinstance(database, Iterable) else []


def check(state: Commits) -> Iterator[Problem]:
    """Yield every problem of the tree, then those that the databases find in themselves."""
    with state.lock:
        yield from Survey(state).run()
        for name, database in (("data", state.databases.data), ("metadata", state.databases.metadata)):
            if hasattr(database, "check"):
                for found in database.check():
                    yield Problem("database", "", 0, f"{name} database: {found}")
