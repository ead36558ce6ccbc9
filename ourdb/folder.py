"""From a path to a folder that can be opened: new, ours, or written by the original.

What is in the folder decides (docs/format.md): our `lookup/.ourdb` holds the config; without it a table's size
and sampled slots tell it; an exported or dumped table becomes the live one. Nothing is written before all is checked.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from ourdb.config import KEY_SIZES, Config
from ourdb.disk import Disk
from ourdb.errors import OurDBError, UnsupportedFormat
from ourdb.identity import Identity, identity_path
from ourdb.lookup import LookupTable, read_inc, sparse_items, write_full
from ourdb.record_files import RecordFiles

__all__ = ["agreed", "config_of_table", "lookup_path", "prepare", "refuse_another_table", "refuse_link"]

_TABLE_MAX: Final = 2**40
_SAMPLES: Final = 64
_DUMPS: Final = (("lookup_dump.db", True), ("lookup_sparse", True), ("lookup_data", False), ("", False))
"""Folders in which a saved table may lie, and whether it is sparse; the first is the one that the original itself loads."""


def lookup_path(folder: str) -> str:
    """Return the path of the live table."""
    return os.path.join(folder, "lookup", "data")


def prepare(
    disk: Disk, folder: str, given: dict[str, Any], *, read_only: bool, may_hold_other_files: bool = False
) -> Config:
    """Make sure that *folder* holds a database that can be opened, and return its config.

    *given* has the options that the caller named. Raises UnsupportedFormat where the folder can't be read,
    OurDBError where *given* contradicts it, FileNotFoundError for a missing folder with *read_only*.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, "a database is a folder, this is a file", folder)
    if read_only and not disk.exists(folder):
        raise FileNotFoundError(errno.ENOENT, "no database to open read-only", folder)
    refuse_link(folder)
    if disk.exists(identity_path(folder)):
        identity = Identity(disk, folder, read_only=True)
        identity.close()
        config = agreed(identity.config, given, folder)
        _finish_creation(disk, folder, config, read_only=read_only)
        return config
    if disk.exists(os.path.join(folder, "journal")) and os.path.isdir(os.path.join(folder, "lookup")):
        raise UnsupportedFormat(
            f"{identity_path(folder)} is missing, and a journal was left whose commits are not in the table yet; "
            "`python -m ourdb repair` brings both together"
        )
    if disk.exists(lookup_path(folder)):
        config = config_of_table(disk, folder, given)
    elif not may_hold_other_files and (saved := _saved_table(folder)):
        config = _import_saved(disk, folder, *saved, given, read_only=read_only)
    else:
        return _new(disk, folder, given, read_only=read_only, may_hold_other_files=may_hold_other_files)
    if not read_only:
        Identity.create(disk, folder, config)
    return config


def refuse_link(folder: str) -> None:
    """Raise UnsupportedFormat if the `lookup` of *folder* leads elsewhere."""
    lookup = os.path.join(folder, "lookup")
    if os.path.islink(lookup):
        raise UnsupportedFormat(f"{lookup} is a symbolic link; a database's files lie in its folder: move them there")


def _finish_creation(disk: Disk, folder: str, config: Config, *, read_only: bool) -> None:
    """Make the table that a creation cut short did not get to; it comes last, before any record."""
    if disk.exists(lookup_path(folder)):
        return
    first = os.path.join(folder, "0.db")
    if read_only or (os.path.exists(first) and os.path.getsize(first) > 1):
        raise UnsupportedFormat(
            f"{lookup_path(folder)} is missing; open_recovered or `python -m ourdb repair` rebuilds it"
        )
    _create_empty(disk, folder, config)


def agreed(config: Config, given: dict[str, Any], folder: str, otherwise: str = "leave it out") -> Config:
    """Return *config*, of the database in *folder*. Raises OurDBError with both values, and what to do, if *given* contradicts it."""
    for name, value in given.items():
        found = getattr(config, name)
        if name != "record_size_max" and found != value:
            raise OurDBError(f"{folder} was made with {name}={found!r}, but {name}={value!r} was given; {otherwise}")
    if "record_size_max" in given and "keysize" not in given:
        wanted = Config(**{"record_nr_max": config.record_nr_max, **given}).keysize
        rule = Config(record_nr_max=config.record_nr_max, record_size_max=config.record_size_max).keysize
        if wanted != config.keysize and config.keysize == rule:
            raise OurDBError(
                f"{folder} was made with record_size_max={config.record_size_max!r} (key size {config.keysize}), but "
                f"record_size_max={given['record_size_max']!r} (key size {wanted}) was given; {otherwise}"
            )
    return config


