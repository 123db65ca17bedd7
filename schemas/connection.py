"""A PostgreSQL connection, as functions take it: one of its own or one that a pool lent."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # the stubs' generics don't exist at run time
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    from asyncpg import Connection, Pool

__all__ = ["Connection", "Pool"]
