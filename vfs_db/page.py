"""Pages: the pieces of a list that is too long for one record. Values and bytes; no I/O.

A page is a record of the metadata database. It names itself and the entry whose list it belongs to, so that a page that is
found under another id, or in another list, is known to be damage. Little endian:

| field | type | meaning |
|---|---|---|
| version | u8 | 2 |
| type | u8 | 3 names, 4 ids |
| id | u32 | the page's own id, its key in the metadata database |
| owner | u32 | id of the directory or file |
| level | u8 | 0: items are children or chunks; n: items are pages of level n - 1 |
| count | u16 | n |
| names | n x (u8 length, bytes, u32 id) | type 3: ascending by bytes; above level 0 where the page begins, and the first says nothing |
| ids | n x u32 | type 4 |
"""

from __future__ import annotations

import errno
import os
import struct
from itertools import pairwise
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

from vfs_db.id_list import IdList

__all__ = [
    "IDS_MAX", "LEVEL_MAX", "PAGE_FIELDS", "PAGE_SIZE_MAX", "CorruptPage", "IdPage", "NamePage", "Page", "PageSource",
    "PagedIds", "decode_page", "encode_page", "page_of", "peek_name",
]  # fmt: skip

PAGE_SIZE_MAX: Final = 4096
IDS_MAX: Final = 1000
"""Ids in a page of ids; all but the last page of a level are full, so that an index leads straight to its page."""
LEVEL_MAX: Final = 32

PAGE_FIELDS: Final = (
    ("version", "u8"), ("type", "u8"), ("id", "u32"), ("owner", "u32"), ("level", "u8"), ("count", "u16"),
)  # fmt: skip

_HEAD: Final = struct.Struct("<BBIIBH")
_U32: Final = struct.Struct("<I")
_VERSION: Final = 2
_NAMES, _IDS = 3, 4
_ITEM_SIZE: Final = 5
assert _HEAD.size == 13


class CorruptPage(OSError, ValueError):
    """The bytes are no page, or the page is not where it belongs (EIO); the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EIO, f"{os.strerror(errno.EIO)}: {why}; check() finds all damage")


class NamePage(NamedTuple):
    """A node of a B+tree: names, ascending, and the ids of their entries, or of the pages that begin with them."""

    id: int
    owner_id: int
    level: int
    names: tuple[bytes, ...]
    ids: tuple[int, ...]

    def size(self) -> int:
        """Return how many bytes the page has."""
        return _HEAD.size + _ITEM_SIZE * len(self.ids) + sum(map(len, self.names))


class IdPage(NamedTuple):
    """A node of a list of ids: chunks, or the pages below."""

    id: int
    owner_id: int
    level: int
    ids: IdList


Page: TypeAlias = NamePage | IdPage
_P = TypeVar("_P", NamePage, IdPage)


class PageSource(Protocol):
    """What reads pages: a filesystem's state, or a change that is being made over it."""

    def page(self, page_id: int, owner_id: int, /) -> Page: ...


class PagedIds(IdList):
    """A list of *length* ids that is kept in pages, from the page *root* on: each access reads some of them.

    source: what reads them; without one, as of an entry that was decoded from bytes, only the length can be told.
    """

    __slots__ = ("length", "owner_id", "root", "source")

    def __init__(self, root: int, length: int, owner_id: int, source: PageSource | None) -> None:
        self.root = root
        self.length = length
        self.owner_id = owner_id
        self.source = source

    def __len__(self) -> int:
        return self.length

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PagedIds):
            return (self.root, self.length) == (other.root, other.length)
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.root, self.length))

    def __repr__(self) -> str:
        return f"<{self.length} ids in pages from {self.root} on>"


def page_of(source: PageSource | None, page_id: int, owner_id: int, kind: type[_P]) -> _P:
    """Return a page of the list of entry *owner_id*. Raises CorruptPage for one of the other kind, ValueError without *source*."""
    if source is None:
        raise ValueError(f"entry {owner_id} belongs to no filesystem, so its pages can't be read")
    page = source.page(page_id, owner_id)
    if not isinstance(page, kind):
        raise CorruptPage(f"page {page_id} of entry {owner_id} is no {kind.__name__}")
    return page


def encode_page(page: Page) -> bytes:
    """Return *page* as bytes. Raises ValueError for what its fields can't hold."""
    try:
        if type(page) is IdPage:
            return _HEAD.pack(_VERSION, _IDS, page.id, page.owner_id, page.level, len(page.ids)) + page.ids.packed
        assert type(page) is NamePage
        parts = [_HEAD.pack(_VERSION, _NAMES, page.id, page.owner_id, page.level, len(page.ids))]
        pack = _U32.pack
        for name, one_id in zip(page.names, page.ids, strict=True):
            parts += (bytes((len(name),)), name, pack(one_id))
        return b"".join(parts)
    except struct.error as error:
        raise ValueError(f"page {page.id} does not fit its format: {error}") from error


def decode_page(data: bytes) -> Page:
    """Return the page in *data*. Raises CorruptPage."""
    if len(data) < _HEAD.size:
        raise CorruptPage(f"a page has at least {_HEAD.size} bytes, found {len(data)}")
    version, kind, page_id, owner_id, level, count = _HEAD.unpack_from(data)
    if version != _VERSION or kind not in (_NAMES, _IDS):
        raise CorruptPage(f"expected a page (version {_VERSION}, type 3 or 4), found version {version}, type {kind}")
    if level > LEVEL_MAX:
        raise CorruptPage(f"page {page_id} has level {level}, more than {LEVEL_MAX}")
    if kind == _IDS:
        if len(data) != _HEAD.size + 4 * count or count > IDS_MAX:
            raise CorruptPage(f"page {page_id} has {len(data)} bytes for {count} ids")
        ids = IdList(data[_HEAD.size :])
        if len(set(ids)) < count:
            raise CorruptPage(f"page {page_id} lists an id twice")
        return IdPage(page_id, owner_id, level, ids)
    return NamePage(page_id, owner_id, level, *_items(data, page_id, level, count))


def peek_name(data: bytes, page_id: int, owner_id: int, name: bytes) -> int | None:
    """Return the id that seems to be under *name* in the encoded lowest page *data*, 0 if none is there; None says nothing.

    Costs a thirtieth of decoding the page. What it finds may be the bytes of other items, so it is a guess to be checked.
    """
    if len(data) < _HEAD.size or _HEAD.unpack_from(data)[:5] != (_VERSION, _NAMES, page_id, owner_id, 0):
        return None
    key = bytes((len(name),)) + name
    at = data.find(key, _HEAD.size)
    if at < 0:
        return 0
    end = at + len(key)
    if end + 4 > len(data) or data.find(key, at + 1) >= 0:
        return None
    guess: int = _U32.unpack_from(data, end)[0]
    return guess


def _items(data: bytes, page_id: int, level: int, count: int) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    names, ids = [], []
    at = _HEAD.size
    try:
        for _ in range(count):
            end = at + 1 + data[at]
            names.append(data[at + 1 : end])
            ids.append(_U32.unpack_from(data, end)[0])
            at = end + 4
    except (IndexError, struct.error):
        raise CorruptPage(f"page {page_id} ends within its {count} names") from None
    if at != len(data):
        raise CorruptPage(f"page {page_id} has {len(data) - at} bytes behind its {count} names")
    if any(first >= second for first, second in pairwise(names[1:] if level else names)):
        raise CorruptPage(f"page {page_id} has names that do not ascend")
    return tuple(names), tuple(ids)
