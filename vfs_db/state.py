"""The present state of a filesystem: the databases, what was read of them (caches), what an open transaction has changed.

Readers take no lock. `version` is odd while a commit is being written and published; a read that began and ended at the same
even version has seen one state. One that did not is done again, at last while `publishing` is held, so that no
commit can come in between (`read`). Values that a reader loads enter the caches only if the version is still the same.

Locks, in the order in which they are taken: `lock` (a writer's, held for a whole transaction), `publishing` (held while a
commit is written and published). A thread with an open transaction sees its own changes, others the last commit.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from vfs_db import codec
from vfs_db.cache import Cache, Prefixes
from vfs_db.change import OpenTransaction
from vfs_db.entries import Directory, File, FSEntry, Symlink
from vfs_db.errors import database_error
from vfs_db.metadata import Metadata
from vfs_db.names import KNOWN_WEIGHT, Names, listed, read_names
from vfs_db.page import CorruptPage, Page, decode_page, peek_name
from vfs_db.store import Store
from vfs_db.weight import page_weight, weight_of

__all__ = ["NAMES_MAX", "MissingEntry", "State"]

_T = TypeVar("_T")

_ENTRIES_MAX: Final = 24 << 20
"""Bytes: of some 32,000 small files."""
NAMES_MAX: Final = 16 << 20
"""Bytes: of the hashes of two million names, where few of them were looked up."""
_LOADED_AT_ONCE: Final = 512
_PAGES_MAX: Final = 16 << 20
"""Bytes: of some 500 pages, with a few hundred names each."""
_TRIES: Final = 3


class State:
    """Entries by id, names by directory, chunks: for reading. `commit.WritableState` changes it."""

    root_id = 1

    def __init__(self, store: Store) -> None:
        self.store = store
        self.databases = store
        """The databases themselves, where `store` reads snapshots of them."""
        self.lock = threading.RLock()
        self.publishing = threading.RLock()
        self.is_closed = False
        self.version = 0
        self.prefixes = Prefixes()
        """Replaced by new ones when paths move."""
        self.transaction: OpenTransaction | None = None
        """What is open, in whatever thread."""
        self._entries: Cache[FSEntry] = Cache(_ENTRIES_MAX)
        self._names: Cache[Names] = Cache(NAMES_MAX)
        self._pages: Cache[Page] = Cache(_PAGES_MAX)

    # Reading

    def mine(self) -> OpenTransaction | None:
        """Return the transaction that this thread has open."""
        transaction = self.transaction
        return transaction if transaction is not None and transaction.thread == threading.get_ident() else None

    def read(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Return what *function* gives of one committed state (or of this thread's transaction)."""
        if self.transaction is not None and self.mine() is not None:
            return function(*arguments)
        for _ in range(_TRIES):
            version = self.version
            if version & 1:
                break
            try:
                result = function(*arguments)
            except Exception:
                if self.version == version:
                    raise
                continue
            if self.version == version:
                return result
        with self.publishing:
            return function(*arguments)

    def peek(self, path: str, follow: bool) -> FSEntry | None:
        """Return the entry at *path* if that takes nothing but the caches; None says nothing.

        The same as `resolve.locate`, written out for the usual case: it takes a third of the time.
        """
        if self.transaction is not None:
            return None
        version = self.version
        head, _, name = path.rpartition("/")
        directory_id = self.prefixes.get(head)
        if directory_id is None or version & 1:
            return None
        names = self._names.young.get(directory_id)
        if names is None:
            return None
        entry = self._entries.young.get(names.get(name, 0))
        if entry is None or (follow and type(entry) is Symlink) or self.version != version:
            return None
        return entry

    def cached(self, entry_id: int) -> FSEntry | None:
        """Return the entry with that id if it is known to be the last commit's, and no transaction is open."""
        return self._entries.young.get(entry_id) if self.transaction is None else None

    def entry(self, entry_id: int) -> FSEntry:
        """Return the entry with that id. Raises OSError (EIO) if it is missing or damaged."""
        transaction = self.transaction
        if transaction is not None and transaction.thread == threading.get_ident():
            if transaction.gone.runs and entry_id in transaction.gone:
                raise missing(entry_id)
            entry = transaction.entries.get(entry_id)
            if entry is None and transaction.written.runs and entry_id in transaction.written:
                entry = transaction.loaded.get(entry_id) or self._load(entry_id, transaction)
            if entry is not None:
                return as_entry(entry_id, entry)
        return self._entries.young.get(entry_id) or self._find(entry_id)

    def _find(self, entry_id: int) -> FSEntry:
        with self.publishing:
            entry = self._entries.get(entry_id)
            if entry is not None:
                self._entries.put(entry_id, entry, weight_of(entry))
                return entry
        return self._load(entry_id, None)

    def _load(self, entry_id: int, transaction: OpenTransaction | None) -> FSEntry:
        version = self.version
        entry = self.decoded(entry_id, self._raw(entry_id))
        if transaction is not None:
            transaction.loaded.put(entry_id, entry, weight_of(entry))
        else:
            self._keep(entry, version)
        return entry

    def page(self, page_id: int, owner_id: int) -> Page:
        """Return a page of the list of entry *owner_id*. Raises OSError (EIO) if it is missing, damaged or another's."""
        transaction = self.mine() if self.transaction is not None else None
        found: object = None
        if transaction is not None:
            found = transaction.entries.get(page_id)
            if page_id in transaction.gone:
                raise missing(page_id)
            found = found or transaction.loaded.get(page_id)
        if found is None and (transaction is None or page_id not in transaction.written):
            found = self._pages.young.get(page_id)
        page = self._load_page(page_id, transaction) if found is None else found
        if isinstance(page, (Directory, File, Symlink)) or page.owner_id != owner_id:  # type: ignore[attr-defined]
            raise damaged(owner_id, f"record {page_id} is no page of it")
        return page  # type: ignore[return-value]

    def peek_name(self, page_id: int, owner_id: int, name: bytes) -> int | None:
        """Return `page.peek_name` of a page that is not held decoded; None says nothing."""
        if self.transaction is not None or self._pages.young.get(page_id) is not None:
            return None
        return peek_name(self._raw(page_id), page_id, owner_id, name)

    def _load_page(self, page_id: int, transaction: OpenTransaction | None) -> Page:
        version = self.version
        try:
            page = decode_page(self._raw(page_id))
        except CorruptPage as error:
            raise damaged(page_id, str(error)) from error
        if page.id != page_id:
            raise damaged(page_id, f"the record holds page {page.id}")
        if transaction is not None:
            transaction.loaded.put(page_id, page, page_weight(page))
            return page
        with self.publishing:
            if version == self.version and not version & 1:
                self._pages.put(page_id, page, page_weight(page))
        return page

    def _keep(self, entry: FSEntry, version: int) -> None:
        with self.publishing:
            if version == self.version and not version & 1:
                self._entries.put(entry.metadata.id, entry, weight_of(entry))

    def check_open(self) -> None:
        """Raise ValueError if the filesystem was closed. The caches are empty then, so every call comes by here."""
        if self.is_closed:
            raise ValueError("the filesystem is closed; open it again")

    def _raw(self, entry_id: int) -> bytes:
        self.check_open()
        try:
            return self.store.metadata.get(entry_id)
        except LookupError as error:
            raise missing(entry_id) from error
        except Exception as error:
            raise database_error(error) from error

    def decoded(self, entry_id: int, data: bytes) -> FSEntry:
        """Return the entry in *data*, which was found under *entry_id*. Raises OSError (EIO)."""
        try:
            entry = codec.decode(data, self)
        except codec.UnsupportedEntry as error:
            raise OSError(errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: {error}") from error
        except codec.CorruptEntry as error:
            raise damaged(entry_id, str(error)) from error
        if entry.metadata.id != entry_id:
            raise damaged(entry_id, f"the record holds entry {entry.metadata.id}")
        return entry

    def path_of(self, entry_id: int) -> str:
        """Return the present path of an entry. Raises FileNotFoundError if it is gone, OSError (EIO) for a loop."""
        return self.read(self._path_of, entry_id)

    def _path_of(self, entry_id: int) -> str:
        try:
            names = [entry.metadata.name for entry in self.upwards(entry_id)]
        except MissingEntry as error:
            raise FileNotFoundError(errno.ENOENT, f"entry {entry_id} is gone") from error
        return "/" + "/".join(reversed(names))

    def upwards(self, entry_id: int) -> Iterator[FSEntry]:
        """Yield an entry and the directories that it is in, but for the root. Raises OSError (EIO) for a circle."""
        seen: set[int] = set()
        current = entry_id
        while current != self.root_id:
            if current in seen:
                raise damaged(entry_id, "its parents lead in a circle")
            seen.add(current)
            entry = self.entry(current)
            yield entry
            current = entry.parent_id

    def names(self, directory: Directory) -> Names:
        """Return the names in *directory*, without those that this thread's transaction has added or removed."""
        directory_id = directory.metadata.id
        transaction = self.transaction
        if transaction is not None and transaction.thread == threading.get_ident():
            names = transaction.maps.get(directory_id)
            if names is not None:
                return names
            if directory_id in transaction.written or directory_id in transaction.entries:
                return self._fill_privately(directory, transaction)
        names = self._names.young.get(directory_id)
        return self._find_names(directory) if names is None else names

    def _fill_privately(self, directory: Directory, transaction: OpenTransaction) -> Names:
        directory_id = directory.metadata.id
        names = None if directory_id in transaction.written else self._names.get(directory_id)
        if names is None:
            names = self._read_names(directory, transaction.entries)
            transaction.keep_map(directory_id, names, NAMES_MAX)
        return names

    def _find_names(self, directory: Directory) -> Names:
        directory_id = directory.metadata.id
        with self.publishing:
            version = self.version
            names = self._names.get(directory_id)
            if names is not None:
                self._names.put(directory_id, names, names.weight())
                return names
        names = self._read_names(directory, self._entries.young)
        with self.publishing:
            is_present = self._entries.get(directory_id) is directory  # it may be older than *version*
            if is_present and version == self.version and not version & 1:
                self._names.put(directory_id, names, names.weight())
        return names

    def _read_names(self, directory: Directory, known: Mapping[int, FSEntry | Page]) -> Names:
        """Return the names in *directory*, read of the entries as they are stored but for those *known*."""
        names = listed(directory, known)
        return read_names(directory.children, known, self.store.metadata.get, self._raw) if names is None else names

    def learn(self, directory_id: int, names: Names, found: Metadata, version: int) -> None:
        """Note in *names*, which were those of a directory at *version*, where a name was found to lead."""
        if self.transaction is None or self.mine() is None:
            with self.publishing:
                if version == self.version and not version & 1:
                    if found.name not in names and self._names.get(directory_id) is names:
                        self._names.grown(directory_id, KNOWN_WEIGHT)
                    names[found.name] = found.id

    def entries(self, ids: Sequence[int], damage: list[str] | None = None) -> list[FSEntry]:
        """Return the entries with those ids. What can't be read is left out, and why is added to *damage*, or raised without."""
        if self.transaction is None:
            young = self._entries.young
            known = [young.get(one_id) for one_id in ids]
            if all(known):
                return known  # type: ignore[return-value]
        found = []
        missing = [one_id for one_id in ids if self._entries.get(one_id) is None]
        if len(missing) > 1 and self.mine() is None:
            self._load_many(missing)
        for one_id in ids:
            try:
                found.append(self.entry(one_id))
            except OSError as error:
                if damage is None or error.errno not in (errno.EIO, errno.ENOTSUP):
                    raise
                damage.append(str(error.strerror))
        return found

    def _load_many(self, ids: list[int]) -> None:
        """Bring entries into the cache, as far as they can be read; the caller finds out about the rest."""
        get = self.store.metadata.get
        for start in range(0, len(ids), _LOADED_AT_ONCE):
            version = self.version
            part = ids[start : start + _LOADED_AT_ONCE]
            try:
                loaded = [self.decoded(one_id, get(one_id)) for one_id in part]
            except Exception:  # noqa: BLE001 - the caller reports it
                return  # one by one, then
            with self.publishing:
                if version == self.version and not version & 1:
                    for entry in loaded:
                        self._entries.put(entry.metadata.id, entry, weight_of(entry))

    def chunks(self, ids: Sequence[int]) -> list[bytes]:
        """Return the content of chunks. Raises OSError (EIO) for one that is missing or damaged."""
        transaction = self.transaction
        staged = transaction.staged_chunks if transaction is not None and transaction.staged_chunks else None
        if staged is not None and self.mine() is not None:
            return [staged[one_id] if one_id in staged else self._chunk(one_id) for one_id in ids]
        if len(ids) == 1:
            return [self._chunk(ids[0])]
        get = self.store.data.get
        try:
            return [get(one_id) for one_id in ids]
        except LookupError:
            return [self._chunk(one_id) for one_id in ids]
        except Exception as error:
            raise database_error(error) from error

    def _chunk(self, chunk_id: int) -> bytes:
        try:
            return self.store.data.get(chunk_id)
        except LookupError as error:
            message = f"{os.strerror(errno.EIO)}: chunk {chunk_id} is missing from the data database; see check()"
            raise OSError(errno.EIO, message) from error
        except Exception as error:
            raise database_error(error) from error


class MissingEntry(OSError):
    """EIO: no record is there under an entry's id."""


def missing(entry_id: int) -> MissingEntry:
    """Return the error for an entry without a record."""
    message = f"entry {entry_id} is missing from the metadata database; check() finds what refers to it"
    return MissingEntry(errno.EIO, f"{os.strerror(errno.EIO)}: {message}")


def as_entry(entry_id: int, found: FSEntry | Page) -> FSEntry:
    """Return what was found as an entry. Raises OSError (EIO) for a page."""
    if isinstance(found, (Directory, File, Symlink)):
        return found
    raise damaged(entry_id, "the record holds a page")


def damaged(entry_id: int, why: str) -> OSError:
    """Return the error for an entry whose record can't be what was written."""
    return OSError(errno.EIO, f"{os.strerror(errno.EIO)}: entry {entry_id}: {why}; check() finds all damage")
