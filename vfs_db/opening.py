"""From two databases to a filesystem: finding the root, or making it, and the counters of ids."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sized

from vfs_db import codec
from vfs_db.chunk_tree import ChunkIds
from vfs_db.commit import WritableState
from vfs_db.counter import CorruptCounter, Counter
from vfs_db.database import Database, HasSnapshot
from vfs_db.entries import Directory, File, FSEntry
from vfs_db.errors import database_error
from vfs_db.image import Frozen, NewestEntries, is_image
from vfs_db.metadata import FileType, Metadata
from vfs_db.name_tree import Children, page_ids
from vfs_db.path import PathLike
from vfs_db.store import Store
from vfs_db.vfs import DatabaseVFS

__all__ = ["new", "open_path"]

ROOT_ID = 1


def new(
    db_data: Database, db_metadata: Database, *, strict_v1: bool = False, ns_times: bool = False, timeout: float = 0.0
) -> DatabaseVFS:
    """Return the filesystem in two databases, making an empty one if they are empty.

    They stay the filesystem's until it is closed, which closes them. *timeout*: seconds to wait for another thread's
    transaction; 0 waits without end. Raises OSError: EINVAL for databases that hold something else, EROFS for empty
    ones that can't be written, EIO for a damaged root.

    Databases that the reference wrote with its latest commits (each save under a new key) are read only, after one scan;
    `convert` makes a filesystem of them that can be written.

    *strict_v1*: all that is written stays version 1, which the reference reads, and what does not fit that is refused (OSError:
    EMLINK, EFBIG). *ns_times*: times are kept to the nanosecond, in version 2 entries.
    """
    if ns_times and strict_v1:
        raise ValueError("ns_times=True needs version 2 entries, which strict_v1=True excludes")
    if db_data is db_metadata:
        raise ValueError("data and metadata need a database each: their ids would collide")
    if is_image(db_metadata):
        db_data, db_metadata = Frozen(db_data), NewestEntries(db_metadata)
    store = Store(db_data, db_metadata)
    is_shared = store.is_read_only and isinstance(db_data, HasSnapshot) and isinstance(db_metadata, HasSnapshot)
    if is_shared:
        from vfs_db.shared import SharedState

        state: WritableState = SharedState(store, timeout=timeout)
    else:
        state = WritableState(store, timeout=timeout)
    state.strict_v1 = strict_v1
    state.ns_times = ns_times
    has_root = _has_root(db_metadata)
    if not state.store.is_read_only:
        _prepare_ids(state, has_root)
    if not has_root:
        _make_root(state)
    root = state.read(state.entry, ROOT_ID)
    if type(root) is not Directory:
        raise _foreign("record 1 of the metadata database is a file or a link, not the root directory")
    return DatabaseVFS(state)


def _foreign(what: str) -> OSError:
    return OSError(errno.EINVAL, f"these databases hold no filesystem: {what}; give two empty ones to make a new one")


def _has_root(metadata: Database) -> bool:
    try:
        codec.decode(metadata.get(ROOT_ID))
    except LookupError:
        return False
    except codec.CorruptEntry as error:
        raise _foreign(f"record 1 of the metadata database is no entry ({error})") from error
    except Exception as error:
        raise database_error(error) from error
    return True


def _prepare_ids(state: WritableState, has_root: bool) -> None:
    store = state.store
    unknown = []
    for source, database in ((store.entry_ids, store.metadata), (store.chunk_ids, store.data)):
        if not isinstance(source, Counter) or _is_loaded(source, has_root):
            continue
        if not has_root and isinstance(database, Sized) and len(database):
            raise _foreign(f"one has {len(database)} records, but there is no root directory")
        unknown.append((source, database))
    for source, database in unknown:
        source.start_at(1 + max(_highest(state, database), _last(database)) if has_root else ROOT_ID)


def _is_loaded(source: Counter, has_root: bool) -> bool:
    try:
        return source.load()
    except CorruptCounter as error:
        if not has_root:
            raise _foreign(str(error)) from error
    except Exception as error:
        if not has_root:
            raise database_error(error) from error
    return False


def _last(database: Database) -> int:
    return max(database, default=0) if isinstance(database, Iterable) else 0


def _highest(state: WritableState, database: Database) -> int:
    """Return the highest id of *database* that the tree refers to; what can't be read is passed over."""
    highest = ROOT_ID
    seen = {ROOT_ID}
    stack = [ROOT_ID]
    while stack:
        try:
            for entry_id, chunk_id in _refers_to(state.entry(stack.pop())):
                highest = max(highest, entry_id if database is state.store.metadata else chunk_id)
                if entry_id not in seen and not chunk_id:
                    seen.add(entry_id)
                    stack.append(entry_id)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ENOTSUP):
                raise
    return highest


