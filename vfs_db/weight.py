"""How many bytes an entry or a page takes in memory, about: what caches are bounded by."""

from __future__ import annotations

from sys import getsizeof
from typing import Final

from vfs_db.entries import Directory, File, FSEntry
from vfs_db.id_list import IdList
from vfs_db.page import PAGE_SIZE_MAX, NamePage, Page

__all__ = ["ENTRY_WEIGHT", "page_weight", "weight_of"]

ENTRY_WEIGHT: Final = 700
"""Of an entry's objects, and its places in dictionaries; its name and its list of ids come to it."""
_PAGE_WEIGHT: Final = 300
_NAME_WEIGHT: Final = 90
"""Of a name in a page besides its bytes: two objects, and their places in tuples."""


def weight_of(entry: FSEntry) -> int:
    """Return about how many bytes *entry* takes."""
    metadata = entry.metadata
    weight = ENTRY_WEIGHT + len(metadata.name) + len(metadata.owner) + len(metadata.group)
    if metadata.extension is not None:
        weight += sum(getsizeof(value) for _, value in metadata.extension.fields)
    if type(entry) is File:
        ids = entry.chunk_ids
    elif type(entry) is Directory:
        ids = entry.children
    else:
        return weight + getsizeof(entry.target)  # type: ignore[union-attr]
    return weight + len(ids.packed) if type(ids) is IdList else weight


def page_weight(page: Page) -> int:
    """Return about how many bytes *page* takes, at most."""
    if isinstance(page, NamePage):
        return PAGE_SIZE_MAX + _NAME_WEIGHT * len(page.ids)
    return _PAGE_WEIGHT + len(page.ids.packed)
