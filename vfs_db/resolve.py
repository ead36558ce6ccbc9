"""From a path to the entry it names, through directories, '..' and symbolic links."""

from __future__ import annotations

import errno
from typing import Final, TypeAlias

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.errors import os_error
from vfs_db.path import check_name, names_directory, parts
from vfs_db.state import State
from vfs_db.tree import find

__all__ = ["LINKS_MAX", "Place", "directory", "entry", "locate", "locate_both", "place_for_file"]

LINKS_MAX: Final = 40

Place: TypeAlias = "tuple[Directory, str, FSEntry | None]"
"""A directory, a name, and what has that name there. The root is ('' in itself)."""


class _Walk:
    """One resolution of *path*: errors name the path, links are counted over all of it.

    *second_try*: a relative target that leads nowhere from the link's folder is looked for from the root.
    """

    def __init__(self, state: State, path: str, *, second_try: bool) -> None:
        self._state = state
        self._path = path
        self._second_try = second_try
        self._links = 0
        self.is_plain = True
        """No link and no '..' was passed."""

    def error(self, code: int) -> OSError:
        return os_error(code, self._path)

    def root(self) -> Directory:
        root = self._state.entry(self._state.root_id)
        if type(root) is not Directory:
            raise self.error(errno.EIO)
        return root

    def directory(self, start: Directory, names: list[str]) -> Directory:
        """Return the directory that *names* lead to."""
        current = start
        for name in names:
            current = self._as_directory(self._step(current, name))
        return current

    def _as_directory(self, entry: FSEntry) -> Directory:
        if type(entry) is not Directory:
            raise self.error(errno.ENOTDIR)
        return entry

    def _step(self, current: Directory, name: str) -> FSEntry:
        if name == "..":
            self.is_plain = False
            return self.parent(current)
        entry = find(self._state, current, name)
        if entry is None:
            check_name(name, self._path)
            raise self.error(errno.ENOENT)
        if type(entry) is Symlink:
            return self.follow(current, entry)
        return entry

    def parent(self, directory: Directory) -> Directory:
        """Return what '..' is in *directory*; the root's is the root."""
        if directory.metadata.id == self._state.root_id:
            return directory
        return self._as_directory(self._state.entry(directory.parent_id))

    def follow(self, current: Directory, link: Symlink) -> FSEntry:
        """Return what *link*, found in *current*, leads to."""
        found = self.follow_to_place(current, link)[2]
        if found is None:
            raise self.error(errno.ENOENT)
        return found

    def follow_to_place(self, current: Directory, link: Symlink) -> Place:
        """Return where *link*, found in *current*, leads to; nothing need be there."""
        self.is_plain = False
        self._links += 1
        if self._links > LINKS_MAX:
            raise self.error(errno.ELOOP)
        if not link.target:
            raise self.error(errno.ENOENT)
        needs_directory = names_directory(link.target)
        if self._second_try and not link.target.startswith("/"):
            try:
                place = self.place(current, link.target, follow=True, needs_directory=needs_directory)
                if place[2] is not None:
                    return place
            except (FileNotFoundError, NotADirectoryError):
                pass
            current = self.root()
        start = self.root() if link.target.startswith("/") else current
        return self.place(start, link.target, follow=True, needs_directory=needs_directory)

    def place(self, start: Directory, path: str, *, follow: bool, needs_directory: bool) -> Place:
        """Return the place that *path* leads to from *start*; its directory must be there, what is in it need not.

        *needs_directory*: this too, as a directory or a link to one.
        """
        names = parts(path)
        if not names:
            return start, "", start
        current = self.directory(start, names[:-1])
        place = self.last(current, names[-1], follow=follow or needs_directory)
        if needs_directory:
            if place[2] is None:
                raise self.error(errno.ENOENT)
            self._as_directory(place[2])
        return place

    def last(self, current: Directory, name: str, *, follow: bool) -> Place:
        """Return the place of *name* in *current*."""
        if name == "..":
            entry: FSEntry | None = self.parent(current)
            assert type(entry) is Directory
            return self.parent(entry), entry.metadata.name, entry
        entry = find(self._state, current, name)
        if entry is None:
            check_name(name, self._path)
        elif follow and type(entry) is Symlink:
            return self.follow_to_place(current, entry)
        return current, name, entry


def locate(state: State, path: str, *, follow: bool, second_try: bool = False, posix: bool = False) -> Place:
    """Return the place of *path*: (directory, name, entry or None). *follow*: a link at the end is followed.

    *posix*: a slash at its end asks for a directory, as it does of the system; else it says nothing.
    Raises FileNotFoundError or NotADirectoryError when there is no such directory, OSError: ELOOP (more than 40 links),
    ENAMETOOLONG, EINVAL (NUL), EIO (damage). Costs one lookup once the directory's path is known.
    """
    head, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        walk = _Walk(state, path, second_try=second_try)
        return walk.place(walk.root(), path, follow=follow, needs_directory=posix and names_directory(path))
    transaction = state.transaction
    prefixes = transaction.prefixes if transaction is not None and transaction is state.mine() else state.prefixes
    directory_id = prefixes.get(head)
    if directory_id is not None:
        current = state.entry(directory_id)
        assert type(current) is Directory
        found = find(state, current, name)
        if found is None:
            check_name(name, path)
            return current, name, None
        if not follow or type(found) is not Symlink:
            return current, name, found
        return _Walk(state, path, second_try=second_try).follow_to_place(current, found)
    walk = _Walk(state, path, second_try=second_try)
    above, _, last = head.rpartition("/")
    above_id = prefixes.get(above) if last not in ("", ".", "..") else None
    if above_id is None:
        current = walk.directory(walk.root(), parts(head))
    else:  # what goes down level by level takes one step each time, not all from the root
        start = state.entry(above_id)
        assert type(start) is Directory
        current = walk.directory(start, [last])
    if walk.is_plain:
        prefixes.keep(head, current.metadata.id)
    return walk.last(current, name, follow=follow)


def place_for_file(state: State, path: str, *, follow: bool) -> Place:
    """Return the place of *path* for a file that is made where nothing is: as `locate` with *posix*, and IsADirectoryError."""
    if not path.endswith("/"):
        return locate(state, path, follow=follow, posix=True)
    locate(state, path, follow=False)  # what is wrong before the last name is said first
    raise os_error(errno.EISDIR, path)


def locate_both(
    state: State, path: str, path2: str, *, must_exist: bool = False, posix: bool = False
) -> tuple[Place, Place]:
    """Return the places of the two paths of one operation, links at their ends not followed; errors name both.

    With *must_exist*, what is wrong with the first is said before the second is looked at: a copy opens its
    source first, where rename(2) walks to both folders and only then looks for the names.
    """
    try:
        first = locate(state, path, follow=False, posix=posix)
        if must_exist and first[2] is None:
            raise os_error(errno.ENOENT, path)
        return first, locate(state, path2, follow=False, posix=posix)
    except OSError as error:
        error.filename, error.filename2 = path, path2
        raise


def entry(state: State, path: str, *, follow: bool, second_try: bool = False) -> FSEntry:
    """Return the entry at *path*. Raises as `locate`, and FileNotFoundError when nothing is there."""
    found = locate(state, path, follow=follow, second_try=second_try)[2]
    if found is None:
        raise os_error(errno.ENOENT, path)
    return found


def directory(state: State, path: str, *, second_try: bool = False) -> Directory:
    """Return the directory at *path*, through links. Raises as `entry`, and NotADirectoryError."""
    found = entry(state, path, follow=True, second_try=second_try)
    if type(found) is not Directory:
        raise os_error(errno.ENOTDIR, path)
    return found
