"""The names of a large directory: a B+tree of pages, ordered by the names' bytes.

Finding, adding and removing a name reads and writes a page per level. The root page keeps its id, whatever becomes of the
tree: when it is full, what it holds moves to two new pages. A change is collected in an `Edit`, new pages first and then from
the root down; in that order a database without transactions may be left at any write with every name still found. What
a page holds outside the range that its parent gives it is left from such a write, and passed over; an edit drops it.

Where a page's range begins is known from the pages above it, never from its own first name: that may be above what comes
into it later (a directory that gets smaller names), and above what its neighbour leaves to it. So above the lowest level
the first name is kept empty, and read as such.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from vfs_db.id_list import id_list
from vfs_db.page import PAGE_SIZE_MAX, CorruptPage, NamePage, PagedIds, PageSource, page_of

__all__ = ["Children", "Edit", "add", "build", "find", "find_in", "leaf_of", "page_ids", "remove", "scan"]

_FILL: Final = PAGE_SIZE_MAX * 3 // 4
_LOW: Final = PAGE_SIZE_MAX // 4
"""A page with fewer bytes is put together with its neighbour where both fit _FILL."""


class Children(PagedIds):
    """The ids of a large directory's entries, ordered by name: read from the pages when they are asked for."""

    @property
    def packed(self) -> bytes:  # type: ignore[override]
        """All ids as bytes. Costs every page."""
        return id_list([one_id for _, one_id in scan(self)]).packed

    def __iter__(self) -> Iterator[int]:
        return (one_id for _, one_id in scan(self))


class Edit:
    """Reads pages of one directory, and collects what becomes of them. *may_merge*: all of it is one commit."""

    def __init__(self, source: PageSource, owner_id: int, allocate: Callable[[], int], *, may_merge: bool) -> None:
        self._source = source
        self.owner_id = owner_id
        self._allocate = allocate
        self.may_merge = may_merge
        self.made: dict[int, NamePage] = {}
        self.changed: dict[int, NamePage] = {}
        self.freed: list[int] = []

    def page(self, page_id: int) -> NamePage:
        return (
            self.made.get(page_id)
            or self.changed.get(page_id)
            or page_of(self._source, page_id, self.owner_id, NamePage)
        )

    def new(self, level: int, names: tuple[bytes, ...], ids: tuple[int, ...]) -> NamePage:
        page_id = self._allocate()
        self.made[page_id] = page = NamePage(page_id, self.owner_id, level, _bounds(level, names), ids)
        return page

    def put(self, page: NamePage, names: tuple[bytes, ...], ids: tuple[int, ...], level: int | None = None) -> NamePage:
        """Give *page* other contents."""
        pages = self.made if page.id in self.made else self.changed
        pages.pop(page.id, None)
        level = page.level if level is None else level
        pages[page.id] = put = NamePage(page.id, page.owner_id, level, _bounds(level, names), ids)
        return put

    def free(self, page: NamePage) -> None:
        self.made.pop(page.id, None)
        self.changed.pop(page.id, None)
        self.freed.append(page.id)

    def pages(self) -> Iterator[NamePage]:
        """Yield the pages to be written, in their order."""
        yield from self.made.values()
        yield from sorted(self.changed.values(), key=lambda page: -page.level)


