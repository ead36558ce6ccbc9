"""The chunk ids of a large file: pages of 1000 ids, and pages of pages above them.

All pages but the last of a level are full, so an index leads to its page, and only the end of the list ever changes. The root
page keeps its id: when the list outgrows it, what it holds moves to a new page below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import overload

from vfs_db.id_list import NO_IDS, IdList, id_list
from vfs_db.page import IDS_MAX, CorruptPage, IdPage, Page, PagedIds, PageSource, page_of

__all__ = ["ChunkIds", "ChunkPages", "appended", "build", "cut"]


class ChunkIds(PagedIds):
    """The ids of a large file's chunks: each access reads a page per level."""

    @property
    def packed(self) -> bytes:  # type: ignore[override]
        """All ids as bytes. Costs every page."""
        return self.part(0, self.length)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> IdList: ...
    def __getitem__(self, index: int | slice) -> int | IdList:
        if isinstance(index, slice):
            start, stop, step = index.indices(self.length)
            ids = IdList(self.part(start, max(start, stop)))
            return ids if step == 1 else ids[::step] if step > 0 else IdList(self.packed)[index]
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} of a list of {self.length} ids")
        index %= self.length
        return IdList(self.part(index, index + 1))[0]

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.length, IDS_MAX):
            yield from IdList(self.part(start, min(start + IDS_MAX, self.length)))

    def part(self, start: int, stop: int) -> bytes:
        """Return the ids from index *start* to *stop* as bytes; reads only the pages they are in. Raises CorruptPage."""
        parts = []
        while start < stop:
            page = self._leaf(start)
            at = start % IDS_MAX
            here = page.ids.packed[4 * at : 4 * (at + stop - start)]
            wanted = min(stop, start - at + IDS_MAX) - start
            if len(here) != 4 * wanted:
                raise CorruptPage(
                    f"page {page.id} of file {self.owner_id} has {len(page.ids)} ids, fewer than the file says"
                )
            parts.append(here)
            start += wanted
        return b"".join(parts)

    def _leaf(self, index: int) -> IdPage:
        page = page_of(self.source, self.root, self.owner_id, IdPage)
        while page.level:
            page = _below(page, self.source, index // IDS_MAX**page.level % IDS_MAX, self.owner_id)
        return page

    def page_ids(self) -> Iterator[int]:
        """Yield the ids of all pages. Reads those above the lowest level. Raises CorruptPage."""
        seen: set[int] = set()
        stack = [(self.root, -1)]
        while stack:
            page_id, level = stack.pop()
            if page_id in seen:
                raise CorruptPage(f"page {page_id} of file {self.owner_id} is there twice")
            seen.add(page_id)
            yield page_id
            if level:
                page = page_of(self.source, page_id, self.owner_id, IdPage)
                if level > 0 and page.level != level:
                    raise CorruptPage(
                        f"page {page.id} of file {self.owner_id} has level {page.level}, expected {level}"
                    )
                if page.level:
                    stack += [(one, page.level - 1) for one in page.ids]

    def bound(self, source: PageSource) -> ChunkIds:
        """Return the same list, read from *source*."""
        return ChunkIds(self.root, self.length, self.owner_id, source)


def _below(page: IdPage, source: PageSource | None, index: int, owner_id: int) -> IdPage:
    if index >= len(page.ids):
        raise CorruptPage(f"page {page.id} of file {owner_id} has {len(page.ids)} pages below, asked for {index}")
    below = page_of(source, page.ids[index], owner_id, IdPage)
    if below.level != page.level - 1:
        raise CorruptPage(f"page {below.id} has level {below.level} below page {page.id} of level {page.level}")
    return below


class ChunkPages:
    """Pages of one file's list as a change leaves them: reads them, and collects what becomes of them."""

    def __init__(self, source: PageSource, owner_id: int, allocate: Callable[[], int]) -> None:
        self._source = source
        self.owner_id = owner_id
        self._allocate = allocate
        self.made: list[int] = []
        self.changed: dict[int, IdPage] = {}
        self.freed: list[int] = []

    def page(self, page_id: int, owner_id: int) -> Page:
        return self.changed.get(page_id) or self._source.page(page_id, owner_id)

    def load(self, page_id: int) -> IdPage:
        return page_of(self, page_id, self.owner_id, IdPage)

    def new(self, level: int, ids: IdList) -> IdPage:
        page_id = self._allocate()
        self.made.append(page_id)
        return self.put(page_id, level, ids)

    def put(self, page_id: int, level: int, ids: IdList) -> IdPage:
        self.changed[page_id] = page = IdPage(page_id, self.owner_id, level, ids)
        return page

    def free(self, page_id: int) -> None:
        self.changed.pop(page_id, None)
        self.freed.append(page_id)


def build(pages: ChunkPages, ids: IdList) -> ChunkIds:
    """Put *ids* into new pages."""
    root = pages.new(0, NO_IDS)
    return appended(pages, ChunkIds(root.id, 0, pages.owner_id, pages), ids)


def appended(pages: ChunkPages, old: ChunkIds, ids: IdList) -> ChunkIds:
    """Return *old* with *ids* at the end; changes the last pages and adds new ones."""
    count, done = old.length, 0
    while done < len(ids):
        root = pages.load(old.root)
        if count == IDS_MAX ** (root.level + 1):
            below = pages.new(root.level, root.ids)
            pages.put(root.id, root.level + 1, id_list([below.id]))
            continue
        here = min(len(ids) - done, IDS_MAX - count % IDS_MAX)
        _append(pages, root, count, ids[done : done + here])
        count += here
        done += here
    return ChunkIds(old.root, count, old.owner_id, pages)


def _append(pages: ChunkPages, page: IdPage, count: int, ids: IdList) -> None:
    """Put *ids*, which fit one page, behind the *count* ids of the tree from *page* down."""
    while page.level:
        index = count // IDS_MAX**page.level % IDS_MAX
        if index == len(page.ids):
            below = pages.new(page.level - 1, NO_IDS)
            page = pages.put(page.id, page.level, page.ids.added_one(below.id))
        page = _below(page, pages, index, pages.owner_id)
    if len(page.ids) != count % IDS_MAX:
        raise CorruptPage(f"page {page.id} of file {pages.owner_id} has {len(page.ids)} ids, not {count % IDS_MAX}")
    pages.put(page.id, 0, IdList(page.ids.packed + ids.packed))


def cut(pages: ChunkPages, old: ChunkIds, count: int) -> ChunkIds:
    """Return the first *count* (at least one) ids of *old*, freeing the pages behind them."""
    root = pages.load(old.root)
    _cut(pages, root, count)
    root = pages.load(old.root)
    while root.level and len(root.ids) == 1:
        below = _below(root, pages, 0, pages.owner_id)
        root = pages.put(root.id, below.level, below.ids)
        pages.free(below.id)
    return ChunkIds(old.root, count, old.owner_id, pages)


def _cut(pages: ChunkPages, page: IdPage, count: int) -> None:
    span = IDS_MAX**page.level
    keep = -(-count // span)
    for index in range(keep, len(page.ids)) if page.level else ():
        _free(pages, _below(page, pages, index, pages.owner_id))
    if keep < len(page.ids):
        pages.put(page.id, page.level, page.ids[:keep])
    if page.level and count % span:
        _cut(pages, _below(page, pages, keep - 1, pages.owner_id), count - (keep - 1) * span)


def _free(pages: ChunkPages, page: IdPage) -> None:
    for index in range(len(page.ids)) if page.level else ():
        _free(pages, _below(page, pages, index, pages.owner_id))
    pages.free(page.id)
