"""A time to the nanosecond: whole seconds, as an int, with the rest beside it."""

from __future__ import annotations

from typing import Self

__all__ = ["Moment", "moment", "nanoseconds", "seconds"]


class Moment(int):
    """Seconds since 1970, cut to whole ones; *ns*: the nanoseconds (0 to 999 999 999) after them."""

    ns: int

    def __new__(cls, seconds: int, ns: int) -> Self:
        made = super().__new__(cls, seconds)
        made.ns = ns
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and int(self) == int(other) and self.ns == getattr(other, "ns", 0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()


def moment(nanoseconds: int) -> int:
    """Return a time given in nanoseconds since 1970: a Moment, or a plain int where it is a whole second."""
    seconds, ns = divmod(nanoseconds, 1_000_000_000)
    return Moment(seconds, ns) if ns else seconds


def nanoseconds(time: int) -> int:
    """Return a time of an entry in nanoseconds since 1970."""
    return int(time) * 1_000_000_000 + getattr(time, "ns", 0)


def seconds(time: int) -> float:
    """Return a time of an entry in seconds since 1970, as `os.stat` gives it: a whole second is that number."""
    return nanoseconds(time) / 1e9 if isinstance(time, Moment) else float(time)
