"""What a database is made with: its limits, its mode, and the key size that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from ourdb.errors import OurDBError

__all__ = ["KEY_SIZES", "RECORD_DATA_MAX", "Config", "key_size_for"]

RECORD_DATA_MAX: Final = 65535
"""Bytes of data that a record can hold; its size field has 16 bits."""

KEY_SIZES: Final = (2, 3, 4, 6)

_WIDE_PRODUCT: Final = 20_000_000


def key_size_for(record_nr_max: int, record_size_max: int) -> int:
    """Return the bytes per slot of the lookup table, by the rule of docs/format.md.

    The product wraps at 32 bits, as it does in the reference.
    """
    if (record_nr_max * record_size_max) % 2**32 > _WIDE_PRODUCT:
        return 6
    if record_nr_max < 2**16:
        return 2
    return 3 if record_nr_max < 2**24 else 4


def _in_range(low: int, high: int) -> Callable[[Any, attrs.Attribute[int], int], None]:
    def check(_config: object, attribute: attrs.Attribute[int], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise OurDBError(f"{attribute.name} must be a whole number from {low} to {high}, not {value!r}")

    return check


def _is_key_size(_config: object, _attribute: attrs.Attribute[int], value: object) -> None:
    if value not in KEY_SIZES or isinstance(value, bool):
        raise OurDBError(f"keysize must be one of 2, 3, 4 and 6, not {value!r}")


def _is_bool(_config: object, attribute: attrs.Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise OurDBError(f"{attribute.name} must be True or False, not {value!r}")


@attrs.frozen
class Config:
    """The config of one database; it never changes after the folder was made.

    record_nr_max: ids are below it. record_size_max: only an input of the key-size rule.
    file_size: bytes at which the next record file is begun. incremental_mode: ids are given out by the database.
    keysize: bytes per slot (2, 3, 4: one record file; 6: up to 65536).
    """

    record_nr_max: int = attrs.field(default=16_777_215, validator=_in_range(1, 2**32 - 1))
    record_size_max: int = attrs.field(default=4096, validator=_in_range(0, 2**32 - 1))
    file_size: int = attrs.field(default=500 * 2**20, validator=_in_range(1, 2**32 - 1))
    incremental_mode: bool = attrs.field(default=True, validator=_is_bool)
    keysize: int = attrs.field(validator=_is_key_size)

    @keysize.default
    def _keysize_by_rule(self) -> int:
        limits = self.record_nr_max, self.record_size_max
        # attrs validates when all fields are set: what is no number is reported then, by its name.
        return key_size_for(*limits) if all(isinstance(limit, int) for limit in limits) else 6

    @property
    def table_size(self) -> int:
        """Bytes of the full lookup table."""
        return self.record_nr_max * self.keysize