def config_of_table(disk: Disk, folder: str, given: dict[str, Any]) -> Config:
    """Return the config that the table of *folder* shows: its size, and where its first slots lead.

    *given* goes first. Raises UnsupportedFormat where it can't be told.
    """
    path = lookup_path(folder)
    with disk.opened(path) as fd:
        size = disk.size(fd)
        if not 0 < size <= _TABLE_MAX:
            raise UnsupportedFormat(f"{path} has {size} bytes; a lookup table has record_nr_max * keysize")
        next_id = read_inc(disk, os.path.join(folder, "lookup"))
        incremental = given.get("incremental_mode", next_id is not None)
        if "keysize" in given or "record_size_max" in given or "record_nr_max" in given:
            config = Config(**{**given, "incremental_mode": incremental})
            if config.table_size != size and "record_nr_max" not in given and size % config.keysize == 0:
                config = Config(**{**given, "incremental_mode": incremental, "record_nr_max": size // config.keysize})
            fitting = _fitting(disk, folder, fd, size, next_id)
            if config.table_size != size or (fitting and config.keysize not in fitting):
                raise UnsupportedFormat(
                    f"{path} has {size} bytes and reads with key size {fitting or 'none of 2, 3, 4, 6'}; the config given "
                    f"means {config.record_nr_max} slots of {config.keysize} bytes, {config.table_size} in all"
                )
            return config
        fitting = _fitting(disk, folder, fd, size, next_id)
    if len(fitting) != 1:
        raise UnsupportedFormat(
            f"{path}: {size} bytes read as slots of {fitting or 'no key size'}; "
            "give record_nr_max and record_size_max (or keysize) as the folder was made with"
        )
    return Config(
        **{**given, "incremental_mode": incremental, "record_nr_max": size // fitting[0], "keysize": fitting[0]}
    )


def refuse_another_table(disk: Disk, folder: str, config: Config) -> None:
    """Raise OurDBError if the table of *folder*, damaged as it may be, is clearly one of another config than *config*."""
    path = lookup_path(folder)
    with disk.opened(path) as fd:
        size = disk.size(fd)
        # The next id may be what is damaged. A table that was cut need not end with a slot: 12 bytes hold whole ones of any size.
        fitting = _fitting(disk, folder, fd, size - size % 12, None)
        if fitting and config.keysize not in fitting:
            raise OurDBError(
                f"{path} reads with key size {' or '.join(map(str, fitting))}, the config given means {config.keysize}; give the one "
                "that the folder was made with, or move the table away to rebuild without it"
            )
        size = min(size, _TABLE_MAX)
        slots = LookupTable.items_of(disk, fd, size, config.keysize)
        beyond = list(islice(((one, at) for one, at in slots if one >= config.record_nr_max), _SAMPLES))
        if beyond and _all_records(disk, folder, [location for _, location in beyond]):
            raise OurDBError(
                f"{path} has a record with id {beyond[0][0]}, the config given means record_nr_max={config.record_nr_max}; give "
                "the one that the folder was made with, or move the table away to rebuild without it"
            )


def _fitting(disk: Disk, folder: str, fd: int, size: int, next_id: int | None) -> list[int]:
    """Return the key sizes with which a full table of *size* bytes makes sense: by its first slots in use.

    They all point at records with a right CRC, there is one at least, and their ids are below the next id. Wider
    slots whose upper bytes are zeros read as narrower ones, too: where three in four look so, the wider size is among those
    returned, whatever else is wrong with it.
    """
    raw = disk.read_all(fd, min(size, 1 << 20), 0)
    fitting = []
    numbers = RecordFiles(disk, folder, read_only=True).numbers()
    for keysize in KEY_SIZES if numbers[-1:] in ([], [0]) else KEY_SIZES[-1:]:
        slots = (int.from_bytes(raw[at : at + keysize], "big") for at in range(0, len(raw) - keysize + 1, keysize))
        used = list(islice(((record_id, location) for record_id, location in enumerate(slots) if location), _SAMPLES))
        ids_fit = next_id is None or all(record_id < next_id for record_id, _ in used)
        if size % keysize == 0 and used and ids_fit and _all_records(disk, folder, [location for _, location in used]):
            fitting.append(keysize)
            for parts in (2, 3):
                last = sum(record_id % parts == parts - 1 for record_id, _ in used)
                if keysize * parts in KEY_SIZES and not size % (keysize * parts) and 4 * last >= 3 * len(used):
                    fitting.append(keysize * parts)
    return sorted(set(fitting))


def _all_records(disk: Disk, folder: str, locations: Iterable[int]) -> bool:
    from zlib import crc32

    files = RecordFiles(disk, folder, read_only=True)
    try:
        for location in locations:
            header = files.header(location)
            if location & 0xFFFFFFFF == 0 or crc32(files.data(location, header.data_size)) != header.crc:
                return False
    except (OurDBError, OSError):
        return False
    finally:
        files.close()
    return True


def _saved_table(folder: str) -> tuple[str, bool] | None:
    for name, is_sparse in _DUMPS:
        path = os.path.join(folder, name, "data")
        if os.path.isfile(path):
            return path, is_sparse
    return None


def _import_saved(
    disk: Disk, folder: str, saved: str, is_sparse: bool, given: dict[str, Any], *, read_only: bool
) -> Config:
    if read_only:
        raise UnsupportedFormat(
            f"{folder} has no lookup/ yet, only {saved}; open it once for writing, which imports that"
        )
    inc = read_inc(disk, os.path.dirname(saved))
    options = {"incremental_mode": inc is not None, **given}
    with disk.opened(saved) as fd:
        size = disk.size(fd)
        if not is_sparse and not {"record_nr_max", "record_size_max", "keysize"} & given.keys():
            fitting = _fitting(disk, folder, fd, size, inc)
            if len(fitting) != 1:
                raise UnsupportedFormat(f"{saved}: reads as slots of {fitting or 'no key size'}; give the config")
            options |= {"keysize": fitting[0], "record_nr_max": size // fitting[0]}
        config = Config(**options)

        def items() -> Iterator[tuple[int, int]]:
            if not is_sparse and size == config.table_size:
                return LookupTable.items_of(disk, fd, size, config.keysize)
            return (
                (one_id, location) for one_id, location in sparse_items(disk, saved, fd, config.keysize) if location
            )

        try:
            highest = _check_items(saved, items(), config)
        except UnsupportedFormat as error:
            raise UnsupportedFormat(
                f"{error}; it was read with key size {config.keysize}: give the config that the folder was made with"
            ) from None
        if not _all_records(disk, folder, (location for _, location in islice(items(), _SAMPLES))):
            raise UnsupportedFormat(
                f"{saved}: its slots do not point at records when read with key size {config.keysize}; give the config"
            )
        next_id = inc if inc is not None else highest + 1
        if config.incremental_mode and not 1 <= next_id <= config.record_nr_max:
            raise UnsupportedFormat(
                f"{os.path.dirname(saved)}/.inc says that the next id is {next_id}, expected 1 to {config.record_nr_max}; "
                "give the config that the folder was made with"
            )
        disk.makedirs(os.path.join(folder, "lookup"))
        if config.incremental_mode:
            disk.replace_file(os.path.join(folder, "lookup", ".inc"), str(next_id).encode(), sync=True)
        temporary = lookup_path(folder) + ".new"
        write_full(disk, temporary, config.keysize, config.record_nr_max, items())
    disk.replace(temporary, lookup_path(folder))
    disk.sync_folder(os.path.join(folder, "lookup"))
    return config


def _check_items(path: str, items: Iterable[tuple[int, int]], config: Config) -> int:
    """Return the highest id, 0 if there is none. Raises UnsupportedFormat."""
    highest = 0
    for record_id, _ in items:
        if record_id >= config.record_nr_max:
            raise UnsupportedFormat(f"{path}: id {record_id} is not below record_nr_max, {config.record_nr_max}")
        highest = record_id
    return highest


def _new(disk: Disk, folder: str, given: dict[str, Any], *, read_only: bool, may_hold_other_files: bool) -> Config:
    names = set(disk.listdir(folder)) if os.path.isdir(folder) else set()
    files = RecordFiles(disk, folder, read_only=True)
    has_records = names and files.numbers()
    if has_records and (has_records != [0] or os.path.getsize(files.path(0)) > 1):
        raise UnsupportedFormat(
            f"{folder} holds record files but no lookup table; open_recovered or `python -m ourdb repair` rebuilds it"
        )
    if not has_records and not may_hold_other_files and names - {"lookup", "lookup.old", "lookup.new"}:
        raise UnsupportedFormat(f"{folder} is not empty and holds no database (found {min(names)!r})")
    if read_only:
        raise UnsupportedFormat(f"{folder} holds no database")
    config = Config(**given)
    disk.makedirs(os.path.join(folder, "lookup"))
    Identity.create(disk, folder, config)
    _create_empty(disk, folder, config)
    return config


def _create_empty(disk: Disk, folder: str, config: Config) -> None:
    files = RecordFiles(disk, folder, read_only=False)
    try:
        files.create_first()
        files.sync()
    finally:
        files.close()
    if config.incremental_mode:
        disk.replace_file(os.path.join(folder, "lookup", ".inc"), b"1", sync=True)
    LookupTable.create(disk, lookup_path(folder), config.table_size)
