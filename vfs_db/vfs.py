"""`DatabaseVFS`: the filesystem as its users see it: what `ReadableFS` and `WritableFS` give, and what concerns the whole."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vfs_db.commit import WritableState
from vfs_db.database import Database, HasSnapshot
from vfs_db.entries import Directory
from vfs_db.path import PathLike, as_text
from vfs_db.reading import ReadableFS
from vfs_db.resolve import place_for_file
from vfs_db.state import State
from vfs_db.store import Store
from vfs_db.writing import WritableFS

if TYPE_CHECKING:
    from vfs_db.check import Problem
    from vfs_db.maintenance import Version

__all__ = ["DatabaseVFS"]


class DatabaseVFS(WritableFS):
    """A filesystem in two databases: entries in one, content in the other. Closed by `close`, or as a with-block."""

    def __init__(self, state: WritableState) -> None:
        super().__init__(state)
        self.db_data: Database = state.databases.data
        self.db_metadata: Database = state.databases.metadata
        self.data_dir: str = getattr(self.db_data, "path", "")
        self.metadata_dir: str = getattr(self.db_metadata, "path", "")

    # The host

    def import_tree(
        self,
        host_dir: PathLike,
        path: PathLike,
        progress: Callable[[str, int], object] | None = None,
        *,
        follow_symlinks: bool = False,
        may_replace: bool | Callable[[str], bool] = True,
        update: bool = False,
        batch_size: int | None = None,
    ) -> Directory:
        """Copy what is in the host's folder *host_dir* into the directory *path*, which is made if it is missing.

        Modes, modification times (whole seconds), links and empty folders are kept; files that are there are replaced,
        if *may_replace*: it may be False (FileExistsError) or a function that is asked with the path of each, and False
        from it leaves that file. *update* leaves files that have the same size and time of modification.
        All or nothing; with *batch_size* in commits of about so many bytes, each of whole entries, so that a failure
        keeps what was committed. *progress* is called with (path, bytes) after each piece of content, and (path, 0) after
        each entry. Raises NotADirectoryError, OSError (EINVAL: a device, pipe or socket).
        """
        from vfs_db.transfer import Options, import_entries

        options = Options(progress or (lambda _path, _size: None), may_replace, update, follow_symlinks)
        with self.transaction():
            target = self._makedirs(as_text(path), 0o755, True)
            entries = import_entries(self._state, os.fspath(host_dir), target, options)
            self._advance(entries, batch_size)
        if batch_size is not None:
            is_more = True
            while is_more:
                with self.transaction():
                    is_more = self._advance(entries, batch_size)
        return self._state.entry(target.metadata.id)  # type: ignore[return-value]

    @staticmethod
    def _advance(costs: Iterator[int], batch_size: int | None) -> bool:
        """Go through *costs* until their sum is *batch_size*; say whether there may be more."""
        left = batch_size
        for cost in costs:
            if left is not None:
                left -= cost
                if left <= 0:
                    return True
        return False

    def import_file(
        self,
        host_path: PathLike,
        path: PathLike,
        progress: Callable[[str, int], object] | None = None,
        *,
        may_replace: bool | Callable[[str], bool] = True,
        update: bool = False,
    ) -> None:
        """Copy the host's file *host_path* to *path* itself, with mode and time; all or nothing. See `import_tree`."""
        from vfs_db.transfer import Options, import_one

        options = Options(progress or (lambda _path, _size: None), may_replace, update)
        with self.transaction():
            parent, name, _ = place_for_file(self._state, as_text(path), follow=True)
            import_one(self._state, os.fspath(host_path), parent, name, options)

    def export_tree(
        self,
        path: PathLike,
        host_dir: PathLike,
        progress: Callable[[str, int], object] | None = None,
        *,
        may_replace: bool | Callable[[str], bool] = True,
        update: bool = False,
    ) -> None:
        """Copy a directory to the host, see `ReadableFS.export_tree`; of one state, whatever is written meanwhile.

        Within this thread's transaction it is what the transaction sees. Over databases without snapshots writes wait.
        """
        if self._state.mine() is None and isinstance(self.db_metadata, HasSnapshot):
            with self.snapshot() as then:
                then.export_tree(path, host_dir, progress, may_replace=may_replace, update=update)
        else:
            with self._state.alone():
                super().export_tree(path, host_dir, progress, may_replace=may_replace, update=update)

    def copy_into(self, src: PathLike, dst: PathLike) -> None:
        """Copy what is in the directory *src* into the directory *dst*, as `cp -r` does: directories of one name are merged.

        Files and links that are there are replaced; all or nothing. Raises NotADirectoryError, IsADirectoryError,
        FileExistsError (a directory's copy), OSError (EINVAL: into itself).
        """
        from vfs_db.copying import copy_into

        with self.transaction():
            copy_into(self._state, as_text(src), as_text(dst))

    # The whole

    @contextmanager
    def snapshot(self) -> Iterator[ReadableFS]:
        """Give a view of the last committed state that stays as it is, for reading.

        Costs nothing until writes follow. Raises io.UnsupportedOperation where the databases have no snapshots. Beside another
        process's writer reading from it raises OSError (ESTALE) when that has taken the state away.
        """
        with self._snapshots() as store:
            yield ReadableFS(State(store))

    @contextmanager
    def _snapshots(self) -> Iterator[Store]:
        """Give both databases as they were at one moment."""
        self._state.check_open()
        data, metadata = self.db_data, self.db_metadata
        if not (isinstance(data, HasSnapshot) and isinstance(metadata, HasSnapshot)):
            raise io.UnsupportedOperation("a snapshot needs databases that have them; these have not")
        with self._state.publishing:
            data_then, metadata_then = data.snapshot(), metadata.snapshot()
        with data_then as one, metadata_then as other:
            yield Store.of_snapshots(one, other)

    def statvfs(self, path: PathLike = "/") -> os.statvfs_result:
        """Return the figures of the disk that the databases are on, as `os.statvfs`; zeros for databases in memory."""
        from vfs_db import maintenance

        self.get_followed(path)
        return maintenance.statvfs(self._state)

    def history(self, path: PathLike, limit: int = 100) -> list[Version]:
        """Return the kept versions of the entry at *path*, newest first, at most *limit*. Reads one record a version.

        Raises FileNotFoundError, io.UnsupportedOperation (a database that keeps no versions).
        """
        from vfs_db import maintenance

        return maintenance.history(self._state, self.get(path), limit)

    def check(self) -> Iterator[Problem]:
        """Yield every problem: of the tree, of the counters of ids, and of the databases. A sound one yields nothing.

        Reads all entries and chunks. Writes of this process wait meanwhile. With read_only=True, beside a writer, it is of
        the state at its beginning, and raises OSError (ESTALE) when the writer has taken that away: check again, then.
        """
        from vfs_db.check import check

        state = self._state
        state.check_open()
        if state.store is state.databases:
            yield from check(state, state.databases)
        else:
            with self._snapshots() as then:
                yield from check(WritableState(then), state.databases)

    def repair(self, orphans: str = "lost+found") -> list[Problem]:
        """Mend what `check` finds in the tree, in one commit, and return it.

        *orphans*: entries that no directory lists are put into `/lost+found`, or freed ("free"), with their content.
        """
        from vfs_db.repair import repair

        with self.transaction():
            problems = repair(self._state, orphans)
        self._state.forget()
        return problems

    def compact(self, keep_history: bool = True, *, strict_v1: bool = False) -> None:
        """Take back the space of replaced and deleted records, where the databases can; see `ourdb.OurDB.compact`.

        Each database by itself is all or nothing. Needs disk space for what stays. Writes wait meanwhile. Raises what the
        databases do: ourdb.OurDBError (a snapshot or transaction is open), ourdb.CorruptRecord, OSError (a full disk).

        *strict_v1*: make all entries version 1 first, where they fit: times are cut to whole seconds; a list that is too
        long for one record, and an entry with fields of a newer format, stay as they are.
        """
        from vfs_db import maintenance

        with self._state.alone():
            self._state.check_open()
            if strict_v1:
                from vfs_db.version_1 import to_version_1

                with self.transaction():
                    to_version_1(self._state)
            maintenance.compact(self._state, keep_history)
            self._state.store.save_counters()  # afterwards: on a full disk there is room for them only now

    def backup(self, dest: PathLike) -> None:
        """Write a copy of one committed state to the new or empty folder *dest*, which `vfs_db.open` opens.

        Reads and writes go on. Reads all files of the databases once; durable when it returns. What fails leaves nothing
        behind. Raises FileExistsError, io.UnsupportedOperation (databases that make no copies), OSError (ESTALE: another
        process writes faster than this one copies, EIO, a full disk).
        """
        from vfs_db import maintenance

        self._state.check_open()
        maintenance.backup(self._state, os.fspath(dest), self._snapshots)

    def stats(self) -> dict[str, dict[str, int | str | bool]]:
        """Return figures about the databases, under "data" and "metadata", as far as they tell: see `ourdb.OurDB.stats`."""
        from vfs_db import maintenance

        self._state.check_open()
        return maintenance.stats(self._state)

    def sync(self) -> None:
        """Make all finished calls survive a power cut, where the databases can. Costs some fsyncs.

        Waits for another thread's transaction (TimeoutError). Raises what the databases do: ourdb.OurDBError in a transaction of this
        thread, ourdb.ReadOnly.
        """
        with self._state.alone():
            self._state.check_open()
            self._state.databases.each("sync")

    def refresh(self) -> None:
        """See what another process has committed since; what was cached is read again. Costs reading the journals."""
        self._state.check_open()
        self._state.refresh()

    @property
    def is_closed(self) -> bool:
        """Say whether it was closed."""
        return self._state.is_closed

    def close(self) -> None:
        """Close the filesystem and both databases. Closing twice does nothing."""
        self._state.close()

    def destroy(self) -> None:
        """The same as `close`, under the reference's name: what was written stays."""
        self.close()

    def __repr__(self) -> str:
        what = self.metadata_dir or type(self.db_metadata).__name__
        return f"<{type(self).__name__} {what!r}{' closed' if self.is_closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
