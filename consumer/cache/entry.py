"""What the cache holds of an order, and which of two is newer. Pure.

An entry is a stamp, and the order's JSON behind it; without JSON it is a *mark*, which says that there is a version at
least so new, and keeps an older one from coming in. Stamps compare as text, digit by digit: the store can do that.

    generation of the read models   19 digits   a rebuild may give the same version another body
    version of the order            19 digits
    microseconds since 1970         16 digits   PostgreSQL's clock when it was read; 0 in a mark

"Newer wins" is Lamport's total order on a register's writes; that a mark has to outlive every fill that is under way is
the lease of "Scaling Memcache at Facebook" (Nishtala et al., NSDI 2013), without anybody to hand it out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STAMP = 19 + 19 + 16
_GONE = 10**19 - 1  # beyond every version that PostgreSQL can hold


class Entry(NamedTuple):
    """An order as readers saw it at `as_of`; a mark has neither that nor a body."""

    generation: int
    version: int
    as_of: datetime | None = None
    body: bytes = b""

    def packed(self) -> bytes:
        """As it is stored."""
        moment = 0 if self.as_of is None else (self.as_of - _EPOCH) // _MICROSECOND
        return b"%019d%019d%016d%s" % (self.generation, self.version, moment, self.body)


def gone(generation: int) -> Entry:
    """The mark of an order that was erased: newer than whatever is there of it."""
    return Entry(generation, _GONE)


def unpacked(stored: bytes) -> Entry | None:
    """What is stored; None if it is no entry of ours."""
    head, body = stored[:_STAMP], stored[_STAMP:]
    if len(head) < _STAMP or not head.isdigit():
        return None
    moment = int(head[38:])
    as_of = _EPOCH + moment * _MICROSECOND if moment else None
    return Entry(int(head[:19]), int(head[19:38]), as_of, body)
