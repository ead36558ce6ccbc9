"""Finding what is wrong with a tree.

Mending is in `repair`.

A sound tree: every entry that a directory lists can be read, names that directory as its parent, and is listed once; names
are valid and differ; chunks are there, belong to one file, and sum up to its size; no record is without an owner; no id
in use is one that the counters would give out.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import attrs

from vfs_db.chunk_tree import ChunkIds
from vfs_db.commit import WritableState
from vfs_db.counter import COUNTER_ID, CorruptCounter, Counter
from vfs_db.database import Database
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.errors import database_error
from vfs_db.id_list import IdList
from vfs_db.id_set import IdMap, IdSet
from vfs_db.name_tree import Children, find_in, page_ids, scan
from vfs_db.path import NAME_SIZE_MAX, join
from vfs_db.store import Store

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

    def __init__(self, state: WritableState) -> None:
        self.state = state
        self.entries = IdSet()
        """Those that can be reached."""
        self.chunk_owner = IdMap()
        """Chunk -> its file."""
        self._paths: dict[int, str] = {}
        """Of the directories that can be reached."""
        self.keep: dict[int, Sequence[int]] = {}
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
        self.entries.add(self.state.root_id)
        self._paths[self.state.root_id] = "/"
        stack = [self.state.root_id]
        while stack:
            directory = self._read(stack.pop())
            assert type(directory) is Directory
            below: list[int] = []
            yield from self._directory(directory, below)
            stack += reversed(below)
        yield from self._unreached()
        yield from self._counters()

    def can_be_mended(self) -> bool:
        """Say whether something was found that `repair` changes."""
        return self.is_counter_low or any(
            (self.keep, self.rename, self.resize, self.shared, self.orphans, self.orphan_chunks)
        )

    def _path(self, entry: FSEntry) -> str:
        """Return the path at which an entry was reached."""
        entry_id = entry.metadata.id
        found = self._paths.get(entry_id)
        return found or join(self._paths[entry.parent_id], self.rename.get(entry_id, entry.metadata.name))

    def _directory(self, directory: Directory, below: list[int]) -> Iterator[Problem]:
        """Look at what is in a directory, but for the directories: those are *below*."""
        path = self._paths[directory.metadata.id]
        names = _TakenNames(directory.children)
        keep = array("I")
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
            is_called_so = name == child.metadata.name.encode("utf-8", "surrogateescape")
            if name is not None and not is_called_so:
                is_wrong = True
                yield Problem("page", path, child_id, f"{child.metadata.name!r} is called {name!r:.300} in its page")
            yield from self._name(child, path, names, is_called_so)
            self.entries.add(child_id)
            if type(child) is Directory:
                self._paths[child_id] = self._path(child)
                below.append(child_id)
            elif type(child) is File:
                yield from self._file(child)
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
        entry_id, path = entry.metadata.id, self._path(entry)
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
            return f"listed in {self._path(directory)}, and in {self._path(child)} already"
        if child.parent_id != directory.metadata.id:
            return f"listed in {self._path(directory)}, but its directory is entry {child.parent_id}"
        return ""

    def _name(self, child: FSEntry, path: str, names: _TakenNames, is_called_so: bool) -> Iterator[Problem]:
        name = child.metadata.name
        size = len(name.encode("utf-8", "surrogateescape"))
        is_taken = names.has(name, is_called_so)
        is_valid = name not in ("", ".", "..") and "/" not in name and "\0" not in name and size <= NAME_SIZE_MAX
        if not is_valid:
            yield Problem("name", path, child.metadata.id, f"{name!r:.80} can be no name")
        elif is_taken:
            yield Problem("name", path, child.metadata.id, f"{name!r} is there twice; only the first can be reached")
        if not is_valid or is_taken:
            name = f"#{child.metadata.id}"
            while names.has(name, False):
                name += "_"
            self.rename[child.metadata.id] = name
        names.add(name, is_called_so and is_valid and not is_taken)

    def _file(self, file: File) -> Iterator[Problem]:
        file_id, path = file.metadata.id, self._path(file)
        total = 0
        is_whole = True
        if (yield from self._page_problems(file, file.chunk_ids)):
            self.is_partial = True  # its other chunks are not known, and must not be freed
            return
        for chunk_id in file.chunk_ids:
            is_known = chunk_id in self.chunk_owner
            owner_id = self.chunk_owner.setdefault(chunk_id, file_id)
            if is_known:
                other = self._path(self._read(owner_id))
                self.shared.append(file_id)
                yield Problem("shared", path, file_id, f"chunk {chunk_id} is a part of {other} too")
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
        adopted = {chunk for orphan in self.orphans for chunk in self.chunks_of(orphan)}
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

    def chunks_of(self, entry_id: int) -> Iterator[int]:
        """Yield the chunks of a file, as far as they can be known."""
        with suppress(OSError):  # the entry, or a page of its list, can't be read
            entry = self._read(entry_id)
            if type(entry) is File:
                yield from entry.chunk_ids

    def _counters(self) -> Iterator[Problem]:
        store = self.state.store
        for source, used, name in (
            (store.entry_ids, max(self.entries.highest(), *chain((0,), *self.pages.values())), "entry"),
            (store.chunk_ids, self.chunk_owner.highest(), "chunk"),
        ):
            if isinstance(source, Counter) and (not store.is_read_only or _load(source)) and used >= source.next_id:
                self.is_counter_low = True
                yield Problem("counter", "", 0, f"the next {name} id is {source.next_id}, but {used} is in use")


class _TakenNames:
    """The names met in a directory. Where they are in pages they ascend, so that only those that differ can be met twice."""

    def __init__(self, children: IdList) -> None:
        self._children = children if isinstance(children, Children) else None
        self._names: set[str] = set()

    def add(self, name: str, is_called_so: bool) -> None:
        if self._children is None or not is_called_so:
            self._names.add(name)

    def has(self, name: str, is_called_so: bool) -> bool:
        """Say whether *name* is another's; *is_called_so*: the page has this name for the entry that is asked about."""
        if self._children is None or is_called_so or name in self._names:
            return name in self._names
        try:
            return bool(find_in(self._children, name.encode("utf-8", "surrogateescape")))
        except OSError:
            return False


def _load(counter: Counter) -> bool:
    """Let a counter of a filesystem that gives no ids out say what it would begin with; False where a writer would search."""
    try:
        return counter.load()
    except CorruptCounter:
        return False


def _ids(database: Database) -> Iterable[int]:
    return database if isinstance(database, Iterable) else ()


def check(state: WritableState, databases: Store) -> Iterator[Problem]:
    """Yield every problem of the tree, then those that *databases*, whose state it is, find in themselves.

    Raises Overtaken where a writing process has gone on: what was found until then is of the state before.
    """
    try:
        with state.alone():
            yield from Survey(state).run()
            for name, database in (("data", databases.data), ("metadata", databases.metadata)):
                if hasattr(database, "check"):
                    for found in database.check():
                        yield Problem("database", "", 0, f"{name} database: {found}")
    except Exception as error:
        problem = database_error(error)
        if problem is error:
            raise
        raise problem from error