def _refers_to(entry: FSEntry) -> Iterator[tuple[int, int]]:
    """Yield (id of an entry, 0), (id of a page, -1) or (0, id of a chunk) for all that *entry* refers to."""
    if type(entry) is Directory:
        yield from ((one_id, 0) for one_id in entry.children)
        if isinstance(entry.children, Children):
            yield from ((one_id, -1) for one_id in page_ids(entry.children))
    elif type(entry) is File:
        yield from ((0, one_id) for one_id in entry.chunk_ids)
        if isinstance(entry.chunk_ids, ChunkIds):
            yield from ((one_id, -1) for one_id in entry.chunk_ids.page_ids())


def _make_root(state: WritableState) -> None:
    store = state.store
    if store.is_read_only:
        raise OSError(
            errno.EROFS, "the databases are empty, and opened with read_only=True, so no filesystem can be made"
        )
    root_id = store.entry_ids.allocate()
    if root_id != ROOT_ID:
        store.roll_back((0, 0))
        raise _foreign(f"the metadata database gives id {root_id} where a new one gives {ROOT_ID}")
    now = state.now()
    metadata = Metadata(ROOT_ID, "", FileType.directory, 0, now, now, now, 0o755)
    try:
        store.write([(ROOT_ID, codec.encode(Directory(metadata, 0)))], [], [], [])
    except Exception as error:
        store.roll_back((0, 0))
        raise database_error(error) from error
    store.committed([], [])


def open_path(
    path: PathLike,
    synchronous: str = "normal",
    read_only: bool = False,
    timeout: float = 0.0,
    strict_v1: bool = False,
    ns_times: bool = False,
) -> DatabaseVFS:
    """Open the filesystem in folder *path* (its databases are `data` and `metadata` in it), making it if it is missing.

    *synchronous*: what a finished call survives: "normal" a killed process, "full" also a power cut, "off" a normal
    exit. *strict_v1* and *ns_times* are those of `new`. *timeout*: seconds to wait for another process that has it open for writing, and, if not 0, for another
    thread's transaction. *read_only* opens beside a writer, and writes nothing.

    Raises FileNotFoundError (read_only, and nothing there), PermissionError, ourdb.DatabaseLocked, OSError.
    """
    import ourdb

    folder = os.fspath(path)
    if read_only and not os.path.isdir(os.path.join(folder, "metadata")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    if not read_only:
        os.makedirs(folder, exist_ok=True)

    def database(name: str) -> ourdb.OurDB:
        where = os.path.join(folder, name)
        is_new = not os.path.isdir(where)
        return ourdb.new(
            path=where,
            incremental_mode=False if is_new else None,
            synchronous=synchronous,  # type: ignore[arg-type]
            read_only=read_only,
            timeout=timeout,
        )

    data = database("data")
    try:
        metadata = database("metadata")
        try:
            return new(data, metadata, strict_v1=strict_v1, ns_times=ns_times, timeout=timeout)
        except BaseException:
            metadata.close()
            raise
    except BaseException:
        data.close()
        raise