def _bounds(level: int, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return *names* as a page of *level* keeps them."""
    return (b"", *names[1:]) if level and names else names


def _below(parent: NamePage, page: NamePage) -> NamePage:
    if page.level != parent.level - 1:
        raise CorruptPage(f"page {page.id} has level {page.level} below page {parent.id} of level {parent.level}")
    return page


def _index(page: NamePage, name: bytes) -> int:
    """Return the index of the page below *page* that *name* is in."""
    if not page.ids:
        raise CorruptPage(f"page {page.id} of level {page.level} leads nowhere")
    return bisect_right(page.names, name, 1) - 1


def find(load: Callable[[int], NamePage], root: int, name: bytes) -> int:
    """Return the id under *name*, 0 if it isn't there. Raises CorruptPage. Costs a page per level."""
    page = load(root)
    while page.level:
        page = _below(page, load(page.ids[_index(page, name)]))
    at = bisect_left(page.names, name)
    return page.ids[at] if at < len(page.names) and page.names[at] == name else 0


def find_in(children: Children, name: bytes) -> int:
    """Return the id under *name* in a directory, 0 if it isn't there."""
    return find(lambda page_id: page_of(children.source, page_id, children.owner_id, NamePage), children.root, name)


def leaf_of(children: Children, name: bytes) -> int:
    """Return the id of the lowest page that *name* belongs in, without reading it; 0 where the root is that page."""
    page = page_of(children.source, children.root, children.owner_id, NamePage)
    while page.level > 1:
        page = _below(page, page_of(children.source, page.ids[_index(page, name)], children.owner_id, NamePage))
    return page.ids[_index(page, name)] if page.level else 0


def scan(children: Children, after: bytes = b"") -> Iterator[tuple[bytes, int]]:
    """Yield (name, id) of all names after *after*, ascending; pages are read when they are reached. Raises CorruptPage."""
    for page in _leaves(children, after):
        start = bisect_right(page.names, after)
        yield from zip(page.names[start:], page.ids[start:], strict=True)


def _leaves(children: Children, after: bytes) -> Iterator[NamePage]:
    """Yield the lowest pages, cut to their ranges, from that of *after* on."""
    seen: set[int] = set()
    top = page_of(children.source, children.root, children.owner_id, NamePage)
    stack: list[tuple[NamePage | None, int, bytes, bytes | None]] = [(None, top.id, b"", None)]
    while stack:
        parent, page_id, low, high = stack.pop()
        if page_id in seen:
            raise CorruptPage(f"page {page_id} of directory {children.owner_id} is there twice")
        seen.add(page_id)
        page = page_of(children.source, page_id, children.owner_id, NamePage)
        if parent is not None:
            _below(parent, page)
        page = _cut(page, low, high)
        if not page.level:
            yield page
            continue
        first = _index(page, after)
        stack += [(page, *part) for part in reversed(_ranges(page, low, high)[first:])]


def _ranges(page: NamePage, low: bytes, high: bytes | None) -> list[tuple[int, bytes, bytes | None]]:
    """Return (id, where its range begins, where it ends) for each page below *page*, whose own range is *low* to *high*."""
    bounds = [low, *page.names[1:]]
    return list(zip(page.ids, bounds, [*bounds[1:], high], strict=True))


def page_ids(children: Children) -> Iterator[int]:
    """Yield the ids of all pages of a directory. Reads those above the lowest level. Raises CorruptPage."""
    seen = {children.root}
    top = page_of(children.source, children.root, children.owner_id, NamePage)
    stack: list[tuple[NamePage, bytes, bytes | None]] = [(top, b"", None)]
    yield children.root
    while stack:
        page, low, high = stack.pop()
        page = _cut(page, low, high)
        for one, start, stop in _ranges(page, low, high) if page.level else ():
            if one in seen:
                raise CorruptPage(f"page {one} of directory {children.owner_id} is there twice")
            seen.add(one)
            yield one
            if page.level > 1:
                below = _below(page, page_of(children.source, one, children.owner_id, NamePage))
                stack.append((below, start, stop))


def build(edit: Edit, items: Iterable[tuple[bytes, int]]) -> int:
    """Put all (name, id), ascending, into new pages, and return the root's id."""
    level = 0
    row = list(items)
    while True:
        parts = list(_parts(row)) if row else []
        pages = [edit.new(level, *zip(*part, strict=True)) for part in parts] or [edit.new(0, (), ())]
        if len(pages) == 1:
            return pages[0].id
        row = [(part[0][0], page.id) for part, page in zip(parts, pages, strict=True)]
        level += 1


def _parts(row: list[tuple[bytes, int]]) -> Iterator[list[tuple[bytes, int]]]:
    part: list[tuple[bytes, int]] = []
    size = 0
    for name, one_id in row:
        if size + len(name) + 5 > _FILL:
            yield part
            part, size = [], 0
        part.append((name, one_id))
        size += len(name) + 5
    yield part


def _descend(edit: Edit, root: int, name: bytes) -> list[tuple[NamePage, int]]:
    """Return the pages from the root to the leaf of *name*, cut to their ranges, each with the index taken in it."""
    path = []
    page, low, high = edit.page(root), b"", None
    while page.level:
        page = _cut(page, low, high)
        at = _index(page, name)
        path.append((page, at))
        low = page.names[at] if at else low
        high = page.names[at + 1] if at + 1 < len(page.names) else high
        page = _below(page, edit.page(page.ids[at]))
    page = _cut(page, low, high)
    path.append((page, bisect_left(page.names, name)))
    return path


def _cut(page: NamePage, low: bytes, high: bytes | None) -> NamePage:
    """Return *page* without what is outside its range, from *low* to below *high*."""
    first = 1 if page.level and page.names else 0
    start = 0 if first else bisect_left(page.names, low)
    stop = len(page.names) if high is None else bisect_left(page.names, high, first)
    if start == 0 and stop == len(page.names):
        return page
    return page._replace(names=page.names[start:stop], ids=page.ids[start:stop])


def add(edit: Edit, root: int, name: bytes, one_id: int) -> bool:
    """Put *name* into the tree; False if it was there, and leads to *one_id* now."""
    path = _descend(edit, root, name)
    page, at = path.pop()
    if at < len(page.names) and page.names[at] == name:
        edit.put(page, page.names, (*page.ids[:at], one_id, *page.ids[at + 1 :]))
        return False
    _insert(edit, path, page, at, name, one_id)
    return True


def _insert(edit: Edit, path: list[tuple[NamePage, int]], page: NamePage, at: int, name: bytes, one_id: int) -> None:
    names = (*page.names[:at], name, *page.names[at:])
    ids = (*page.ids[:at], one_id, *page.ids[at:])
    put = edit.put(page, names, ids)
    if put.size() <= PAGE_SIZE_MAX:
        return
    # Names that come in ascending order leave full pages behind, not halves.
    middle = len(ids) - 1 if at == len(ids) - 1 else _middle(names)
    right = edit.new(page.level, names[middle:], ids[middle:])
    lowest = names[middle] if page.level else _separator(names[middle - 1], names[middle])
    if path:
        edit.put(page, names[:middle], ids[:middle])
        parent, index = path.pop()
        _insert(edit, path, parent, index + 1, lowest, right.id)
    else:
        left = edit.new(page.level, names[:middle], ids[:middle])
        edit.put(page, (b"", lowest), (left.id, right.id), page.level + 1)


def _middle(names: tuple[bytes, ...]) -> int:
    half = (sum(map(len, names)) + 5 * len(names)) // 2
    size = 0
    for index, name in enumerate(names):
        size += len(name) + 5
        if size >= half:
            return max(1, min(index, len(names) - 1))
    return len(names) - 1


def _separator(left: bytes, right: bytes) -> bytes:
    """Return the shortest beginning of *right* that is above *left*."""
    for size in range(1, len(right)):
        if right[:size] > left:
            return right[:size]
    return right


def remove(edit: Edit, root: int, name: bytes) -> bool:
    """Take *name* out of the tree; False if it wasn't there."""
    path = _descend(edit, root, name)
    page, at = path.pop()
    if at >= len(page.names) or page.names[at] != name:
        return False
    _drop(edit, path, page, at)
    return True


def _drop(edit: Edit, path: list[tuple[NamePage, int]], page: NamePage, at: int) -> None:
    put = edit.put(page, page.names[:at] + page.names[at + 1 :], page.ids[:at] + page.ids[at + 1 :])
    if not path:
        _lower(edit, put)
        return
    parent, index = path[-1]
    if not put.ids:
        edit.free(put)
        _drop(edit, path[:-1], parent, index)
    elif edit.may_merge and put.size() < _LOW:
        _merge(edit, path, put)


def _merge(edit: Edit, path: list[tuple[NamePage, int]], page: NamePage) -> None:
    """Put *page* together with a neighbour below the same parent, where there is room."""
    parent, index = path[-1]
    for left_at in (index - 1, index):
        if left_at < 0 or left_at + 1 >= len(parent.ids):
            continue
        left, right = edit.page(parent.ids[left_at]), edit.page(parent.ids[left_at + 1])
        if left.level != page.level or right.level != page.level or left.size() + right.size() > _FILL:
            continue
        names = right.names if not right.level else (parent.names[left_at + 1], *right.names[1:])
        edit.put(left, left.names + names, left.ids + right.ids)
        edit.free(right)
        _drop(edit, path[:-1], parent, left_at + 1)
        return


def _lower(edit: Edit, root: NamePage) -> None:
    """Let the root take over the page below, while that is the only one."""
    while root.level and len(root.ids) <= 1:
        if not root.ids:
            root = edit.put(root, (), (), 0)
            return
        below = _below(root, edit.page(root.ids[0]))
        root = edit.put(root, below.names, below.ids, below.level)
        edit.free(below)
