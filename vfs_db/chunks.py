"""A file's content: chunks of 65535 bytes, each a record in the data database; only the last may be shorter.

Chunks of other sizes (another program's) are read as they are; a write into such a file lays it out anew.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final, TypeAlias

from vfs_db.change import Change
from vfs_db.chunk_tree import ChunkIds, ChunkPages, appended, build, cut
from vfs_db.commit import WritableState
from vfs_db.entries import File, quick_file
from vfs_db.errors import os_error
from vfs_db.id_list import IdList, id_list
from vfs_db.state import State, damaged

__all__ = ["CHUNK_SIZE", "Buffer", "is_regular", "read", "read_range", "resize", "write", "write_range"]

CHUNK_SIZE: Final = 65535
CHUNKS_MAX: Final = 16000
"""Chunks that a version 1 entry holds whatever its name, owner and group; more are listed in pages."""
_STRICT_MAX: Final = 16383
"""Chunks that no version 1 entry is large enough for."""
_TOTAL_MAX: Final = (1 << 24) - 1
"""Chunks of one file: as many as a data database of the usual size has ids for."""
LISTED_SIZE_MAX: Final = CHUNKS_MAX * CHUNK_SIZE
_LISTED_AGAIN: Final = 8000
"""Chunks in pages; as few as this, and the file is version 1 again."""

_ZEROS: Final = bytes(CHUNK_SIZE)

Buffer: TypeAlias = bytes | bytearray | memoryview


def read(state: State, file: File) -> bytes:
    """Return the whole content of *file*. Raises OSError (EIO) when it is not what the entry says."""
    ids = file.chunk_ids
    count = len(ids)
    if count == 1:
        data = state.chunks(ids)[0]
    elif not count:
        data = b""
    else:
        check_distinct(file)
        data = b"".join(state.chunks(ids))
    if len(data) != file.metadata.size:
        raise _wrong_size(state, file, len(data))
    return data


def check_distinct(file: File) -> None:
    """Raise OSError (EIO) where *file* lists chunks twice: a small image could make a file larger than any memory so.

    Of a long list, only pages are compared, and the ids within a page.
    """
    ids = file.chunk_ids
    if isinstance(ids, ChunkIds):
        for _ in ids.page_ids():
            pass  # raises for one that is there twice
    elif len(ids) > 1 and len(set(ids)) < len(ids):
        raise _listed_twice(file)


def _listed_twice(file: File) -> OSError:
    return damaged(file.metadata.id, "it lists a chunk twice")


def read_range(state: State, file: File, start: int, stop: int) -> bytes:
    """Return the content from byte *start* to *stop*, less where the file ends before. Reads only the chunks it touches."""
    stop = min(stop, file.metadata.size)
    if start >= stop:
        return b""
    first, last = start // CHUNK_SIZE, (stop - 1) // CHUNK_SIZE
    if _count(file.metadata.size) == len(file.chunk_ids):
        ids = file.chunk_ids[first : last + 1]
        if len(set(ids)) < len(ids):
            raise _listed_twice(file)
        parts = state.chunks(ids)
        if all(len(part) == size_of(file, first + at) for at, part in enumerate(parts)):
            data = parts[0] if first == last else b"".join(parts)
            return data[start - first * CHUNK_SIZE : stop - first * CHUNK_SIZE]
    return _read_unequal(state, file, start, stop)


def _read_unequal(state: State, file: File, start: int, stop: int) -> bytes:
    check_distinct(file)
    found = []
    position = 0
    for chunk_id in file.chunk_ids:
        data = state.chunks([chunk_id])[0]
        if position < stop and position + len(data) > start:
            found.append(data[max(0, start - position) : stop - position])
        position += len(data)
    if position != file.metadata.size:
        raise _wrong_size(state, file, position)
    return b"".join(found)


def iterate(state: State, file: File) -> Iterator[bytes]:
    """Yield the content of *file* chunk by chunk; each chunk is read when it is asked for."""
    check_distinct(file)
    total = 0
    for chunk_id in file.chunk_ids:
        data = state.chunks([chunk_id])[0]
        total += len(data)
        yield data
    if total != file.metadata.size:
        raise _wrong_size(state, file, total)


def _count(size: int) -> int:
    return -(-size // CHUNK_SIZE)


def size_of(file: File, index: int) -> int:
    """Return how many bytes the chunk at *index* has when all chunks but the last are full."""
    return min(CHUNK_SIZE, file.metadata.size - index * CHUNK_SIZE)


def _wrong_size(state: State, file: File, found: int) -> OSError:
    metadata = file.metadata
    why = f"entry {metadata.id} says {metadata.size} bytes, its {len(file.chunk_ids)} chunks have {found}; see check()"
    return OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {why}", state.path_of(metadata.id))


def place(
    state: WritableState, change: Change, old: IdList, data: Buffer, path: str, file_id: int = 0
) -> tuple[int, IdList]:
    """Put *data* into chunks, those of *old* as far as they go, and return its size and the chunks' ids.

    *path* is what an error (EFBIG) is about; beyond LISTED_SIZE_MAX a *file_id* is needed, whose pages list the chunks.
    """
    if type(data) is bytes and 0 < len(data) <= CHUNK_SIZE:
        ids = _resized(state, change, old, 1, file_id)
        change.chunks.append((ids[0], data))
        return len(data), ids
    view = memoryview(data).cast("B")
    count = _count(len(view))
    if count > (_STRICT_MAX if state.strict_v1 else _TOTAL_MAX):
        raise os_error(errno.EFBIG, path)
    ids = _resized(state, change, old, count, file_id)
    change.chunks += [
        (chunk_id, view[at : at + CHUNK_SIZE])
        for chunk_id, at in zip(ids, range(0, len(view), CHUNK_SIZE), strict=True)
    ]
    return len(view), ids


def write(state: WritableState, change: Change, file: File, data: Buffer, now: int) -> File:
    """Make *data* the whole content: the chunks keep their ids, as far as there are as many."""
    if type(data) is not bytes or len(data) > CHUNK_SIZE:
        _check_count(state, file, _count(memoryview(data).nbytes))
    size, ids = place(state, change, file.chunk_ids, data, file.metadata.name, file.metadata.id)
    return _changed(state, file, size, ids, now)


def _resized(state: WritableState, change: Change, ids: IdList, count: int, file_id: int) -> IdList:
    """Return *count* ids: those of *ids*, with new ones added, or the last ones freed."""
    missing = count - len(ids)
    if missing and (type(ids) is not IdList or (count > CHUNKS_MAX and not state.strict_v1)):
        return _resized_pages(state, change, ids, count, file_id)
    if missing < 0:
        change.freed_chunks += ids[count:]
        return ids[:count]
    if not missing:
        return ids
    new = [state.store.chunk_ids.allocate() for _ in range(missing)]
    change.created_chunks += new
    return ids.added(new)


def _resized_pages(state: WritableState, change: Change, ids: IdList, count: int, file_id: int) -> IdList:
    """Do the same for a list that is, or will be, in pages."""
    pages = ChunkPages(state, file_id, state.store.entry_ids.allocate)
    if count < len(ids):
        change.freed_chunks += ids[count:]
    if isinstance(ids, ChunkIds) and count <= _LISTED_AGAIN:
        change.freed_entries += ids.page_ids()
        return ids[:count]
    if isinstance(ids, ChunkIds) and count < len(ids):
        made: IdList = cut(pages, ids, count)
    else:
        new = [state.store.chunk_ids.allocate() for _ in range(count - len(ids))]
        change.created_chunks += new
        more = id_list(new)
        made = (
            appended(pages, ids, more) if isinstance(ids, ChunkIds) else build(pages, IdList(ids.packed + more.packed))
        )
    change.entries.update(sorted(pages.changed.items(), key=lambda item: item[0] not in pages.made))
    change.created += pages.made
    change.freed_entries += pages.freed
    return made


def _check_count(state: WritableState, file: File, count: int) -> None:
    if count > (_STRICT_MAX if state.strict_v1 else _TOTAL_MAX):
        raise os_error(errno.EFBIG, state.path_or_name(file))


def _changed(state: State, file: File, size: int, ids: IdList, now: int) -> File:
    if isinstance(ids, ChunkIds):
        ids = ids.bound(state)
    return quick_file(file.metadata.modified(now, size), file.parent_id, ids, state)


def write_range(
    state: WritableState,
    change: Change,
    file: File,
    offset: int,
    data: Buffer,
    now: int,
    *,
    is_known_regular: bool = False,
) -> File:
    """Put *data* at byte *offset*; what lies between the end and it becomes zeros. Writes only the chunks it touches."""
    view = memoryview(data).cast("B")
    if not len(view):
        return file
    end = offset + len(view)
    size = max(file.metadata.size, end)
    _check_count(state, file, _count(size))
    if not is_known_regular and not is_regular(state, file):
        whole = bytearray(read(state, file))
        whole += bytes(max(0, end - len(whole)))
        whole[offset:end] = view
        return write(state, change, file, whole, now)
    first = min(offset, file.metadata.size) // CHUNK_SIZE
    ids = _resized(state, change, file.chunk_ids, _count(size), file.metadata.id)
    for index in range(first, _count(end)):
        start = index * CHUNK_SIZE
        length = min(CHUNK_SIZE, size - start)
        change.chunks.append((ids[index], _merged(state, file, index, length, view, offset - start)))
    return _changed(state, file, size, ids, now)


def _merged(state: State, file: File, index: int, length: int, view: memoryview, offset: int) -> bytes | memoryview:
    """Return the chunk at *index*, of *length* bytes, with *view* laid over it at *offset* (which may be negative)."""
    start, stop = max(0, offset), min(length, offset + len(view))
    if start == 0 and stop == length:
        return view[-offset if offset < 0 else 0 :][:length]
    if start >= stop and length == CHUNK_SIZE and index >= len(file.chunk_ids):
        return _ZEROS[:length]  # one for all: a gap may be long
    old = state.chunks([file.chunk_ids[index]])[0] if index < len(file.chunk_ids) else b""
    if len(old) == start and stop == length:  # what is appended
        return b"".join((old, view[start - offset : stop - offset]))
    chunk = bytearray(length)
    chunk[: len(old)] = old[:length]
    if start < stop:
        chunk[start:stop] = view[start - offset : stop - offset]
    return bytes(chunk)


def is_regular(state: State, file: File) -> bool:
    """Say whether all chunks but the last are full.

    No chunk is longer than a full one, so if the last has what would be left then, none before it can be shorter.
    """
    count = len(file.chunk_ids)
    if count != _count(file.metadata.size):
        return False
    return not count or len(state.chunks([file.chunk_ids[count - 1]])[0]) == size_of(file, count - 1)


def resize(state: WritableState, change: Change, file: File, size: int, now: int) -> File:
    """Cut the content to *size* bytes, or fill it up with zeros."""
    if size > file.metadata.size:
        _check_count(state, file, _count(size))
        return write_range(state, change, file, size - 1, b"\0", now)
    if not is_regular(state, file):
        return write(state, change, file, read(state, file)[:size], now)
    count = _count(size)
    ids = _resized(state, change, file.chunk_ids, count, file.metadata.id)
    left = size % CHUNK_SIZE
    if left and size < file.metadata.size:
        last = state.chunks([ids[count - 1]])[0]
        change.chunks.append((ids[count - 1], last[:left]))
    return _changed(state, file, size, ids, now)
